"""Compared image by image with torchvision's transforms of PIL images, which the published code ran."""

import utils.torchvision_cpu  # noqa: F401  (before torchvision)

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as vision

from dataloaders import augmentation
from dataloaders.augmentation import (
    adjust_brightness,
    adjust_contrast,
    augment,
    crop_and_flip,
    flip_and_crop,
    shift_and_flip,
)

DRAWS = 8000


@pytest.fixture
def images():
    return torch.from_numpy(np.random.RandomState(0).randint(0, 256, (400, 3, 32, 32)).astype(np.uint8))


def pil(image):
    return Image.fromarray(image.permute(1, 2, 0).to(torch.uint8).numpy())


def tensor(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def factors(low, high, count):
    """The ends, 1, and evenly between."""
    return torch.cat([torch.tensor([low, 1.0, high]), torch.linspace(low, high, count - 3)])


@pytest.mark.parametrize(("ours", "theirs", "low", "high"), [
    (adjust_brightness, vision.adjust_brightness, 1 - 63 / 255, 1 + 63 / 255),
    (adjust_contrast, vision.adjust_contrast, 0.2, 1.8)])
def test_brightness_and_contrast_are_torchvisions_to_the_bit(images, ours, theirs, low, high):
    factor = factors(low, high, len(images))
    for image, by, got in zip(images, factor.tolist(), ours(images.float(), factor)):
        assert torch.equal(got, tensor(theirs(pil(image), by)))


@pytest.mark.parametrize("flip", [False, True])
def test_flip_and_crop_are_torchvisions_at_every_offset(images, flip):
    top, left = torch.meshgrid(torch.arange(9), torch.arange(9), indexing="ij")
    images = images[:81]
    mine = flip_and_crop(images.float(), torch.full((81,), flip), top.flatten(), left.flatten())
    for image, y, x, got in zip(images, top.flatten().tolist(), left.flatten().tolist(), mine):
        image = vision.hflip(pil(image)) if flip else pil(image)
        assert torch.equal(got, tensor(vision.crop(vision.pad(image, 4), y, x, 32, 32)))


def test_the_whole_augmentation_is_torchvisions_with_the_parameters_drawn(images, monkeypatch):
    drawn = []
    for name in ("adjust_brightness", "adjust_contrast", "flip_and_crop"):
        function = getattr(augmentation, name)
        monkeypatch.setattr(
            augmentation, name, lambda images, *draw, f=function: drawn.append(draw) or f(images, *draw))
    mine = augment(images, torch.Generator().manual_seed(0))
    (before,), (contrast,), (after,), (flip, top, left) = drawn
    for place, image in enumerate(map(pil, images)):
        image = vision.adjust_brightness(image, before[place].item())
        image = vision.adjust_contrast(image, contrast[place].item())
        image = vision.adjust_brightness(image, after[place].item())
        image = vision.hflip(image) if flip[place] else image
        expected = vision.crop(vision.pad(image, 4), top[place].item(), left[place].item(), 32, 32)
        assert torch.equal(mine[place], tensor(expected))


# The distribution of each parameter, as seen in the images


def draws(pattern):
    """Many augmentations of one image [3, 16, 16]."""
    image = torch.as_tensor(pattern).to(torch.uint8).expand(3, 16, 16)
    return augment(image.expand(DRAWS, 3, 16, 16), torch.Generator().manual_seed(1))


def distance_from_uniform(values, low, high):
    """The Kolmogorov-Smirnov distance."""
    place = ((values.sort().values - low) / (high - low)).clamp(0, 1)
    return (place - torch.linspace(0, 1, len(values))).abs().max()


def test_brightness_is_uniform():
    centre = draws(torch.full((16, 16), 200))[:, 0, 8, 8]  # contrast leaves a constant image as it is
    low, high = 200 * (1 - 63 / 255), 200 * (1 + 63 / 255)
    assert low - 1 <= centre.min() < low + 1
    assert high - 2 < centre.max() <= high
    assert distance_from_uniform(centre + 0.5, low, high) < 0.02


def test_contrast_is_uniform():
    board = torch.full((16, 16), 88)
    board[::2, ::2] = board[1::2, 1::2] = 168
    inside = draws(board)[:, 0, 4:12, 4:12].flatten(1)  # never the padding
    bright, dark = inside.amax(1) + 0.5, inside.amin(1) + 0.5
    contrast = (bright - dark) / (bright + dark) * 256 / 80  # whatever the brightness
    assert contrast.min() < 0.22
    assert contrast.max() > 1.78
    assert distance_from_uniform(contrast, 0.2, 1.8) < 0.02


def test_every_offset_is_equally_frequent():
    inside = draws(torch.full((16, 16), 200))[:, 0] > 0
    rows, columns = inside.any(2), inside.any(1)
    top = 4 - (~rows[:, :8]).sum(1) + (~rows[:, 8:]).sum(1)
    left = 4 - (~columns[:, :8]).sum(1) + (~columns[:, 8:]).sum(1)
    count = torch.bincount(9 * top + left, minlength=81)
    assert len(count) == 81
    expected = DRAWS / 81
    assert ((count - expected) ** 2 / expected).sum() < 140  # chi-squared, 80 degrees of freedom: 1 in 30,000


# R-DFCIL's transforms: normalise, pad, crop, then flip


def test_r_dfcils_crop_is_mirrored_after_it_is_cut_and_its_padding_is_zero():
    images = torch.randn(4, 3, 32, 32)
    top, left = torch.tensor([0, 8, 4, 3]), torch.tensor([8, 0, 4, 5])
    flip = torch.tensor([False, True, True, False])
    padded = torch.nn.functional.pad(images, (4, 4, 4, 4))
    offsets = zip(padded, top.tolist(), left.tolist())
    cropped = torch.stack([image[:, y : y + 32, x : x + 32] for image, y, x in offsets])
    expected = torch.where(flip.view(-1, 1, 1, 1), cropped.flip(3), cropped)
    assert torch.equal(crop_and_flip(images, top, left, flip), expected)


def test_r_dfcils_draws_reach_every_offset_and_both_sides():
    images = torch.arange(32 * 32.0).view(1, 1, 32, 32).repeat(2000, 3, 1, 1) + 1
    random = torch.Generator().manual_seed(0)
    seen = shift_and_flip(images, random)[:, 0, 16, :]
    assert len(torch.unique(seen, dim=0)) == 9 * 9 * 2
