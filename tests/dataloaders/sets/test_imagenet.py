import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import write_imagenet

from dataloaders.datasets import read_data
from dataloaders.sets.imagenet import OFFICIAL, ilsvrc, published_order, read
from dataloaders.tasks import order_of_repeat
from learners import REGISTRY
from tests.dataloaders.sets.conftest import refused
from utils.command_line import parse
from utils.errors import UserError
from utils.settings import Settings

FEW = [f"n{label:08}" for label in (3, 0, 2, 1)]
FOUR = ["--first_split_size", 2, "--other_split_size", 2]


@pytest.fixture
def four(few_are_official, tmp_path):
    """A folder with four classes that a test may change."""
    write_imagenet(tmp_path, sorted(FEW))
    return tmp_path


def settings(*more):
    return parse(REGISTRY, ["--dataset", "ImageNet", *map(str, more)])


def test_the_published_fifty_are_read(imagenet, few_are_official):
    data = read(imagenet, [])
    assert data.names == tuple(ilsvrc()[label] for label in published_order()[:50]) and data.notes == ()
    for split, part, count in ((data.train, "train", 3), (data.test, "val", 2)):
        assert np.bincount(split.labels).tolist() == [count] * 50
        for path, label in zip(split.images, split.labels):
            assert Path(path).is_file()
            assert Path(path).parent == imagenet / "ilsvrc" / part / data.names[label]


def test_without_rand_split_they_are_the_first_fifty_by_name(few_are_official, tmp_path):
    write_imagenet(tmp_path, ilsvrc()[:50])
    assert read(tmp_path, [], rand_split=False).names == ilsvrc()[:50]


def test_a_class_order_numbers_the_published_fifty(imagenet, few_are_official):
    order = [*range(49, -1, -1)]
    run = Settings(dataset="ImageNet", dataroot=str(imagenet), class_order=order)
    data = read_data(run)
    learned = [data.names[label] for label in order_of_repeat(run, len(data.names), 0)]
    assert learned == [ilsvrc()[label] for label in published_order()[49::-1]]


def test_a_list_names_other_classes_in_its_order_and_links_and_hidden_files_change_nothing(four):
    train = four / "ilsvrc" / "train"
    (train / FEW[1]).rename(four / "elsewhere")
    (train / FEW[1]).symlink_to(four / "elsewhere")
    for path in list(four.rglob("*.JPEG")):
        path.with_name(f"._{path.name}").write_bytes(b"of macOS")
    data = read(four, FEW)
    assert data.names == tuple(FEW) and np.bincount(data.train.labels).tolist() == [3] * 4
    for path, label in zip(data.train.images, data.train.labels):
        assert Path(path).parent.name == data.names[label] and not Path(path).name.startswith(".")
    run = Settings(dataset="ImageNet", imagenet_classes=FEW, rand_split=True)
    assert all(order_of_repeat(run, 4, repeat) == [0, 1, 2, 3] for repeat in range(3))


@pytest.mark.parametrize("part", ["train", "val"])
def test_missing_class_folders_are_named(four, part):
    folder = four / "ilsvrc" / part
    for wnid in FEW[1:3]:
        shutil.rmtree(folder / wnid)
    text = refused(read, four, FEW)
    assert f"{folder} has no folder for 2 of the 4 classes of this run: {FEW[1]}, {FEW[2]};" in text
    assert f"{folder}/WNID/" in text and "--imagenet_classes" in text


def test_the_number_of_images_is_checked_and_a_class_without_any_refused_whatever_is_allowed(four):
    assert OFFICIAL == {"train": (732, 1300), "val": (50, 50)}  # Russakovsky et al. 2015
    folder = four / "ilsvrc" / "train" / FEW[2]
    for path in folder.iterdir():
        path.rename(path.with_suffix(".txt"))
    assert f"train/{FEW[2]} has 0 of 3 images" in refused(read, four, FEW)
    with pytest.raises(UserError, match=f"no training image of class {FEW[2]}"):
        read_data(settings("--dataroot", four, "--incomplete_data", 1, "--imagenet_classes", *FEW))


@pytest.mark.parametrize("content", [
    "\ufeffn00000003\r\nn00000000", "# ours\n\n  n00000003 tench, Tinca tinca\n\tn00000000 # the second\n\n"])
def test_a_file_of_classes_is_read_in_its_order(tmp_path, content):
    (tmp_path / "classes.txt").write_text(content)
    run = settings("--imagenet_classes", tmp_path / "classes.txt", *FOUR)
    assert run.imagenet_classes == ["n00000003", "n00000000"]


@pytest.mark.parametrize(("content", "named"), [
    (None, "cannot be read"), (b"\xff\xfen\x000\x00", "cannot be read"), (b"#\n", "names no class"),
    (b"n00000003\ntench\n", "'tench' is named twice or is no WNID"),
    (b"n00000003\nn00000001\nn00000003\n", "'n00000003' is named twice"),
    ("\n".join(f"n{k:08}" for k in range(1001)).encode(), "1001 classes"),
    (b"n00000003\n", "--first_split_size 2: ImageNet has 1 classes; learn fewer, or name more")])
def test_a_faulty_file_of_classes_is_refused_in_one_line(tmp_path, content, named):
    path = tmp_path / "classes.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as error:
        settings("--imagenet_classes", path, *FOUR)
    assert named in str(error.value) and "--imagenet_classes" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("flags", [["--imagenet_classes", "n00000001"], ["--incomplete_data", 1]])
def test_flags_of_other_data_sets_are_refused(flags):
    with pytest.raises(UserError, match=f"{flags[0]}: is for .*ImageNet, not for CIFAR100"):
        parse(REGISTRY, ["--dataset", "CIFAR100", *map(str, flags)])
