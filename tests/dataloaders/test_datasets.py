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
import torch
from PIL import Image
from torchvision import datasets as vision

from dataloaders import datasets
from dataloaders.datasets import DATASETS
from dataloaders.tasks import class_order
from utils.errors import UserError


@pytest.fixture(scope="module")
def real(cifar100):
    return DATASETS["CIFAR100"].read(cifar100)


@pytest.fixture
def offline(monkeypatch):
    def refuse(*arguments, **more):
        raise urllib.error.URLError("no network in tests")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", refuse)


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
        return {"data": random.randint(0, 256, (count, 3072)).astype(np.uint8), "labels": [i % 10 for i in range(count)]}

    names = [f"class {k}" for k in range(10)]
    monkeypatch.setattr(vision.CIFAR10, "train_list", [write("data_batch_1", batch(30)), write("data_batch_2", batch(30))])
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


def test_cifar100_names_its_classes(real):
    assert len(set(real.names)) == 100
    assert (real.names[0], real.names[99]) == ("apple", "worm")


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


@pytest.mark.parametrize("name", ["train", "test", "meta"])
def test_a_flipped_bit_is_refused(cifar100, tmp_path, name):
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    for other in ("train", "test", "meta"):
        (folder / other).symlink_to(cifar100 / "cifar-100-python" / other)
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).unlink()
    (folder / name).write_bytes(content)
    with pytest.raises(UserError) as error:
        DATASETS["CIFAR100"].read(tmp_path)
    assert str(error.value).startswith("--dataroot")
    assert str(folder / name) in str(error.value)
    assert "\n" not in str(error.value)


