import shutil

import numpy as np
import pytest
from PIL import Image

from dataloaders.datasets import DATASETS
from dataloaders.sets import tinyimagenet as module
from dataloaders.sets.tinyimagenet import read
from tests.dataloaders.sets.conftest import assert_same, refused

pytestmark = pytest.mark.usefixtures("few_are_official")
OFFICIAL = module.OFFICIAL


def test_the_official_numbers_are_checked():
    """200 classes with 500 training and 50 test images each (Le and Yang 2015)."""
    assert (OFFICIAL, DATASETS["TinyImageNet"].classes) == ({"train": (500, 500), "val": (50, 50)}, 200)


def test_it_is_read_whole_with_classes_by_wnid(tiny_images, tinyimagenet):
    for split, count in ((tiny_images.train, 3), (tiny_images.test, 2)):
        assert (split.images.shape, split.images.dtype) == ((200 * count, 3, 64, 64), np.uint8)
        assert np.bincount(split.labels).tolist() == [count] * 200
    last = sorted((tinyimagenet / "tiny-imagenet-200" / "train").iterdir())[-1] / "images"
    theirs = np.stack([np.array(Image.open(path)).transpose(2, 0, 1) for path in sorted(last.iterdir())])
    assert np.array_equal(tiny_images.train.images[tiny_images.train.labels == 199], theirs)
    assert (tiny_images.names[6], tiny_images.names[8]) == ("word 6", "word 8")
    assert tiny_images.names[7].startswith("n0")


def test_test_images_have_the_class_of_their_annotation(tiny_images):
    """The images of a class, in both sets, have one colour."""
    colour = [tiny_images.train.images[tiny_images.train.labels == label].mean((0, 2, 3)) for label in range(200)]
    for image, label in zip(tiny_images.test.images, tiny_images.test.labels):
        assert abs(image.mean((1, 2)) - colour[label]).max() < 8


def test_other_files_and_folders_change_nothing(tiny_copy, tiny_images, tmp_path):
    root, folder = tiny_copy
    for path in [*folder.glob("train/*/images/*0.JPEG"), *folder.glob("val/images/*0.JPEG")]:
        path.with_name(f"._{path.name}").write_bytes(b"of macOS")
    (folder / "train" / "__MACOSX").mkdir()
    (folder / "val" / "images" / ".DS_Store").write_bytes(b"")
    one, other, *_ = sorted((folder / "train").glob("n*"))
    one.rename(folder / "train" / one.name.upper())
    other.rename(tmp_path / "elsewhere")
    other.symlink_to(tmp_path / "elsewhere")
    data = read(root)
    assert_same(data, tiny_images)
    assert data.notes == ()
    (folder / "train" / "backup").mkdir()
    note, = read(root).notes
    assert "ignored 1 folders" in note and "backup" in note


def test_wnids_txt_names_the_classes(tiny_copy, tiny_images):
    root, folder = tiny_copy
    wnids = sorted(path.name for path in (folder / "train").iterdir())
    (folder / "wnids.txt").write_text("\r\n".join(reversed(wnids)))
    shutil.copytree(folder / "train" / wnids[0], folder / "train" / "n00000000")
    assert_same(read(root), tiny_images)
    (folder / "train" / wnids[5]).rename(folder / "train" / "n00000001")
    assert wnids[5] in refused(read, root)


def test_the_folder_of_the_2021_code_is_found_and_a_packed_archive_named(tiny_copy, tiny_images):
    root, folder = tiny_copy
    (root / "tiny-imagenet").mkdir()
    moved = folder.rename(root / "tiny-imagenet" / folder.name)
    assert_same(read(root), tiny_images)
    shutil.rmtree(moved)
    moved.with_suffix(".zip").write_bytes(b"PK")
    assert "tiny-imagenet-200.zip is not unpacked" in refused(read, root)


# Common scripts sort the images of val into class folders


def rearrange(folder, inner, keep_annotations, part=1):
    """Move every part-th test image into the folder of its class."""
    annotations = folder / "val" / "val_annotations.txt"
    for line in annotations.read_text().splitlines()[::part]:
        name, wnid, *_ = line.split()
        place = folder / "val" / wnid / inner
        place.mkdir(parents=True, exist_ok=True)
        (folder / "val" / "images" / name).rename(place / name)
    if not keep_annotations:
        annotations.unlink()
    if part == 1:
        (folder / "val" / "images").rmdir()


def of_test_set(data):
    return sorted(zip(data.test.labels.tolist(), (image.tobytes() for image in data.test.images)))


@pytest.mark.parametrize(("inner", "keep", "part"), [("", True, 1), ("images", True, 1), ("", True, 3)])
def test_a_sorted_val_is_read_as_annotated(tiny_copy, tiny_images, inner, keep, part):
    root, folder = tiny_copy
    rearrange(folder, inner, keep, part)
    assert_same(read(root), tiny_images)


