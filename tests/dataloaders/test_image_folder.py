import numpy as np
import pytest
from conftest import write_pictures
from PIL import Image

from dataloaders.datasets import class_count, read_data
from dataloaders.image_folder import image_folder, in_class_order
from learners import REGISTRY
from tests.dataloaders.sets.conftest import refused
from utils.command_line import parse
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
    data = image_folder(flowers, 40)
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


def settings_of(folder, *more):
    return parse(REGISTRY, ["--dataset", f"folder:{folder}", *more])


def test_a_flag_names_a_folder_whose_classes_are_counted(flowers, monkeypatch):
    monkeypatch.setenv("FLOWERS", str(flowers))
    settings = settings_of("$FLOWERS", "--image_size", "16", "--class_order", "2", "0", "1")
    assert (settings.dataset, class_count(settings)) == (f"folder:{flowers}", 3)
    data = read_data(settings)
    assert data.names == ("daisy", "lily", "rose") and data.train.images.shape == (12, 3, 16, 16)
    order = ["--class_order", "2", "0", "1"]
    recorded = settings_of("gone", "--image_size", "16", "--classes", "3", *order)  # as in args.yaml
    assert class_count(recorded) == 3


def test_a_share_of_each_class_is_tested_on_if_there_are_no_test_images(flowers):
    whole = image_folder(flowers / "train", 32, 0.25)
    assert np.bincount(whole.train.labels).tolist() == [3] * 3
    assert np.bincount(whole.test.labels).tolist() == [1] * 3
    again = image_folder(flowers / "train", 32, 0.25)
    assert np.array_equal(whole.test.images, again.test.images)
    both = np.concatenate([whole.train.images, whole.test.images])
    assert len(np.unique(both, axis=0)) == 12


@pytest.mark.parametrize(("flags", "named"), [
    ([], "--image_size: name the side"),
    (["--image_size", "32", "--test_share", "0.2"], "has test images; leave it out"),
    (["--image_size", "32", "--first_split_size", "4"], "--first_split_size 4"),
])
def test_flags_that_do_not_fit_a_folder_are_refused(flowers, flags, named):
    with pytest.raises(UserError, match=named):
        read_data(settings_of(flowers, *flags))


def test_a_folder_without_test_images_needs_a_share(flowers):
    with pytest.raises(UserError, match="--test_share 0: .* has no test images; give 0.2"):
        read_data(settings_of(flowers / "train", "--image_size", "32"))
