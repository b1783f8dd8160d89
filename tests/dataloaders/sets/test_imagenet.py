import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from dataloaders.datasets import read_data
from dataloaders.folders import check_complete
from dataloaders.sets.imagenet import OFFICIAL, ilsvrc, published_order, read
from dataloaders.tasks import order_of_repeat
from learners import REGISTRY
from tests.dataloaders.sets.conftest import refused
from utils.command_line import parse
from utils.errors import UserError
from utils.settings import Settings

FEW = [f"n{label:08}" for label in (3, 0, 2, 1)]


@pytest.fixture
def four(few_are_official, write_imagenet, tmp_path):
    """A folder with four classes that a test may change."""
    write_imagenet(tmp_path, {wnid: label for label, wnid in enumerate(sorted(FEW))})
    return tmp_path


# Which classes


def test_the_thousand_are_those_of_ilsvrc_2012():
    wnids = ilsvrc()
    assert len(set(wnids)) == len(wnids) == 1000
    assert list(wnids) == sorted(wnids)
    assert (wnids[0], wnids[1], wnids[999]) == ("n01440764", "n01443537", "n15075141")  # tench, goldfish, tissue


def test_the_published_fifty_follow_from_the_thousand_and_the_golden_order(golden, imagenet, few_are_official):
    expected = json.loads((golden / "class_order.json").read_text())["expected"]
    order, = (order for name, order in expected.items() if name.startswith("ImageNet"))
    assert read(imagenet, []).names == tuple(ilsvrc()[label] for label in order)


def test_stray_folders_change_no_class_and_are_a_line_for_the_log(imagenet, few_are_official):
    data = read(imagenet, [])
    assert not any(wnid in path for path in data.train.images for wnid in ("n00000000", "downloads"))
    note, = data.notes
    assert "ignored 3 folders" in note and "n00000000" in note


def test_images_are_the_paths_of_the_classes_with_their_labels(imagenet, few_are_official):
    data = read(imagenet, [])
    for split, part, count in ((data.train, "train", 3), (data.test, "val", 2)):
        assert np.bincount(split.labels).tolist() == [count] * 50
        for path, label in zip(split.images, split.labels):
            assert Path(path).is_file()
            assert Path(path).parent == imagenet / "ilsvrc" / part / data.names[label]


def test_without_rand_split_they_are_the_first_fifty_by_name(few_are_official, write_imagenet, tmp_path):
    write_imagenet(tmp_path, dict(zip(ilsvrc()[:50], itertools.count())))
    assert read(tmp_path, [], rand_split=False).names == ilsvrc()[:50]


def test_a_class_order_numbers_the_published_fifty(imagenet, few_are_official):
    order = [*range(49, -1, -1)]
    settings = Settings(dataset="ImageNet", dataroot=str(imagenet), class_order=order)
    data = read_data(settings)
    learned = [data.names[label] for label in order_of_repeat(settings, len(data.names), 0)]
    assert learned == [ilsvrc()[label] for label in published_order()[49::-1]]


def test_a_list_names_other_classes_in_its_order(four):
    data = read(four, FEW[:3])
    assert data.names == tuple(FEW[:3])
    for path, label in zip(data.train.images, data.train.labels):
        assert Path(path).parent.name == data.names[label]
    settings = Settings(dataset="ImageNet", imagenet_classes=FEW, rand_split=True)
    assert all(order_of_repeat(settings, 4, repeat) == [0, 1, 2, 3] for repeat in range(3))


@pytest.mark.parametrize("part", ["train", "val"])
def test_missing_class_folders_are_named(four, part):
    for wnid in FEW[1:3]:
        shutil.rmtree(four / "ilsvrc" / part / wnid)
    text = refused(read, four, FEW)
    assert f"{four / 'ilsvrc' / part} has no folder for 2 of the 4 classes of this run: {FEW[1]}, {FEW[2]};" in text
    assert "--imagenet_classes" in text


def test_a_val_without_class_folders_says_so(four):
    val = four / "ilsvrc" / "val"
    for path in list(val.glob("*/*")):
        path.rename(val / path.name)
        if not list(path.parent.iterdir()):
            path.parent.rmdir()
    assert f"the images in {val} are not sorted into class folders" in refused(read, four, FEW)


