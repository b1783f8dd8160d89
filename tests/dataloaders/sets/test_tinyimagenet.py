import shutil

import utils.torchvision_cpu  # noqa: F401  (before torchvision)

import numpy as np
import pytest
from PIL import Image

from dataloaders.datasets import DATASETS
from dataloaders.sets import tinyimagenet
from dataloaders.sets.tinyimagenet import read
from utils.errors import UserError

OFFICIAL = (tinyimagenet.TRAIN, tinyimagenet.VAL)


def test_the_official_numbers_are_checked():
    """200 classes with 500 training and 50 test images each (Le and Yang 2015)."""
    assert (OFFICIAL, DATASETS["TinyImageNet"].classes) == ((500, 50), 200)


@pytest.fixture(autouse=True)
def few_are_official(monkeypatch):
    """The fixture's 3 training and 2 test images a class stand for the official 500 and 50."""
    monkeypatch.setattr(tinyimagenet, "TRAIN", 3)
    monkeypatch.setattr(tinyimagenet, "VAL", 2)


@pytest.fixture(scope="module")
def tiny_images(tinyimagenet):
    return read(tinyimagenet, 1)


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
    assert all(name.startswith("n0") for name in read(root).names)


def damage_train(folder):
    path = sorted(folder.glob("train/*/images/*"))[300]
    path.write_bytes(path.read_bytes()[:500])
    return path


def damage_test(folder):
    path = sorted(folder.glob("val/images/*"))[0]
    path.write_text("no image")
    return path


def lose_test_image(folder):
    (folder / "val" / "images" / "val_17.JPEG").unlink()
    return "lacks 1 of 2 images"


def shrink_image(folder):
    path = sorted(folder.glob("train/*/images/*"))[5]
    Image.open(path).resize((32, 32)).save(path)
    return path


def empty_class(folder):
    path = sorted(folder.glob("train/*/images"))[9]
    shutil.rmtree(path)
    path.mkdir()
    return f"train/{path.parent.name} lacks 3 of 3 images"


def lose_class(folder):
    shutil.rmtree(sorted(folder.glob("train/*"))[0])
    return "199"


def lose_annotations(folder):
    path = folder / "val" / "val_annotations.txt"
    path.unlink()
    return path


def two_annotations(folder):
    path = folder / "val" / "val_annotations.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, f"{lines[0].split()[0]}\t{lines[-1].split()[1]}"]))
    return path


def lose_test_set(folder):
    shutil.rmtree(folder / "val")
    return folder / "val"


def one_image_too_many(folder):
    path = sorted(folder.glob("train/*/images/*"))[0]
    shutil.copy(path, path.with_name("again.jpg"))
    return f"train/{path.parent.parent.name} has 1 images more than the official 3"


def a_copy_in_the_place_of_an_image(folder):
    first, second, *_ = sorted(sorted(folder.glob("train/*"))[0].glob("images/*"))
    second.unlink()
    return shutil.copy(first, first.with_suffix(".jpg"))


def a_copy_in_the_other_folder(folder):
    first, second, *_ = sorted(sorted(folder.glob("train/*"))[0].glob("images/*"))
    second.unlink()
    return shutil.copy(first, first.parents[1])


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
    first, second, *others = path.read_text().splitlines(keepends=True)
    path.write_text("".join(others))
    return f"val/{first.split()[1]} lacks 2 of 2 images"


@pytest.mark.parametrize("harm", [
    damage_train, damage_test, lose_test_image, shrink_image, empty_class, lose_class, lose_annotations, strange_annotation,
    malformed_annotation, class_without_annotation, two_annotations, lose_test_set, one_image_too_many,
    a_copy_in_the_place_of_an_image, a_copy_in_the_other_folder])
def test_a_faulty_tinyimagenet_is_refused_by_name_in_one_line(tiny_copy, harm):
    root, folder = tiny_copy
    fault = harm(folder)
    with pytest.raises(UserError) as error:
        read(root)
    assert str(error.value).startswith("--dataroot")
    assert str(fault) in str(error.value)
    assert "\n" not in str(error.value)


# Incomplete


def refusal(root, *more):
    with pytest.raises(UserError) as error:
        read(root, *more)
    assert "\n" not in str(error.value)
    return str(error.value)


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


def test_a_class_without_images_is_refused_also_then(tiny_copy):
    root, folder = tiny_copy
    empty_class(folder)
    assert "no image at all in train/" in refusal(root, 1)


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


# What lies about, and other layouts


def assert_same(data, other):
    for mine, theirs in ((data.train, other.train), (data.test, other.test)):
        assert np.array_equal(mine.labels, theirs.labels)
    assert np.array_equal(data.test.images, other.test.images)
    assert data.train.images.shape == other.train.images.shape
    assert data.names == other.names


def test_hidden_files_and_folders_are_no_images_and_no_classes(tiny_copy, tiny_images):
    root, folder = tiny_copy
    for path in [*folder.glob("train/*/images/*0.JPEG"), *folder.glob("val/images/*0.JPEG")]:
        path.with_name(f"._{path.name}").write_bytes(b"of macOS")
    for place in (folder / "train", folder / "val", folder / "val" / "images", next(folder.glob("train/*/images"))):
        (place / ".DS_Store").write_bytes(b"")
        (place / "Thumbs.db").write_bytes(b"")
        (place / "__MACOSX").mkdir()
        (place / "._n00000000").mkdir()
    data = read(root)
    assert_same(data, tiny_images)
    assert data.notes == ()


