import utils.torchvision_cpu  # noqa: F401  (before torchvision)

import numpy as np
import pytest
from PIL import Image

from dataloaders.datasets import DATASETS
from dataloaders.sets import tinyimagenet
from dataloaders.sets.tinyimagenet import read
from tests.dataloaders.sets.conftest import assert_same, refusal

pytestmark = pytest.mark.usefixtures("few_are_official")
OFFICIAL = (tinyimagenet.TRAIN, tinyimagenet.VAL)


def test_the_official_numbers_are_checked():
    """200 classes with 500 training and 50 test images each (Le and Yang 2015)."""
    assert (OFFICIAL, DATASETS["TinyImageNet"].classes) == ((500, 50), 200)


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


def test_tinyimagenet_does_without_words(tiny_copy):
    root, folder = tiny_copy
    (folder / "words.txt").unlink()
    assert all(name.startswith("n0") for name in read(root).names)


# Incomplete


def test_classes_that_lack_images_are_named_the_first_few_and_counted(tiny_copy):
    root, folder = tiny_copy
    train = sorted((folder / "train").iterdir())
    for place in range(10):
        next((train[place] / "images").iterdir()).unlink()
    text = refusal(root)
    assert f"train/{train[0].name} lacks 1 of 3 images" in text and f"train/{train[2].name} lacks" in text
    assert train[3].name not in text
    assert "and 7 more classes" in text
    assert "--incomplete_data 1" in text


def test_incomplete_data_is_used_all_the_same_where_that_is_wanted_and_noted(tiny_copy):
    root, folder = tiny_copy
    first = sorted((folder / "train").iterdir())[0]
    next((first / "images").iterdir()).unlink()
    data = read(root, 1)
    assert np.bincount(data.train.labels).tolist() == [2] + [3] * 199
    note, = data.notes
    assert f"train/{first.name} lacks 1 of 3 images" in note and "--incomplete_data 1" in note


@pytest.mark.parametrize("rename", [".jpg", ".jpeg", ".JPG", ".Jpeg", ".PNG"])
def test_suffixes_of_images_are_taken_in_any_case(tiny_copy, tiny_images, rename):
    root, folder = tiny_copy
    for path in sorted(folder.rglob("*.JPEG"))[::2]:
        path.rename(path.with_suffix(rename))
    assert_same(read(root), tiny_images)


def test_empty_files_and_folders_named_like_images_count_as_lacking(tiny_copy):
    root, folder = tiny_copy
    empty, directory = sorted(folder.glob("train/*/images/*"))[:6:5]
    empty.write_bytes(b"")
    directory.unlink()
    directory.mkdir()
    assert refusal(root).count("lacks 1 of 3 images") == 2


def test_an_image_that_may_not_be_read_is_named(tiny_copy, monkeypatch):
    root, folder = tiny_copy
    closed = sorted(folder.glob("train/*/images/*"))[7]
    monkeypatch.setattr("dataloaders.folders.os.access", lambda path, mode: path != closed)
    text = refusal(root)
    assert f"{closed} cannot be read (Permission denied)" in text and "chmod" in text
