import shutil

import numpy as np
import pytest

from dataloaders.sets import imagenet
from dataloaders.sets import tinyimagenet as tinyimagenet_module
from utils.errors import UserError


@pytest.fixture
def few_are_official(monkeypatch):
    """The fixtures' 3 training and 2 test images per class stand for the official numbers."""
    for module in (imagenet, tinyimagenet_module):
        monkeypatch.setattr(module, "OFFICIAL", {"train": (3, 3), "val": (2, 2)})


@pytest.fixture(scope="module")
def tiny_images(tinyimagenet):
    return tinyimagenet_module.read(tinyimagenet, True)


@pytest.fixture
def tiny_copy(tinyimagenet, tmp_path):
    """The root of a TinyImageNet that a test may damage, and its folder."""
    shutil.copytree(tinyimagenet / "tiny-imagenet-200", tmp_path / "tiny-imagenet-200")
    return tmp_path, tmp_path / "tiny-imagenet-200"


def refused(read, *arguments):
    with pytest.raises(UserError) as error:
        read(*arguments)
    assert str(error.value).startswith(("--dataroot", "/")) and "\n" not in str(error.value)
    return str(error.value)


def tested(data):
    """Labels and images of the test set in any order."""
    return sorted(zip(data.test.labels.tolist(), (image.tobytes() for image in data.test.images)))


def same(data, other):
    return np.array_equal(data.train.images, other.train.images) and tested(data) == tested(other)
