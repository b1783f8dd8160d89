from pathlib import Path

import numpy as np
import pytest
import torch

from dataloaders.datasets import DATASETS, Data, Dataset, Split, checksum, read_data
from utils.errors import UserError
from utils.settings import Settings


def data(classes=3, shape=(3, 32, 32), kind=np.uint8, labels=None):
    labels = np.arange(classes) if labels is None else np.array(labels)
    split = Split(np.zeros((len(labels), *shape), kind), labels)
    return Data(split, split, tuple(f"class {k}" for k in range(classes)))


def register(monkeypatch, read, **more):
    """A data set Own of three classes."""
    own = {"classes": 3, "image_size": 32, "mean": (0.5,) * 3, "std": (0.25,) * 3, "read": read, **more}
    monkeypatch.setitem(DATASETS, "Own", Dataset(**own))


def test_a_data_set_is_read_from_dataroot_with_the_settings_it_asks_for(monkeypatch):
    seen = []
    register(monkeypatch, lambda *given: seen.append(given) or data(), options=("class_order", "rand_split"))
    read_data(Settings(dataset="Own", dataroot="there", rand_split=True))
    assert seen == [(Path("there"), [], True)]


@pytest.mark.parametrize(("found", "named"), [
    (data(classes=4), "4 classes were read, not 3 as registered"),
    (data(shape=(3, 64, 64)), "the training images are uint8 (3, 3, 64, 64), not uint8 (N, 3, 32, 32)"),
    (data(labels=[0, 1, 1]), "there is no training image of class class 2"),
    (data()._replace(test=data(labels=[0, 2, 2]).test), "no test image of class class 1"),
    (data(labels=[0, 1, 2, 3]), "there is a training label 3; number the classes from 0 to 2"),
    (data(labels=[0.0, 1.0, 2.0]), "the training labels are float64 (3,), not 3 whole numbers"),
    (data()._replace(test=Split(torch.zeros(3, 3, 32, 32), np.arange(3))), "two Splits of NumPy arrays"),
    (tuple(data()), "must return Data(train, test, names)"),
])
def test_what_does_not_fit_what_was_registered_is_one_line(monkeypatch, found, named):
    register(monkeypatch, lambda root: found)
    with pytest.raises(UserError) as error:
        read_data(Settings(dataset="Own"))
    assert str(error.value).startswith("--dataset Own: ")
    assert named in str(error.value)
    assert "\n" not in str(error.value)


def test_images_are_scaled_to_the_mean_of_the_area_that_a_pixel_covers(monkeypatch):
    found = data()
    found.train.images[0, 0, :2, :2] = [[0, 100], [200, 103]]
    register(monkeypatch, lambda root: found)
    small = read_data(Settings(dataset="Own", image_size=16)).train.images
    assert small.shape == (3, 3, 16, 16) and small.dtype == np.uint8
    assert small[0, 0, 0, 0] == 101 and small.sum() == 101  # of 100.75


def test_a_checksum_tells_data_sets_apart_wherever_their_files_lie(monkeypatch):
    def of(found, **known):
        register(monkeypatch, lambda root: found, **known)
        return checksum(Settings(dataset="Own"), found)

    def changed(split, part, place, value):
        array = getattr(split, part).copy()
        array[place] = value
        return split._replace(**{part: array})

    one = data()
    assert of(one) == of(data())
    others = [
        of(one._replace(train=changed(one.train, "images", (0, 0, 0, 0), 9))),
        of(one._replace(test=changed(one.test, "labels", 0, 1))),
        of(one._replace(names=("x", "b", "c"))), of(one, mean=(0.5, 0.5, 0.4))]
    assert len({of(one), *others}) == 5
    files = [Split(np.array([f"{root}/train/n1/{name}.JPEG" for name in names]), np.array([0, 1, 2]))
             for root, names in (("/a", "xyz"), ("/b/c", "xyz"), ("/a", "xyw"))]
    here, moved, another = (of(Data(split, split, ("a", "b", "c"))) for split in files)
    assert here == moved != another


def test_digits_are_real_images_a_fifth_of_them_for_testing(digits):
    for split, share in ((digits.train, 0.8), (digits.test, 0.2)):
        assert split.images.shape[1:] == (3, 32, 32) and split.images.dtype == np.uint8
        assert np.bincount(split.labels) / 179.7 == pytest.approx(np.full(10, share), abs=0.03)
        assert len(np.unique(split.images.reshape(len(split.images), -1), axis=0)) > 0.99 * len(split.images)
    pixels, known = digits.train.images / np.float32(255), DATASETS["Digits"]
    assert (pixels.mean(), pixels.std()) == pytest.approx((known.mean[0], known.std[0]), abs=2e-3)
