import hashlib
import multiprocessing
import pickle
import shutil
import tarfile
import time
import urllib.error
from pathlib import Path

import utils.torchvision_cpu  # noqa: F401  (before torchvision)

import numpy as np
import pytest
from torchvision import datasets as vision

from dataloaders.datasets import DATASETS
from tests.dataloaders.sets.conftest import refused


@pytest.fixture(scope="module")
def real(cifar100):
    return DATASETS["CIFAR100"].read(cifar100)


@pytest.fixture
def offline(monkeypatch):
    def refuse(*arguments, **more):
        raise urllib.error.URLError("no network in tests")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", refuse)


@pytest.fixture
def offline_but_for_archives(monkeypatch):
    """torchvision unpacks an archive that is whole and downloads none."""
    def refuse(*arguments, **more):
        raise urllib.error.URLError("no network in tests")

    monkeypatch.setattr("torchvision.datasets.utils._urlretrieve", refuse)


@pytest.fixture
def cifar10(tmp_path, monkeypatch):
    """A folder with a CIFAR-10 of 60 training and 20 test images, official as far as the class knows."""
    folder = tmp_path / vision.CIFAR10.base_folder
    folder.mkdir()
    random = np.random.RandomState(0)

    def write(name, content):
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    def batch(count):
        images = random.randint(0, 256, (count, 3072)).astype(np.uint8)
        return {"data": images, "labels": [i % 10 for i in range(count)]}

    names = [f"class {k}" for k in range(10)]
    train = [write("data_batch_1", batch(30)), write("data_batch_2", batch(30))]
    monkeypatch.setattr(vision.CIFAR10, "train_list", train)
    monkeypatch.setattr(vision.CIFAR10, "test_list", [write("test_batch", batch(20))])
    filename, md5 = write("batches.meta", {"label_names": names})
    monkeypatch.setattr(vision.CIFAR10, "meta", {"filename": filename, "key": "label_names", "md5": md5})
    return tmp_path


# CIFAR-100


def test_cifar100_has_all_its_images(real):
    for split, count in ((real.train, 50000), (real.test, 10000)):
        assert split.images.shape == (count, 3, 32, 32)
        assert split.images.dtype == np.uint8
        assert np.bincount(split.labels).tolist() == [count // 100] * 100


def test_cifar100_has_the_published_mean_and_deviation(real):
    pixels = real.train.images.transpose(1, 0, 2, 3).reshape(3, -1) / np.float32(255)
    assert pixels.mean(1) == pytest.approx(DATASETS["CIFAR100"].mean, abs=1e-4)
    assert pixels.std(1) == pytest.approx(DATASETS["CIFAR100"].std, abs=1e-4)


def test_images_keep_rows_columns_and_channels_in_place(real, cifar100):
    theirs = vision.CIFAR100(str(cifar100), train=False)
    for place in (0, 1234, 9999):
        image, label = theirs[place]
        assert np.array_equal(real.test.images[place].transpose(1, 2, 0), np.array(image))
        assert real.test.labels[place] == label


class Hostile:
    """Writes a file where it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


@pytest.mark.parametrize("complete", [True, False])
def test_a_hostile_file_is_never_unpickled(tmp_path, offline, complete):
    folder, marker = tmp_path / "cifar-100-python", tmp_path / "marker"
    folder.mkdir()
    for name in ("train", "test", "meta") if complete else ("train",):
        (folder / name).write_bytes(pickle.dumps(Hostile(marker)))
    assert "CIFAR100 is missing or damaged" in refused(DATASETS["CIFAR100"].read, tmp_path)
    assert not marker.exists()
    pickle.loads((folder / "train").read_bytes())
    assert marker.exists()  # it would have


@pytest.mark.parametrize("name", ["CIFAR10", "CIFAR100"])
def test_missing_files_without_a_network_name_the_flag_and_the_remedy(tmp_path, offline, name):
    text = refused(DATASETS[name].read, tmp_path / "no where")
    assert "could not be downloaded (no network in tests)" in text


# CIFAR-10


def test_cifar10_is_read(cifar10):
    data = DATASETS["CIFAR10"].read(cifar10)
    assert data.train.images.shape == (60, 3, 32, 32)
    assert data.test.images.shape == (20, 3, 32, 32)
    assert np.bincount(data.train.labels).tolist() == [6] * 10
    assert data.names[3] == "class 3"


@pytest.mark.parametrize("kept", [0, 100])
def test_files_left_by_an_interrupted_unpacking_are_unpacked_again(
        cifar10, monkeypatch, offline_but_for_archives, kept):
    folder, path = cifar10 / vision.CIFAR10.base_folder, cifar10 / vision.CIFAR10.filename
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, folder.name)
    monkeypatch.setattr(vision.CIFAR10, "tgz_md5", hashlib.md5(path.read_bytes()).hexdigest())
    (folder / "test_batch").write_bytes((folder / "test_batch").read_bytes()[:kept])
    assert len(DATASETS["CIFAR10"].read(cifar10).train.labels) == 60


def test_a_missing_folder_is_downloaded_also_on_a_file_system_without_locks(cifar10, monkeypatch):
    def no_locks(*arguments):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.lockf", no_locks)
    kept = shutil.move(cifar10 / vision.CIFAR10.base_folder, cifar10 / "kept")
    monkeypatch.setattr(
        "torchvision.datasets.cifar.download_and_extract_archive",
        lambda url, root, **more: shutil.copytree(kept, f"{root}/{vision.CIFAR10.base_folder}"))
    assert len(DATASETS["CIFAR10"].read(cifar10).train.labels) == 60


def test_runs_that_start_together_download_once(cifar10, monkeypatch):
    """Like the runs of a sweep in a fresh clone. What one has half unpacked, the others do not refuse."""
    kept = shutil.move(cifar10 / vision.CIFAR10.base_folder, cifar10 / "kept")

    def download(url, root, **more):
        folder = Path(root, vision.CIFAR10.base_folder)
        folder.mkdir()  # a second download would fail here
        for path in kept.iterdir():
            (folder / path.name).write_bytes(b"the first half")
        time.sleep(0.5)
        shutil.copytree(kept, folder, dirs_exist_ok=True)

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", download)
    fork = multiprocessing.get_context("fork")
    runs = [fork.Process(target=DATASETS["CIFAR10"].read, args=(cifar10,)) for _ in range(3)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(60)
    assert [run.exitcode for run in runs] == [0, 0, 0]
