"""The published augmentation of training images, a batch at a time, with separate draws for each image.

The published code ran torchvision's transforms on PIL images: ColorJitter(brightness=63/255, contrast=0.8),
RandomHorizontalFlip, RandomCrop(padding=4). The functions here give the same 8-bit values.
"""

import torch
from torch import Tensor

BRIGHTNESS = 63 / 255
CONTRAST = 0.8
PADDING = 4


def _blend(base: Tensor | float, images: Tensor, factor: Tensor) -> Tensor:
    """base + factor (images - base) as 8-bit values: clamped to 0..255, fraction dropped."""
    return (base + factor.view(-1, 1, 1, 1) * (images - base)).clamp_(0, 255).floor_()


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Images [B, 3, H, W] holding 0..255 as floats, blended with black; factor [B]."""
    return _blend(0.0, images, factor)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Images [B, 3, H, W] holding 0..255 as floats, blended with their mean grey; factor [B].

    Grey is the ITU-R 601 luma in PIL's 16-bit fixed-point arithmetic, its mean rounded to a whole level.
    """
    red, green, blue = images.to(torch.int32).unbind(1)
    grey = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
    mean = (grey.to(images.dtype).mean((1, 2)) + 0.5).floor_()
    return _blend(mean.view(-1, 1, 1, 1), images, factor)


def flip_and_crop(images: Tensor, flip: Tensor, top: Tensor, left: Tensor) -> Tensor:
    """Mirror images if ``flip`` [B], pad by 4 zeros on every side, crop H x W at (top, left) in 0..8."""
    batch, _, height, width = images.shape
    device = images.device
    rows = top.view(-1, 1) + torch.arange(height, device=device) - PADDING
    columns = left.view(-1, 1) + torch.arange(width, device=device) - PADDING
    inside = ((rows >= 0) & (rows < height)).unsqueeze(2) & ((columns >= 0) & (columns < width)).unsqueeze(1)
    columns = torch.where(flip.view(-1, 1), width - 1 - columns, columns)
    place = rows.clamp(0, height - 1).unsqueeze(2) * width + columns.clamp(0, width - 1).unsqueeze(1)
    place = place.view(batch, 1, -1).expand(-1, images.shape[1], -1)
    return images.flatten(2).gather(2, place).view_as(images) * inside.unsqueeze(1)


def crop_and_flip(images: Tensor, top: Tensor, left: Tensor, flip: Tensor) -> Tensor:
    """Like ``flip_and_crop``, but cropped first and then mirrored."""
    cropped = flip_and_crop(images, torch.zeros_like(flip), top, left)
    return torch.where(flip.view(-1, 1, 1, 1), cropped.flip(3), cropped)


def shift_and_flip(images: Tensor, random: torch.Generator) -> Tensor:
    """Normalised images [B, 3, H, W], padded by 4 zeros on every side, cropped and mirrored at random
    (docs/successors.md, "Data")."""
    batch, device = len(images), images.device
    top, left = (torch.randint(2 * PADDING + 1, (batch,), generator=random, device=device) for _ in range(2))
    flip = torch.randint(2, (batch,), generator=random, device=device).bool()
    return crop_and_flip(images, top, left, flip)


def augment(images: Tensor, random: torch.Generator) -> Tensor:
    """uint8 images [B, 3, H, W], augmented, as floats holding 0..255 (docs/specification.md, "Protocol")."""
    batch, device = len(images), images.device

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(batch, generator=random, device=device) * (high - low) + low

    def whole(high: int) -> Tensor:
        return torch.randint(high, (batch,), generator=random, device=device)

    brightness = uniform(1 - BRIGHTNESS, 1 + BRIGHTNESS)
    contrast = uniform(1 - CONTRAST, 1 + CONTRAST)
    brightness_first = whole(2).bool()
    # Brightness comes before or after contrast; a factor of 1 leaves an image as it is.
    one = torch.ones_like(brightness)
    images = images.float()
    images = adjust_brightness(images, torch.where(brightness_first, brightness, one))
    images = adjust_contrast(images, contrast)
    images = adjust_brightness(images, torch.where(brightness_first, one, brightness))
    return flip_and_crop(images, whole(2).bool(), whole(2 * PADDING + 1), whole(2 * PADDING + 1))