def test_a_sorted_val_is_read_without_annotations_even_if_each_class_is_numbered_anew(tiny_copy, tiny_images):
    root, folder = tiny_copy
    rearrange(folder, "", False)
    assert of_test_set(read(root)) == of_test_set(tiny_images)
    for place in folder.glob("val/n*"):
        for number, path in enumerate(sorted(place.iterdir())):
            path.rename(place / f"{number}.JPEG")
    assert of_test_set(read(root)) == of_test_set(tiny_images)


def test_class_folders_in_val_images_are_read_and_a_stray_image_refused(tiny_copy, tiny_images):
    root, folder = tiny_copy
    rearrange(folder, "", True)
    inner = folder / "val" / "images"
    inner.mkdir()
    for place in folder.glob("val/n*"):
        place.rename(inner / place.name)
    assert_same(read(root), tiny_images)
    one, other = sorted(inner.glob("n*"))[:2]
    stray = next(one.iterdir())
    stray.rename(other / stray.name)
    assert f"{other / stray.name} is not in the class folder" in refused(read, root)


# Faults


def first_image(folder):
    return sorted(folder.glob("train/*/images/*"))[0]


def damage_image(folder):
    path = sorted(folder.glob("train/*/images/*"))[300]
    path.write_bytes(path.read_bytes()[:500])
    return path


def empty_image(folder):
    first_image(folder).write_bytes(b"")
    return "has 2 of 3 images"


def lose_test_image(folder):
    (folder / "val" / "images" / "val_17.JPEG").unlink()
    return "has 1 of 2 images"


def shrink_image(folder):
    path = first_image(folder)
    Image.open(path).resize((32, 32)).save(path)
    return path


def lose_class(folder):
    shutil.rmtree(sorted(folder.glob("train/*"))[0])
    return "199 classes, not 200"


def lose_annotations(folder):
    path = folder / "val" / "val_annotations.txt"
    path.unlink()
    return path


def strange_annotation(folder):
    path = folder / "val" / "val_annotations.txt"
    path.write_text(path.read_text() + "val_1.JPEG\tn99999999\n")
    return "val_1.JPEG two classes, or none"


def two_annotations(folder):
    path = folder / "val" / "val_annotations.txt"
    first, *_, last = path.read_text().splitlines()
    path.write_text(path.read_text() + f"{first.split()[0]}\t{last.split()[1]}\n")
    return f"{first.split()[0]} two classes"


def lose_test_set(folder):
    shutil.rmtree(folder / "val")
    return folder / "val"


def one_image_too_many(folder):
    shutil.copy(first_image(folder), first_image(folder).with_name("again.jpg"))
    return "has 4 images, 1 more than the official set"


def a_copy_instead_of_an_image(folder):
    first, second, *_ = sorted(folder.glob("train/*/images/*"))
    second.unlink()
    return shutil.copy(first, first.with_suffix(".jpg"))


@pytest.mark.parametrize("harm", [
    damage_image, empty_image, lose_test_image, shrink_image, lose_class, lose_annotations, strange_annotation,
    two_annotations, lose_test_set, one_image_too_many, a_copy_instead_of_an_image])
def test_a_faulty_tinyimagenet_is_refused_in_one_line(tiny_copy, harm):
    root, folder = tiny_copy
    fault = harm(folder)
    assert str(fault) in refused(read, root)


def test_incomplete_data_is_noted_if_it_is_allowed_but_no_class_may_be_empty(tiny_copy):
    root, folder = tiny_copy
    train = sorted((folder / "train").iterdir())
    for place in range(10):
        next((train[place] / "images").iterdir()).unlink()
    text = refused(read, root)
    assert f"train/{train[0].name} has 2 of 3 images" in text and f"train/{train[2].name} has" in text
    assert train[3].name not in text
    assert "and 7 more classes" in text and "--incomplete_data 1" in text
    data = read(root, True)
    assert np.bincount(data.train.labels).tolist() == [2] * 10 + [3] * 190
    note, = data.notes
    assert f"train/{train[0].name} has 2 of 3 images" in note and "--incomplete_data 1" in note
    shutil.rmtree(train[9] / "images")
    assert f"no image at all in train/{train[9].name}" in refused(read, root, True)


def test_an_image_that_may_not_be_read_is_named(tiny_copy, monkeypatch):
    root, folder = tiny_copy
    closed = first_image(folder)
    monkeypatch.setattr("dataloaders.folders.os.access", lambda path, mode: path != closed)
    text = refused(read, root)
    assert f"{closed} cannot be read" in text and "chmod" in text