class Hostile:
    """Writes a file where it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


@pytest.mark.skipif(not hasattr(tarfile, "data_filter"), reason="a Python older than tarfile's filters")
@pytest.mark.parametrize("official", [True, False], ids=["md5 matches", "md5 differs"])
@pytest.mark.parametrize("way", ["dots", "absolute", "link"])
def test_an_archive_writes_nothing_outside_its_folder(tmp_path, monkeypatch, way, official):
    root, outside = tmp_path / "datasets", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    path = root / vision.CIFAR100.filename
    with tarfile.open(path, "w:gz") as archive:
        if way == "link":
            link = tarfile.TarInfo("cifar-100-python")
            link.type, link.linkname = tarfile.SYMTYPE, str(outside)
            archive.addfile(link)
        name = {"dots": "../outside/file", "absolute": str(outside / "file"), "link": "cifar-100-python/file"}[way]
        archive.addfile(tarfile.TarInfo(name))
    if official:
        monkeypatch.setattr(vision.CIFAR100, "tgz_md5", hashlib.md5(path.read_bytes()).hexdigest())
    monkeypatch.setattr(vision.CIFAR100, "url", (tmp_path / "no-such-archive").as_uri())
    with pytest.raises(UserError, match="--dataroot"):
        DATASETS["CIFAR100"].read(root)
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("complete", [True, False])
def test_a_hostile_file_is_never_unpickled(tmp_path, offline, complete):
    folder, marker = tmp_path / "cifar-100-python", tmp_path / "marker"
    folder.mkdir()
    for name in ("train", "test", "meta") if complete else ("train",):
        (folder / name).write_bytes(pickle.dumps(Hostile(marker)))
    with pytest.raises(UserError, match="--dataroot.*train"):
        DATASETS["CIFAR100"].read(tmp_path)
    assert not marker.exists()
    pickle.loads((folder / "train").read_bytes())
    assert marker.exists()  # it would have


@pytest.mark.parametrize("name", ["CIFAR10", "CIFAR100"])
def test_missing_files_without_a_network_name_the_flag_and_the_remedy(tmp_path, offline, name):
    with pytest.raises(UserError, match="--dataroot.*could not be downloaded.*no network in tests") as error:
        DATASETS[name].read(tmp_path / "nowhere")
    assert "\n" not in str(error.value)


def test_a_file_in_the_way_of_the_folder_is_named(tmp_path, offline):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--dataroot.*file"):
        DATASETS["CIFAR100"].read(tmp_path / "file")


# CIFAR-10


def test_cifar10_is_read(cifar10):
    data = DATASETS["CIFAR10"].read(cifar10)
    assert data.train.images.shape == (60, 3, 32, 32)
    assert data.test.images.shape == (20, 3, 32, 32)
    assert np.bincount(data.train.labels).tolist() == [6] * 10
    assert data.names[3] == "class 3"


def test_cifar10_is_checked_too(cifar10):
    path = cifar10 / vision.CIFAR10.base_folder / "data_batch_2"
    path.write_bytes(path.read_bytes() + b"!")
    with pytest.raises(UserError, match="--dataroot.*data_batch_2"):
        DATASETS["CIFAR10"].read(cifar10)


def test_files_that_are_missing_are_downloaded_and_then_checked(cifar10, monkeypatch):
    kept = shutil.move(cifar10 / vision.CIFAR10.base_folder, cifar10 / "kept")
    monkeypatch.setattr(
        "torchvision.datasets.cifar.download_and_extract_archive",
        lambda url, root, **more: shutil.copytree(kept, f"{root}/{vision.CIFAR10.base_folder}"))
    assert len(DATASETS["CIFAR10"].read(cifar10).train.labels) == 60


def test_runs_that_start_together_download_once(cifar10, monkeypatch):
    """As those of a sweep in a fresh clone; what is half there is no reason to refuse."""
    kept = shutil.move(cifar10 / vision.CIFAR10.base_folder, cifar10 / "kept")

    def download(url, root, **more):
        folder = Path(root, vision.CIFAR10.base_folder)
        folder.mkdir()  # a second download would fail here
        for path in kept.iterdir():
            (folder / path.name).write_bytes(b"the first half")
        time.sleep(0.5)
        shutil.copytree(kept, folder, dirs_exist_ok=True)

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", download)
    runs = [multiprocessing.get_context("fork").Process(target=DATASETS["CIFAR10"].read, args=(cifar10,)) for _ in range(3)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(60)
    assert [run.exitcode for run in runs] == [0, 0, 0]


# TinyImageNet


@pytest.fixture(scope="module")
def tiny_images(tinyimagenet):
    return DATASETS["TinyImageNet"].read(tinyimagenet)


def test_tinyimagenet_is_read_whole_with_classes_by_wnid(tiny_images, tinyimagenet):
    for split, count in ((tiny_images.train, 3), (tiny_images.test, 2)):
        assert (split.images.shape, split.images.dtype) == ((200 * count, 3, 64, 64), np.uint8)
        assert np.bincount(split.labels).tolist() == [count] * 200
    last = sorted((tinyimagenet / "tiny-imagenet-200" / "train").iterdir())[-1] / "images"
    theirs = np.stack([np.array(Image.open(path)).transpose(2, 0, 1) for path in sorted(last.iterdir())])
    assert np.array_equal(tiny_images.train.images[tiny_images.train.labels == 199], theirs)


def test_tinyimagenets_test_images_have_the_class_of_their_annotation(tiny_images):
    """The pictures of a class, in both sets, are of one colour."""
    colour = {label: tiny_images.train.images[tiny_images.train.labels == label].mean((0, 2, 3)) for label in range(200)}
    for image, label in zip(tiny_images.test.images, tiny_images.test.labels):
        assert abs(image.mean((1, 2)) - colour[label]).max() < 8


def test_tinyimagenets_classes_have_their_word_or_their_wnid(tiny_images):
    assert (tiny_images.names[6], tiny_images.names[8]) == ("word 6", "word 8")
    assert tiny_images.names[7].startswith("n0")


@pytest.fixture
def tiny_copy(tinyimagenet, tmp_path):
    """The root of a TinyImageNet that a test may damage, and its folder."""
    shutil.copytree(tinyimagenet / "tiny-imagenet-200", tmp_path / "tiny-imagenet-200")
    return tmp_path, tmp_path / "tiny-imagenet-200"


def test_tinyimagenet_does_without_words(tiny_copy):
    root, folder = tiny_copy
    (folder / "words.txt").unlink()
    assert all(name.startswith("n0") for name in DATASETS["TinyImageNet"].read(root).names)


def damage_train(folder):
    path = sorted(folder.glob("train/*/images/*"))[300]
    path.write_bytes(path.read_bytes()[:500])
    return path


def damage_test(folder):
    path = sorted(folder.glob("val/images/*"))[0]
    path.write_text("no image")
    return path


def lose_test_image(folder):
    path = folder / "val" / "images" / "val_17.JPEG"
    path.unlink()
    return path


def shrink_image(folder):
    path = sorted(folder.glob("train/*/images/*"))[5]
    Image.open(path).resize((32, 32)).save(path)
    return path


def empty_class(folder):
    path = sorted(folder.glob("train/*/images"))[9]
    shutil.rmtree(path)
    path.mkdir()
    return path


def lose_class(folder):
    shutil.rmtree(sorted(folder.glob("train/*"))[0])
    return "199"


def lose_annotations(folder):
    path = folder / "val" / "val_annotations.txt"
    path.unlink()
    return path


def strange_annotation(folder):
    path = folder / "val" / "val_annotations.txt"
    path.write_text(path.read_text() + "val_1.JPEG\tn99999999\n")
    return path


def malformed_annotation(folder):
    path = folder / "val" / "val_annotations.txt"
    path.write_text(path.read_text() + "val_1.JPEG\n")
    return path


def class_without_annotation(folder):
    path = folder / "val" / "val_annotations.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[2:]))
    return path


@pytest.mark.parametrize("harm", [
    damage_train, damage_test, lose_test_image, shrink_image, empty_class, lose_class, lose_annotations, strange_annotation,
    malformed_annotation, class_without_annotation])
def test_a_faulty_tinyimagenet_is_refused_by_name_in_one_line(tiny_copy, harm):
    root, folder = tiny_copy
    fault = harm(folder)
    with pytest.raises(UserError) as error:
        DATASETS["TinyImageNet"].read(root)
    assert str(error.value).startswith("--dataroot")
    assert str(fault) in str(error.value)
    assert "\n" not in str(error.value)


# ImageNet


def first(order, count):
    """What learned_classes gives for the first classes of an order."""
    return lambda classes: order(classes)[:count]


def published_order(classes):
    return class_order("ImageNet", classes, 0)


def test_imagenet_is_the_paths_of_the_classes_to_be_learned(imagenet):
    data = DATASETS["ImageNet"].read(imagenet, first(published_order, 4))
    assert len(data.names) == 1000
    for split, part, count in ((data.train, "train", 3), (data.test, "val", 2)):
        assert sorted(set(split.labels)) == sorted(published_order(1000)[:4])
        assert len(split.images) == len(split.labels) == 4 * count
        for path, label in zip(split.images, split.labels):
            assert Path(path).is_file()
            assert Path(path).parent == imagenet / "ilsvrc" / part / data.names[label]


def test_folders_of_the_first_classes_alone_give_the_same_tasks(imagenet, tmp_path):
    whole = DATASETS["ImageNet"].read(imagenet, first(published_order, 4))
    for part in ("train", "val"):
        for label in published_order(1000)[:4]:
            shutil.copytree(imagenet / "ilsvrc" / part / whole.names[label], tmp_path / "ilsvrc" / part / whole.names[label])
    few = DATASETS["ImageNet"].read(tmp_path, first(published_order, 4))
    assert len(few.names) == 4
    assert [few.names[label] for label in published_order(4)] == [whole.names[label] for label in published_order(1000)[:4]]
    assert [path.removeprefix(str(tmp_path)) for path in few.train.images] == [path.removeprefix(str(imagenet)) for path in whole.train.images]


@pytest.mark.parametrize("part", ["train", "val"])
@pytest.mark.parametrize("harm", ["missing", "empty"])
def test_a_class_folder_that_is_missing_or_empty_is_named(write_imagenet, tmp_path, part, harm):
    write_imagenet(tmp_path, {f"n{label:08}": label for label in range(4)})
    folder = tmp_path / "ilsvrc" / part / "n00000002"
    shutil.rmtree(folder)
    if harm == "empty":
        folder.mkdir()
        (folder / "notes.txt").write_text("")
    with pytest.raises(UserError) as error:
        DATASETS["ImageNet"].read(tmp_path, first(range, 3))
    assert str(error.value).startswith("--dataroot")
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)
    assert len(DATASETS["ImageNet"].read(tmp_path, first(range, 2)).train.images) == 6  # which don't need it


@pytest.mark.parametrize("part", ["train", "val"])
def test_imagenet_needs_both_parts(write_imagenet, tmp_path, part):
    write_imagenet(tmp_path, {"n00000000": 0})
    shutil.rmtree(tmp_path / "ilsvrc" / part)
    with pytest.raises(UserError, match=f"--dataroot.*{part}"):
        DATASETS["ImageNet"].read(tmp_path)


def test_more_class_folders_than_imagenet_has_are_refused(tmp_path):
    for part in ("train", "val"):
        for label in range(1001):
            (tmp_path / "ilsvrc" / part / f"n{label:08}").mkdir(parents=True)
    with pytest.raises(UserError, match="--dataroot.*1001"):
        DATASETS["ImageNet"].read(tmp_path, first(published_order, 4))


# Digits


def test_digits_are_real_images_of_ten_classes(digits):
    for split in (digits.train, digits.test):
        assert split.images.shape[1:] == (3, 32, 32)
        assert split.images.dtype == np.uint8
        assert len(split.images) == len(split.labels)
        assert set(split.labels) == set(range(10))
        assert len(np.unique(split.images.reshape(len(split.images), -1), axis=0)) > 0.99 * len(split.images)
    assert digits.names == tuple("0123456789")


def test_digits_are_grey_over_the_whole_range(digits):
    images = digits.train.images
    assert (images == images[:, :1]).all()
    assert images.min() == 0
    assert images.max() > 250


def test_digits_are_scikit_learns_enlarged(digits):
    from sklearn.datasets import load_digits

    small = torch.from_numpy(load_digits().images).float()
    block_means = torch.from_numpy(digits.train.images[:, 0]).float().unflatten(1, (8, 4)).unflatten(3, (8, 4)).mean((2, 4))
    similarity = torch.corrcoef(torch.stack([block_means[0].flatten(), small[0].flatten()]))[0, 1]
    assert similarity > 0.97


def test_a_fifth_of_each_digit_is_for_testing(digits):
    train, test = np.bincount(digits.train.labels), np.bincount(digits.test.labels)
    assert (train + test).sum() == 1797
    assert ((test / (train + test) > 0.195) & (test / (train + test) < 0.21)).all()


def test_no_digit_is_in_both_sets(digits):
    train = {image.tobytes() for image in digits.train.images}
    assert not any(image.tobytes() in train for image in digits.test.images)


def test_digits_have_the_recorded_mean_and_deviation(digits):
    known = DATASETS["Digits"]
    pixels = digits.train.images / np.float32(255)
    assert pixels.mean() == pytest.approx(known.mean[0], abs=2e-3)
    assert pixels.std() == pytest.approx(known.std[0], abs=2e-3)


@pytest.mark.parametrize("name", ["Digits", "TinyImageNet"])
def test_every_data_set_is_what_it_says(digits, tiny_images, name):
    data = digits if name == "Digits" else tiny_images
    assert len(data.names) == datasets.DATASETS[name].classes
    assert data.train.images.shape[-1] == datasets.DATASETS[name].image_size
