"""Compared image by image with torchvision's transforms of PIL images, which the published code ran."""

import utils.torchvision_cpu  # noqa: F401  (before torchvision)

import numpy as np
import torch
from PIL import Image
from scipy.stats import kstest
from torchvision.transforms import functional as vision

from dataloaders import augmentation
from dataloaders.augmentation import augment

DRAWS = 8000


def test_the_augmentation_is_torchvisions_with_the_parameters_drawn_to_the_bit(monkeypatch):
    images = torch.from_numpy(np.random.RandomState(0).randint(0, 256, (400, 3, 32, 32)).astype(np.uint8))
    drawn = []
    for name in ("adjust_brightness", "adjust_contrast", "flip_and_crop"):
        function = getattr(augmentation, name)
        monkeypatch.setattr(
            augmentation, name, lambda images, *draw, f=function: drawn.append(draw) or f(images, *draw))
    mine = augment(images, torch.Generator().manual_seed(0))
    (before,), (contrast,), (after,), (flip, top, left) = drawn
    for place, image in enumerate(images):
        image = Image.fromarray(image.permute(1, 2, 0).numpy())
        image = vision.adjust_brightness(image, before[place].item())
        image = vision.adjust_contrast(image, contrast[place].item())
        image = vision.adjust_brightness(image, after[place].item())
        image = vision.hflip(image) if flip[place] else image
        image = vision.crop(vision.pad(image, 4), top[place].item(), left[place].item(), 32, 32)
        assert np.array_equal(mine[place].permute(1, 2, 0), image)


def draws(pattern):
    """Many augmentations of one image [3, 16, 16]."""
    image = torch.as_tensor(pattern).to(torch.uint8).expand(3, 16, 16)
    return augment(image.expand(DRAWS, 3, 16, 16), torch.Generator().manual_seed(1))


def test_brightness_and_contrast_are_uniform():
    centre = draws(torch.full((16, 16), 200))[:, 0, 8, 8]  # contrast leaves a constant image as it is
    low, high = 200 * (1 - 63 / 255), 200 * (1 + 63 / 255)
    assert low - 1 <= centre.min() < low + 1 and high - 2 < centre.max() <= high
    assert kstest(centre + 0.5, "uniform", (low, high - low)).statistic < 0.02
    board = torch.full((16, 16), 88)
    board[::2, ::2] = board[1::2, 1::2] = 168
    inside = draws(board)[:, 0, 4:12, 4:12].flatten(1)  # never the padding
    bright, dark = inside.amax(1) + 0.5, inside.amin(1) + 0.5
    contrast = (bright - dark) / (bright + dark) * 256 / 80  # whatever the brightness
    assert contrast.min() < 0.22 and contrast.max() > 1.78
    assert kstest(contrast, "uniform", (0.2, 1.6)).statistic < 0.02
