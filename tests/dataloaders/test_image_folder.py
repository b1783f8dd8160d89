import shutil

import numpy as np
import pytest
from conftest import write_pictures
from PIL import Image

from dataloaders.image_folder import image_folder, main, statistics
from utils.errors import UserError


@pytest.fixture
def flowers(tmp_path):
    """A folder of three classes, 4 training and 2 test images each, of 40 x 40 pixels."""
    for part, count in (("train", 4), ("test", 2)):
        for label, name in enumerate(("rose", "lily", "daisy")):
            write_pictures(tmp_path / part / name, [f"{k}.jpg" for k in range(count)], 40, label)
    return tmp_path


def refusal(folder):
    with pytest.raises(UserError) as error:
        image_folder(folder, 32)
    assert str(error.value).startswith("--dataroot")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_images_are_read_with_classes_by_name(flowers):
    data = image_folder(flowers, 40)
    assert data.names == ("daisy", "lily", "rose")
    assert np.bincount(data.train.labels).tolist() == [4] * 3
    assert np.bincount(data.test.labels).tolist() == [2] * 3
    theirs = np.asarray(Image.open(flowers / "train" / "lily" / "2.jpg")).transpose(2, 0, 1)
    assert np.array_equal(data.train.images[4 + 2], theirs)
    assert data.notes == ()


def test_images_of_all_sizes_are_fitted(flowers):
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 200  # the middle third is all that is left
    Image.fromarray(wide).save(flowers / "train" / "daisy" / "0.png")
    data = image_folder(flowers, 32)
    assert data.train.images.shape == (13, 3, 32, 32) and data.train.images.dtype == np.uint8
    assert data.train.images[1][:, :, 8:24].min() > 150  # after 0.jpg


def test_other_names_of_the_parts_are_taken(flowers):
    (flowers / "test").rename(flowers / "val")
    assert len(image_folder(flowers, 32, test="val").test.labels) == 6
    assert str(flowers / "test") in refusal(flowers)


def test_grey_and_transparent_images_and_suffixes_in_any_case_are_read(flowers):
    folder = flowers / "train" / "rose"
    for mode, name in (("L", "a.PNG"), ("RGBA", "b.png"), ("CMYK", "c.JPG"), ("P", "d.png")):
        Image.open(folder / "0.jpg").convert(mode).save(folder / name)
    data = image_folder(flowers, 32)
    assert np.bincount(data.train.labels).tolist() == [4, 4, 8]


def test_hidden_files_are_neither_images_nor_classes(flowers):
    for part in ("train", "test"):
        for name in (".cache", "__MACOSX", "@eaDir", "._rose"):
            (flowers / part / name).mkdir()
    (flowers / "train" / "rose" / "._0.jpg").write_bytes(b"of macOS")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (flowers / "train" / name).write_bytes(b"x")
        (flowers / "train" / "rose" / name).write_bytes(b"x")
    data = image_folder(flowers, 32)
    assert data.names == ("daisy", "lily", "rose")
    assert len(data.train.labels) == 12
    assert data.notes == ()


def test_what_is_no_image_is_ignored_with_a_line(flowers):
    (flowers / "train" / "rose" / "notes.txt").write_text("")
    (flowers / "train" / "lily" / "empty.jpg").write_bytes(b"")
    (flowers / "train" / "lily" / "folder.jpg").mkdir()
    data = image_folder(flowers, 32)
    assert len(data.train.labels) == 12
    note, = data.notes
    assert note.startswith(f"{flowers / 'train'}: ignored 3 ") and "notes.txt" in note


def test_an_image_outside_the_class_folders_is_ignored_with_a_line(flowers):
    shutil.copy(flowers / "train" / "rose" / "0.jpg", flowers / "train" / "lost.jpg")
    note, = image_folder(flowers, 32).notes
    assert note == f"{flowers / 'train'}: ignored 1 outside the class folders: {flowers / 'train' / 'lost.jpg'}"


def test_images_that_take_more_memory_than_there_is_are_one_line(flowers, capsys):
    assert main([str(flowers), "10000000"]) == 2
    line, = capsys.readouterr().err.splitlines()
    assert line.startswith("dataloaders.image_folder: FOLDER: 12 images of 10000000 x 10000000 pixels take 3,352,761 GiB")


def test_faults_are_named(flowers):
    shutil.move(flowers / "test" / "rose", flowers / "test" / "Rose")
    assert "only one of them has Rose, rose" in refusal(flowers)
    shutil.move(flowers / "test" / "Rose", flowers / "test" / "rose")
    (flowers / "train" / "rose" / "0.jpg").write_bytes(b"no image")
    assert f"{flowers / 'train' / 'rose' / '0.jpg'} cannot be decoded" in refusal(flowers)
    for path in (flowers / "train" / "rose").iterdir():
        path.unlink()
    assert f"{flowers / 'train' / 'rose'} has no image" in refusal(flowers)
    assert "cannot be read" in refusal(flowers / "nowhere")


def test_a_folder_without_class_folders_is_named(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    assert f"{tmp_path / 'train'} has no class folders" in refusal(tmp_path)


def test_statistics_are_those_of_the_pixels():
    images = np.random.RandomState(0).randint(0, 256, (5, 3, 8, 8)).astype(np.uint8)
    mean, std = statistics(images)
    pixels = images.transpose(1, 0, 2, 3).reshape(3, -1) / 255
    assert mean == pytest.approx(pixels.mean(1))
    assert std == pytest.approx(pixels.std(1))


def test_the_command_says_what_to_register_with(flowers, capsys):
    assert main([str(flowers), "32"]) == 0
    count, line = capsys.readouterr().out.splitlines()
    assert count == "12 training and 6 test images"
    assert line.startswith("classes=3, image_size=32, mean=(0.") and ", std=(0." in line


def test_the_command_knows_the_home_folder(flowers, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(flowers.parent))
    assert main([f"~/{flowers.name}", "32"]) == 0
    assert "12 training and 6 test images" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["nowhere", "32"], ["nowhere", "0"], ["nowhere", "x"], []])
def test_the_commands_errors_are_one_line(arguments, capsys):
    assert main(arguments) == 2
    line, = capsys.readouterr().err.splitlines()
    assert line.startswith("dataloaders.image_folder: ")
