import numpy as np
import pytest
from conftest import write_pictures
from PIL import Image

from dataloaders.image_folder import image_folder, in_class_order, main
from tests.dataloaders.sets.conftest import refused
from utils.errors import UserError


@pytest.fixture
def flowers(tmp_path):
    """A folder of three classes, each with 4 training and 2 test images of 40 x 40 pixels."""
    for part, count in (("train", 4), ("test", 2)):
        for label, name in enumerate(("rose", "lily", "daisy")):
            write_pictures(tmp_path / part / name, [f"{k}.jpg" for k in range(count)], 40, label)
    return tmp_path


def test_images_are_read_with_classes_by_name_or_number(flowers):
    (flowers / "test").rename(flowers / "val")
    data = image_folder(flowers, 40, test="val")
    assert data.names == ("daisy", "lily", "rose") and data.notes == ()
    assert np.bincount(data.train.labels).tolist() == [4] * 3
    assert np.bincount(data.test.labels).tolist() == [2] * 3
    theirs = np.asarray(Image.open(flowers / "train" / "lily" / "2.jpg")).transpose(2, 0, 1)
    assert np.array_equal(data.train.images[4 + 2], theirs)
    assert in_class_order(["010", "9", "2"]) == ["2", "9", "010"]
    assert in_class_order(["10", "9", "rose"]) == ["10", "9", "rose"]


def test_images_of_all_sizes_are_fitted(flowers):
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 200  # the middle third is all that is left
    Image.fromarray(wide).save(flowers / "train" / "daisy" / "0.png")
    data = image_folder(flowers, 32)
    assert data.train.images.shape == (13, 3, 32, 32) and data.train.images.dtype == np.uint8
    assert data.train.images[1][:, :, 8:24].min() > 150  # after 0.jpg


def test_hidden_files_are_skipped_and_others_ignored_with_a_line(flowers):
    for name in (".cache", "__MACOSX", "@eaDir", "._rose"):
        (flowers / "train" / name).mkdir()
    rose = flowers / "train" / "rose"
    (rose / "._0.jpg").write_bytes(b"of macOS")
    (rose / "0.jpg").rename(rose / "0.JPEG")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (rose / name).write_bytes(b"x")
    data = image_folder(flowers, 32)
    assert (data.names, len(data.train.labels), data.notes) == (("daisy", "lily", "rose"), 12, ())
    (rose / "notes.txt").write_text("")
    (rose / "empty.jpg").write_bytes(b"")
    data = image_folder(flowers, 32)
    assert len(data.train.labels) == 12
    note, = data.notes
    assert note.startswith(f"{flowers}: ignored 2 ") and "notes.txt" in note


def test_faults_are_named(flowers):
    (flowers / "test" / "rose").rename(flowers / "test" / "Rose")
    assert "only one of them has Rose, rose" in refused(image_folder, flowers, 32)
    (flowers / "test" / "Rose").rename(flowers / "test" / "rose")
    (flowers / "train" / "rose" / "0.jpg").write_bytes(b"no image")
    assert f"{flowers / 'train' / 'rose' / '0.jpg'} cannot be decoded" in refused(image_folder, flowers, 32)
    assert "cannot be read" in refused(image_folder, flowers / "nowhere", 32)
    for part in ("train", "test"):
        (flowers / "empty" / part).mkdir(parents=True)
    empty = flowers / "empty"
    assert f"{empty / 'train'} has no class folders" in refused(image_folder, empty, 32)


def test_the_command_prints_the_facts_to_register(flowers, monkeypatch, capsys):
    spaced = flowers.rename(flowers.with_name("my flowers"))
    monkeypatch.setenv("HOME", str(spaced.parent))
    main([f"~/{spaced.name}", "32"])
    count, line = capsys.readouterr().out.splitlines()
    pixels = image_folder(spaced, 32).train.images.transpose(1, 0, 2, 3).reshape(3, -1) / 255
    mean, std = (", ".join(f"{value:.4f}" for value in values) for values in (pixels.mean(1), pixels.std(1)))
    assert count == "12 training and 6 test images"
    assert line == f"classes=3, image_size=32, mean=({mean}), std=({std})"


@pytest.mark.parametrize("arguments", [["nowhere", "32"], ["nowhere", "0"], ["nowhere", "x"], []])
def test_the_commands_errors_are_one_line(arguments):
    with pytest.raises(UserError) as error:
        main(arguments)
    assert "\n" not in str(error.value) and "--dataroot" not in str(error.value)
