import numpy as np
import pytest
from conftest import write_pictures
from PIL import Image

from dataloaders.image_folder import image_folder, in_class_order, main, statistics
from utils.errors import UserError


@pytest.fixture
def flowers(tmp_path):
    """A folder of three classes, each with 4 training and 2 test images of 40 x 40 pixels."""
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


def test_class_folders_named_by_numbers_are_in_numeric_order(flowers):
    for part in ("train", "test"):
        for name, number in (("rose", "10"), ("lily", "9"), ("daisy", "1")):
            (flowers / part / name).rename(flowers / part / number)
    data = image_folder(flowers, 40)
    assert data.names == ("1", "9", "10")
    theirs = np.asarray(Image.open(flowers / "test" / "10" / "0.jpg")).transpose(2, 0, 1)
    assert np.array_equal(data.test.images[data.test.labels == 2][0], theirs)
    assert in_class_order(["010", "9", "2"]) == ["2", "9", "010"]
    assert in_class_order(["10", "9", "rose"]) == ["10", "9", "rose"]


def test_images_of_all_sizes_are_fitted(flowers):
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 200  # the middle third is all that is left
    Image.fromarray(wide).save(flowers / "train" / "daisy" / "0.png")
    data = image_folder(flowers, 32)
    assert data.train.images.shape == (13, 3, 32, 32) and data.train.images.dtype == np.uint8
    assert data.train.images[1][:, :, 8:24].min() > 150  # after 0.jpg


def test_other_names_of_the_parts_are_accepted(flowers):
    (flowers / "test").rename(flowers / "val")
    assert len(image_folder(flowers, 32, test="val").test.labels) == 6
    assert str(flowers / "test") in refusal(flowers)


def test_hidden_files_are_neither_images_nor_classes_and_suffixes_are_taken_in_any_case(flowers):
    for part in ("train", "test"):
        for name in (".cache", "__MACOSX", "@eaDir", "._rose"):
            (flowers / part / name).mkdir()
    (flowers / "train" / "rose" / "._0.jpg").write_bytes(b"of macOS")
    (flowers / "train" / "rose" / "0.jpg").rename(flowers / "train" / "rose" / "0.JPEG")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (flowers / "train" / name).write_bytes(b"x")
        (flowers / "train" / "rose" / name).write_bytes(b"x")
    data = image_folder(flowers, 32)
    assert data.names == ("daisy", "lily", "rose")
    assert len(data.train.labels) == 12
    assert data.notes == ()


def test_files_that_are_no_images_are_ignored_with_a_line(flowers):
    (flowers / "train" / "lost.jpg").write_bytes(b"outside the class folders")
    (flowers / "train" / "rose" / "notes.txt").write_text("")
    (flowers / "train" / "lily" / "empty.jpg").write_bytes(b"")
    data = image_folder(flowers, 32)
    assert len(data.train.labels) == 12
    note, = data.notes
    assert note.startswith(f"{flowers / 'train'}: ignored 3 ") and "notes.txt" in note and "lost.jpg" in note


def test_faults_are_named(flowers):
    (flowers / "test" / "rose").rename(flowers / "test" / "Rose")
    assert "only one of them has Rose, rose" in refusal(flowers)
    (flowers / "test" / "Rose").rename(flowers / "test" / "rose")
    (flowers / "train" / "rose" / "0.jpg").write_bytes(b"no image")
    assert f"{flowers / 'train' / 'rose' / '0.jpg'} cannot be decoded" in refusal(flowers)
    for path in (flowers / "train" / "rose").iterdir():
        path.unlink()
    assert f"{flowers / 'train' / 'rose'} has no image" in refusal(flowers)
    assert "cannot be read" in refusal(flowers / "nowhere")
    for part in ("train", "test"):
        (flowers / "empty" / part).mkdir(parents=True)
    assert f"{flowers / 'empty' / 'train'} has no class folders" in refusal(flowers / "empty")


def test_statistics_are_those_of_the_pixels():
    images = np.random.RandomState(0).randint(0, 256, (5, 3, 8, 8)).astype(np.uint8)
    mean, std = statistics(images)
    pixels = images.transpose(1, 0, 2, 3).reshape(3, -1) / 255
    assert mean == pytest.approx(pixels.mean(1))
    assert std == pytest.approx(pixels.std(1))


def test_the_command_prints_the_facts_to_register(flowers, monkeypatch, capsys):
    spaced = flowers.rename(flowers.with_name("my flowers"))
    monkeypatch.setenv("HOME", str(spaced.parent))
    main([f"~/{spaced.name}", "32"])
    count, line = capsys.readouterr().out.splitlines()
    assert count == "12 training and 6 test images"
    assert line.startswith("classes=3, image_size=32, mean=(0.") and ", std=(0." in line


@pytest.mark.parametrize("arguments", [["nowhere", "32"], ["nowhere", "0"], ["nowhere", "x"], []])
def test_the_commands_errors_are_one_line(arguments):
    with pytest.raises(UserError) as error:
        main(arguments)
    assert "\n" not in str(error.value) and "--dataroot" not in str(error.value)
