import numpy as np
import pytest

from dataloaders.datasets import DATASETS


def test_digits_are_real_images_a_fifth_of_them_for_testing(digits):
    for split, share in ((digits.train, 0.8), (digits.test, 0.2)):
        assert split.images.shape[1:] == (3, 32, 32) and split.images.dtype == np.uint8
        assert np.bincount(split.labels) / 179.7 == pytest.approx(np.full(10, share), abs=0.03)
        assert len(np.unique(split.images.reshape(len(split.images), -1), axis=0)) > 0.99 * len(split.images)
    pixels, known = digits.train.images / np.float32(255), DATASETS["Digits"]
    assert (pixels.mean(), pixels.std()) == pytest.approx((known.mean[0], known.std[0]), abs=2e-3)
