import shutil

import utils.torchvision_cpu  # noqa: F401  (before torchvision)

import numpy as np
import pytest

from dataloaders.sets import tinyimagenet
from dataloaders.sets.tinyimagenet import read
from utils.errors import UserError


@pytest.fixture
def few_are_official(monkeypatch):
    """The fixture's 3 training and 2 test images a class stand for the official 500 and 50."""
    monkeypatch.setattr(tinyimagenet, "TRAIN", 3)
    monkeypatch.setattr(tinyimagenet, "VAL", 2)


@pytest.fixture(scope="module")
def tiny_images(tinyimagenet):
    return read(tinyimagenet, 1)


@pytest.fixture
def tiny_copy(tinyimagenet, tmp_path):
    """The root of a TinyImageNet that a test may damage, and its folder."""
    shutil.copytree(tinyimagenet / "tiny-imagenet-200", tmp_path / "tiny-imagenet-200")
    return tmp_path, tmp_path / "tiny-imagenet-200"


def refusal(root, *more):
    with pytest.raises(UserError) as error:
        read(root, *more)
    assert "\n" not in str(error.value)
    return str(error.value)


def assert_same(data, other):
    for mine, theirs in ((data.train, other.train), (data.test, other.test)):
        assert np.array_equal(mine.labels, theirs.labels)
    assert np.array_equal(data.test.images, other.test.images)
    assert data.train.images.shape == other.train.images.shape
    assert data.names == other.names
