import shutil

import numpy as np
import pytest
from PIL import Image

from dataloaders.sets.tinyimagenet import OFFICIAL, read
from tests.dataloaders.sets.conftest import refused, same

pytestmark = pytest.mark.usefixtures("few_are_official")


def test_it_is_read_whole_with_classes_by_wnid(tiny_images, tinyimagenet):
    assert OFFICIAL == {"train": (500, 500), "val": (50, 50)}  # Le and Yang 2015
    for split, count in ((tiny_images.train, 3), (tiny_images.test, 2)):
        assert (split.images.shape, split.images.dtype) == ((200 * count, 3, 64, 64), np.uint8)
        assert np.bincount(split.labels).tolist() == [count] * 200
    last = sorted((tinyimagenet / "tiny-imagenet-200" / "train").iterdir())[-1] / "images"
    theirs = np.stack([np.array(Image.open(path)).transpose(2, 0, 1) for path in sorted(last.iterdir())])
    assert np.array_equal(tiny_images.train.images[tiny_images.train.labels == 199], theirs)
    assert (tiny_images.names[6], tiny_images.names[8]) == ("word 6", "word 8")
    assert tiny_images.names[7].startswith("n0")
    images, labels = tiny_images.train  # the images of a class have one colour, also in the test set
    colour = [images[labels == label].mean((0, 2, 3)) for label in range(200)]
    for image, label in zip(tiny_images.test.images, tiny_images.test.labels):
        assert abs(image.mean((1, 2)) - colour[label]).max() < 8


def test_hidden_files_and_the_folder_of_the_2021_code_change_nothing(tiny_copy, tiny_images):
    root, folder = tiny_copy
    (root / "tiny-imagenet").mkdir()
    folder = folder.rename(root / "tiny-imagenet" / folder.name)
    for path in [*folder.glob("train/*/images/*0.JPEG"), *folder.glob("val/images/*0.JPEG")]:
        path.with_name(f"._{path.name}").write_bytes(b"of macOS")
    (folder / "train" / "__MACOSX").mkdir()
    assert same(read(root), tiny_images)
    shutil.rmtree(folder)
    folder.with_suffix(".zip").write_bytes(b"PK")
    assert "tiny-imagenet-200.zip is not unpacked" in refused(read, root)


@pytest.mark.parametrize("layout", ["{wnid}", "{wnid}/images", "images/{wnid}"])
def test_a_val_that_scripts_sorted_into_class_folders_is_read(tiny_copy, tiny_images, layout):
    root, folder = tiny_copy
    annotations = folder / "val" / "val_annotations.txt"
    for line in annotations.read_text().splitlines():
        name, wnid, *_ = line.split()
        place = folder / "val" / layout.format(wnid=wnid)
        place.mkdir(parents=True, exist_ok=True)
        (folder / "val" / "images" / name).rename(place / name)
    annotations.unlink()
    assert same(read(root), tiny_images)


def damaged(folder):
    path = sorted(folder.glob("train/*/images/*"))[300]
    path.write_bytes(path.read_bytes()[:500])
    return path


def without_a_test_image(folder):
    (folder / "val" / "images" / "val_17.JPEG").unlink()
    return "has 1 of 2 images"


def without_a_class(folder):
    shutil.rmtree(sorted(folder.glob("train/*"))[0])
    return "199 classes, not 200"


def without_annotations(folder):
    (folder / "val" / "val_annotations.txt").unlink()
    return "val_annotations.txt, which gives the classes"


@pytest.mark.parametrize("harm", [
    damaged, without_a_test_image, without_a_class, without_annotations])
def test_a_faulty_tinyimagenet_is_refused_in_one_line(tiny_copy, harm):
    root, folder = tiny_copy
    fault = harm(folder)
    assert str(fault) in refused(read, root)


def test_incomplete_data_is_noted_if_it_is_allowed(tiny_copy):
    root, folder = tiny_copy
    train = sorted((folder / "train").iterdir())
    for place in range(10):
        next((train[place] / "images").iterdir()).unlink()
    text = refused(read, root)
    assert f"train/{train[0].name} has 2 of 3 images" in text and train[3].name not in text
    assert "and 7 more" in text and "--incomplete_data 1" in text
    data = read(root, True)
    assert np.bincount(data.train.labels).tolist() == [2] * 10 + [3] * 190
    note, = data.notes
    assert f"train/{train[0].name} has 2 of 3 images" in note and "--incomplete_data 1" in note
