import numpy as np
import pytest

from dataloaders.datasets import DATASETS


def test_digits_are_real_images_of_ten_classes(digits):
    for split in (digits.train, digits.test):
        assert split.images.shape[1:] == (3, 32, 32)
        assert split.images.dtype == np.uint8
        assert len(split.images) == len(split.labels)
        assert set(split.labels) == set(range(10))
        assert len(np.unique(split.images.reshape(len(split.images), -1), axis=0)) > 0.99 * len(split.images)
    assert digits.names == tuple("0123456789")


def test_a_fifth_of_each_digit_is_for_testing(digits):
    train, test = np.bincount(digits.train.labels), np.bincount(digits.test.labels)
    assert (train + test).sum() == 1797
    assert ((test / (train + test) > 0.195) & (test / (train + test) < 0.21)).all()


def test_digits_have_the_recorded_mean_and_deviation(digits):
    known = DATASETS["Digits"]
    pixels = digits.train.images / np.float32(255)
    assert pixels.mean() == pytest.approx(known.mean[0], abs=2e-3)
    assert pixels.std() == pytest.approx(known.std[0], abs=2e-3)
