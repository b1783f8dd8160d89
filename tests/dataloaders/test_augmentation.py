"""Image by image against torchvision's transforms of PIL images, which the published code ran."""

import utils.torchvision_cpu  # noqa: F401  (before torchvision)

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as vision

from dataloaders import augmentation
from dataloaders.augmentation import adjust_brightness, adjust_contrast, augment, crop_and_flip, flip_and_crop, shift_and_flip

DRAWS = 8000


def gradients(count, random):
    """Planes rising in random directions: smooth images, where an error of rounding shows in whole bands."""
    slope = random.uniform(-8, 8, (count, 3, 2, 1, 1))
    start = random.uniform(0, 255, (count, 3, 1, 1))
    row, column = np.mgrid[:32, :32]
    return np.clip(start + slope[:, :, 0] * row + slope[:, :, 1] * column, 0, 255).astype(np.uint8)


@pytest.fixture(params=["noise", "gradients"])
def images(request):
    random = np.random.RandomState(0)
    made = random.randint(0, 256, (400, 3, 32, 32)).astype(np.uint8) if request.param == "noise" else gradients(400, random)
    return torch.from_numpy(made)


def pil(image):
    return Image.fromarray(image.permute(1, 2, 0).to(torch.uint8).numpy())


def tensor(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def factors(low, high, count):
    """The ends, 1, and evenly between."""
    return torch.cat([torch.tensor([low, 1.0, high]), torch.linspace(low, high, count - 3)])


def test_brightness_is_torchvisions_to_the_bit(images):
    factor = factors(1 - 63 / 255, 1 + 63 / 255, len(images))
    mine = adjust_brightness(images.float(), factor)
    for image, by, got in zip(images, factor.tolist(), mine):
        assert torch.equal(got, tensor(vision.adjust_brightness(pil(image), by)))


def test_contrast_is_torchvisions_to_the_bit(images):
    factor = factors(0.2, 1.8, len(images))
    mine = adjust_contrast(images.float(), factor)
    for image, by, got in zip(images, factor.tolist(), mine):
        assert torch.equal(got, tensor(vision.adjust_contrast(pil(image), by)))


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
        monkeypatch.setattr(augmentation, name, lambda images, *draw, f=function: drawn.append(draw) or f(images, *draw))
    mine = augment(images, torch.Generator().manual_seed(0))
    (before,), (contrast,), (after,), (flip, top, left) = drawn
    for place, image in enumerate(map(pil, images)):
        image = vision.adjust_brightness(image, before[place].item())
        image = vision.adjust_contrast(image, contrast[place].item())
        image = vision.adjust_brightness(image, after[place].item())
        image = vision.hflip(image) if flip[place] else image
        assert torch.equal(mine[place], tensor(vision.crop(vision.pad(image, 4), top[place].item(), left[place].item(), 32, 32)))


# The distribution of each parameter, seen in the images alone


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


def test_brightness_comes_first_in_half_of_the_images():
    board = torch.zeros(16, 16)
    board[::2, ::2] = board[1::2, 1::2] = 255
    inside = draws(board)[:, 0, 4:12, 4:12].flatten(1)
    # Above 255 is cut before the contrast, so only contrast first can leave dark + bright far above 255:
    # in about 0.46 (brightness above 1.02) x 0.48 (contrast below 0.97) of those.
    late = (inside.amax(1) + inside.amin(1) > 260).float().mean() / (0.46 * 0.48)
    assert 0.42 < late < 0.58


def test_half_of_the_images_are_mirrored():
    rising = draws((60 + 8 * torch.arange(16)).expand(16, 16))
    mirrored = (rising[:, 0, 8, 4] > rising[:, 0, 8, 11]).float().mean()
    assert 0.48 < mirrored < 0.52


def test_every_offset_is_equally_frequent():
    inside = draws(torch.full((16, 16), 200))[:, 0] > 0
    rows, columns = inside.any(2), inside.any(1)
    top = 4 - (~rows[:, :8]).sum(1) + (~rows[:, 8:]).sum(1)
    left = 4 - (~columns[:, :8]).sum(1) + (~columns[:, 8:]).sum(1)
    count = torch.bincount(9 * top + left, minlength=81)
    assert len(count) == 81
    expected = DRAWS / 81
    assert ((count - expected) ** 2 / expected).sum() < 140  # chi-squared, 80 degrees of freedom: 1 in 30,000


def test_the_draws_are_independent_of_each_other():
    image = (60 + 8 * torch.arange(16)).expand(16, 16)
    made = draws(image)
    mirrored = (made[:, 0, 8, 4] > made[:, 0, 8, 11]).float()
    down = (made[:, 0, 0] == 0).all(1).float()  # cropped from above the image
    light = made[:, 0, 8, 7] + made[:, 0, 8, 8]  # the middle, the same in the mirror
    assert torch.corrcoef(torch.stack([mirrored, down, light])).triu(1).abs().max() < 0.05


# Streams


def test_each_image_of_a_batch_has_its_own_draw(images):
    made = augment(images[:1].expand(20, 3, 32, 32), torch.Generator().manual_seed(0))
    assert len(made.flatten(1).unique(dim=0)) == 20


def test_the_same_seed_gives_the_same_images_and_another_seed_others(images):
    first, again, other = (augment(images[:20], torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_images_given_stay_as_they_were(images):
    before = images.clone()
    augment(images, torch.Generator().manual_seed(0))
    assert torch.equal(images, before)


# R-DFCIL's: after normalising, pad and crop, then flip


def test_r_dfcils_crop_is_mirrored_after_it_is_cut_and_its_padding_is_zero():
    images = torch.randn(4, 3, 32, 32)
    top, left, flip = torch.tensor([0, 8, 4, 3]), torch.tensor([8, 0, 4, 5]), torch.tensor([False, True, True, False])
    padded = torch.nn.functional.pad(images, (4, 4, 4, 4))
    cropped = torch.stack([image[:, t : t + 32, x : x + 32] for image, t, x in zip(padded, top.tolist(), left.tolist())])
    expected = torch.where(flip.view(-1, 1, 1, 1), cropped.flip(3), cropped)
    assert torch.equal(crop_and_flip(images, top, left, flip), expected)


def test_r_dfcils_draws_reach_every_offset_and_both_sides():
    images = torch.arange(32 * 32.0).view(1, 1, 32, 32).repeat(2000, 3, 1, 1) + 1
    random = torch.Generator().manual_seed(0)
    seen = shift_and_flip(images, random)[:, 0, 16, :]
    assert len(torch.unique(seen, dim=0)) == 9 * 9 * 2