def test_folders_that_are_no_class_are_ignored_with_a_line(tiny_copy, tiny_images):
    root, folder = tiny_copy
    (folder / "train" / "backup").mkdir()
    data = read(root)
    assert_same(data, tiny_images)
    note, = data.notes
    assert "ignored 1 folders" in note and "backup" in note


def test_where_wnids_txt_names_the_classes_a_strange_one_is_ignored_and_a_missing_one_named(tiny_copy, tiny_images):
    root, folder = tiny_copy
    wnids = sorted(path.name for path in (folder / "train").iterdir())
    (folder / "wnids.txt").write_text("\r\n".join(reversed(wnids)))
    shutil.copytree(folder / "train" / wnids[0], folder / "train" / "n00000000")
    assert_same(read(root), tiny_images)
    (folder / "train" / wnids[5]).rename(folder / "train" / "n00000001")
    assert wnids[5] in refusal(root)


def test_the_folder_of_the_2021_code_is_found(tiny_copy, tiny_images):
    root, folder = tiny_copy
    (root / "tiny-imagenet").mkdir()
    folder.rename(root / "tiny-imagenet" / folder.name)
    assert_same(read(root), tiny_images)


def test_an_archive_that_is_not_unpacked_is_named(tmp_path):
    (tmp_path / "tiny-imagenet-200.zip").write_bytes(b"PK")
    assert "tiny-imagenet-200.zip is not unpacked" in refusal(tmp_path)


def rearrange(folder, inner, keep_annotations, part=1):
    """What the scripts do that make class folders of val; of every part-th image."""
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


@pytest.mark.parametrize("inner", ["", "images"])
@pytest.mark.parametrize("keep", [True, False], ids=["with annotations", "without"])
def test_class_folders_in_val_are_read(tiny_copy, tiny_images, inner, keep):
    root, folder = tiny_copy
    rearrange(folder, inner, keep)
    data = read(root)
    assert np.bincount(data.test.labels).tolist() == [2] * 200
    pairs = [sorted(zip(one.test.labels.tolist(), (image.tobytes() for image in one.test.images))) for one in (data, tiny_images)]
    assert pairs[0] == pairs[1]
    if keep:
        assert_same(data, tiny_images)


def test_class_folders_in_val_images_are_read(tiny_copy, tiny_images):
    root, folder = tiny_copy
    rearrange(folder, "", True)
    inner = folder / "val" / "images"
    inner.mkdir()
    for place in folder.glob("val/n*"):
        place.rename(inner / place.name)
    assert_same(read(root), tiny_images)


def test_class_folders_in_val_may_number_each_class_anew(tiny_copy, tiny_images):
    root, folder = tiny_copy
    rearrange(folder, "", False)
    for place in folder.glob("val/n*"):
        for number, path in enumerate(sorted(place.iterdir())):
            path.rename(place / f"{number}.JPEG")
    data = read(root)
    pairs = [sorted(zip(one.test.labels.tolist(), (image.tobytes() for image in one.test.images))) for one in (data, tiny_images)]
    assert pairs[0] == pairs[1]


def test_half_rearranged_is_read_as_annotated(tiny_copy, tiny_images):
    root, folder = tiny_copy
    rearrange(folder, "", True, part=3)
    assert_same(read(root), tiny_images)


def test_an_image_in_the_folder_of_another_class_than_annotated_is_refused(tiny_copy):
    root, folder = tiny_copy
    rearrange(folder, "", True)
    one, other = sorted((folder / "val").glob("n*"))[:2]
    stray = next(one.iterdir())
    stray.rename(other / stray.name)
    assert f"{other / stray.name} is in the folder of another class" in refusal(root)


def test_annotations_with_other_line_ends_blanks_and_capitals_are_read(tiny_copy, tiny_images):
    root, folder = tiny_copy
    path = folder / "val" / "val_annotations.txt"
    lines = path.read_text().splitlines()
    path.write_bytes(("\ufeff" + "\r\n".join(["\t".join(line.split()[:2]).replace("n0", "N0", 1) + "  \t " for line in lines] + [" "])).encode())
    assert_same(read(root), tiny_images)


def test_class_folders_in_capitals_and_by_way_of_links_are_read(tiny_copy, tiny_images, tmp_path):
    root, folder = tiny_copy
    one, other, *_ = sorted((folder / "train").iterdir())
    one.rename(folder / "train" / one.name.upper())
    other.rename(tmp_path / "elsewhere")
    other.symlink_to(tmp_path / "elsewhere")
    assert_same(read(root), tiny_images)


def test_two_folders_of_one_class_are_refused(tiny_copy):
    root, folder = tiny_copy
    one = sorted((folder / "train").iterdir())[0]
    shutil.copytree(one, folder / "train" / one.name.upper())
    assert "are one class" in refusal(root)