def test_class_folders_in_capitals_and_by_way_of_links_are_read(four, tmp_path):
    train = four / "ilsvrc" / "train"
    (train / FEW[0]).rename(train / FEW[0].upper())
    (train / FEW[1]).rename(tmp_path / "elsewhere")
    (train / FEW[1]).symlink_to(tmp_path / "elsewhere")
    data = read(four, FEW)
    assert np.bincount(data.train.labels).tolist() == [3] * 4
    assert data.notes == ()


def test_the_number_of_images_is_checked_against_the_official_one(tmp_path):
    """ILSVRC-2012 has 732 to 1,300 training and 50 test images per class (Russakovsky et al. 2015)."""
    def check(train, val, incomplete=False):
        return check_complete(tmp_path, {"train": {"n1": train}, "val": {"n1": val}}, OFFICIAL, incomplete)

    assert check(732, 50) == check(1300, 50) == ()
    assert "train/n1 has 731 of at least 732 images" in refused(check, 731, 50)
    assert "val/n1 has 51 images, 1 more than the official set" in refused(check, 732, 51)
    note, = check(731, 49, True)
    assert "val/n1 has 49 of 50 images" in note and "--incomplete_data 1" in note


def test_a_copy_of_an_image_is_not_another_one(four):
    first = sorted((four / "ilsvrc" / "train" / FEW[0]).iterdir())[0]
    shutil.copy(first, first.with_suffix(".png"))
    assert f"{first} and {first.with_suffix('.png')} are one image twice" in refused(read, four, FEW)


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_class_without_images_is_refused_whatever_is_allowed(four, part):
    folder = four / "ilsvrc" / part / FEW[2]
    for path in folder.iterdir():
        path.rename(path.with_suffix(".txt"))
    assert f"no image at all in {part}/{FEW[2]}" in refused(read, four, FEW, 1)


def test_hidden_files_are_no_images(four):
    for path in list(four.rglob("*.JPEG")):
        path.with_name(f"._{path.name}").write_bytes(b"of macOS")
    for part in ("train", "val"):
        (four / "ilsvrc" / part / ".n00000009").mkdir()
        (four / "ilsvrc" / part / FEW[0] / ".DS_Store").write_bytes(b"x")
    data = read(four, FEW)
    assert not any(Path(path).name.startswith(".") for path in [*data.train.images, *data.test.images])
    assert data.notes == ()


# --imagenet_classes


def given(tmp_path, content):
    path = tmp_path / "classes.txt"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def settings(*more):
    return parse(REGISTRY, ["--dataset", "ImageNet", *map(str, more)])


FOUR = ["--first_split_size", 2, "--other_split_size", 2]


@pytest.mark.parametrize("content", [
    "\ufeffn00000003\r\nn00000000", "# ours\n\n  n00000003  \n\tn00000000 # the second\n\n",
    "N00000003 tench, Tinca tinca\nn00000000\tgoldfish\n"])
def test_a_file_of_classes_is_read_in_its_order(tmp_path, content):
    run = settings("--imagenet_classes", given(tmp_path, content), *FOUR)
    assert run.imagenet_classes == ["n00000003", "n00000000"]


@pytest.mark.parametrize(("content", "named"), [
    (None, "cannot be read (No such file"), (b"\xff\xfen\x000\x00", "not UTF-8"), ("# nothing\n\n", "names no class"),
    ("n00000003\ntench\n", "'tench' is not a WNID"), ("n000000033\n", "'n000000033' is not a WNID"),
    ("n00000003\nn00000001\nN00000003\n", "N00000003 is named twice"),
    ("\n".join(f"n{k:08}" for k in range(1001)), "1001 classes"),
    ("n00000003\n", "--first_split_size 2: ImageNet has 1 classes; learn fewer, or name more"),
])
def test_a_faulty_file_of_classes_is_refused_in_one_line(tmp_path, content, named):
    with pytest.raises(UserError) as error:
        settings("--imagenet_classes", given(tmp_path, content), *FOUR)
    assert named in str(error.value) and "--imagenet_classes" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("flags", [["--imagenet_classes", "n00000001"], ["--incomplete_data", 1]])
def test_flags_of_other_data_sets_are_refused(flags):
    with pytest.raises(UserError, match=f"{flags[0]}: is for .*ImageNet, not for CIFAR100"):
        parse(REGISTRY, ["--dataset", "CIFAR100", *map(str, flags)])
