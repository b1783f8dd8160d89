"""What lies about in a TinyImageNet, and its other layouts."""

import shutil

import utils.torchvision_cpu  # noqa: F401  (before torchvision)

import numpy as np
import pytest

from dataloaders.sets.tinyimagenet import read
from tests.dataloaders.sets.conftest import assert_same, refusal

pytestmark = pytest.mark.usefixtures("few_are_official")


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
