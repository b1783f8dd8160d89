"""What a TinyImageNet is refused for."""

import shutil

import utils.torchvision_cpu  # noqa: F401  (before torchvision)

import pytest
from PIL import Image

from dataloaders.sets.tinyimagenet import read
from tests.dataloaders.sets.conftest import refusal
from utils.errors import UserError

pytestmark = pytest.mark.usefixtures("few_are_official")


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


def test_a_class_without_images_is_refused_also_then(tiny_copy):
    root, folder = tiny_copy
    empty_class(folder)
    assert "no image at all in train/" in refusal(root, 1)
