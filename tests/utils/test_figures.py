import numpy as np
import pytest
import torch
from PIL import Image

from utils.figures import ROWS, draw_dreams

NAMES = tuple(f"class {k}" for k in range(30))


@pytest.fixture
def draw(tmp_path):
    def picture(images, labels, confidence=None):
        path = tmp_path / "figures" / "dreams.png"
        confidence = torch.linspace(0.1, 0.9, len(labels)) if confidence is None else confidence
        draw_dreams(path, images, labels, confidence, NAMES, "a title")
        return np.asarray(Image.open(path).convert("RGB"))

    return picture


def test_a_picture_shows_the_dreams(draw):
    red = torch.zeros(12, 3, 32, 32)
    red[:, 0] = 1
    picture = draw(red, torch.arange(12) % 3)
    assert (picture == [255, 0, 0]).all(2).mean() > 0.2


def test_the_surest_dreams_are_shown(draw):
    images = torch.zeros(30, 3, 32, 32)
    images[:10, 0] = 1  # the ten least sure ones are red
    assert not (draw(images, torch.zeros(30, dtype=torch.long)) == [255, 0, 0]).all(2).any()


def test_a_class_that_nobody_dreams_has_no_row(draw):
    images = torch.rand(10, 3, 32, 32)
    one, two = draw(images, torch.full((10,), 7)), draw(images, torch.arange(10) % 2)
    assert one.shape[0] < two.shape[0]


def test_many_classes_are_cut_to_some_rows(draw):
    images = torch.rand(60, 3, 32, 32)
    all_of_them, first = draw(images, torch.arange(60) % 30), draw(images, torch.arange(60) % ROWS)
    assert abs(all_of_them.shape[0] - first.shape[0]) < 20


def test_no_picture_stays_open(draw):
    from matplotlib import pyplot

    draw(torch.rand(4, 3, 32, 32), torch.zeros(4, dtype=torch.long))
    assert pyplot.get_fignums() == []
