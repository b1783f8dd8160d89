import hashlib
import multiprocessing
import pickle
import shutil
import time
import urllib.error
from pathlib import Path

import utils.torchvision_cpu  # noqa: F401  (before torchvision)

import numpy as np
import pytest
from conftest import Hostile
from torchvision import datasets as vision

from dataloaders.datasets import DATASETS
from tests.dataloaders.sets.conftest import refused


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


def test_cifar100_is_read_whole_with_the_published_mean_and_deviation(cifar100):
    data, known = DATASETS["CIFAR100"].read(cifar100), DATASETS["CIFAR100"]
    for split, count in ((data.train, 50000), (data.test, 10000)):
        assert split.images.shape == (count, 3, 32, 32) and split.images.dtype == np.uint8
        assert np.bincount(split.labels).tolist() == [count // 100] * 100
    assert data.train.images.mean((0, 2, 3)) / 255 == pytest.approx(known.mean, abs=1e-4)
    assert data.train.images[::20].std((0, 2, 3)) / 255 == pytest.approx(known.std, abs=5e-3)
    image, label = vision.CIFAR100(str(cifar100), train=False)[1234]
    assert np.array_equal(data.test.images[1234].transpose(1, 2, 0), np.array(image))
    assert data.test.labels[1234] == label


@pytest.mark.parametrize("names", [("train", "test", "meta"), ("train",), ()])
def test_missing_and_hostile_files_are_refused_with_the_remedy_and_never_unpickled(
        tmp_path, monkeypatch, names):
    def refuse(*arguments, **more):
        raise urllib.error.URLError("no network in tests")

    monkeypatch.setattr("torchvision.datasets.utils._urlretrieve", refuse)
    folder, marker = tmp_path / "cifar-100-python", tmp_path / "marker"
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(pickle.dumps(Hostile(marker)))
    text = refused(DATASETS["CIFAR100"].read, tmp_path)
    assert "CIFAR100 is missing or damaged" in text and "run again with a network" in text
    assert not marker.exists()


def test_a_missing_folder_is_downloaded_also_on_a_file_system_without_locks(cifar10, monkeypatch):
    def no_locks(*arguments):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.lockf", no_locks)
    kept = shutil.move(cifar10 / vision.CIFAR10.base_folder, cifar10 / "kept")
    monkeypatch.setattr(
        "torchvision.datasets.cifar.download_and_extract_archive",
        lambda url, root, **more: shutil.copytree(kept, f"{root}/{vision.CIFAR10.base_folder}"))
    data = DATASETS["CIFAR10"].read(cifar10)
    assert (data.train.images.shape, data.test.images.shape) == ((60, 3, 32, 32), (20, 3, 32, 32))
    assert np.bincount(data.train.labels).tolist() == [6] * 10 and data.names[3] == "class 3"


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
