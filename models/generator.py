"""Generators that turn noise into dreamed images (METHODS.md, "Dreaming")."""

from itertools import pairwise

import torch
from torch import Tensor, nn

# name -> (side of the first feature map in pixels, channels after the linear layer and each block).
# Every block doubles the side. CIFAR_GEN_SMALL is CIFAR_GEN at half the width, for CPUs.
GENERATORS = {
    "CIFAR_GEN": (8, (128, 128, 64)),
    "CIFAR_GEN_SMALL": (8, (64, 64, 32)),
    "TINYIMNET_GEN": (8, (128, 128, 128, 64)),
    "IMNET_GEN": (7, (64, 64, 64, 64, 64, 64)),
}


class Generator(nn.Module):
    """Noise [B, 1000] to images [B, 3, S, S], in the normalised space that the classifier sees.

    Args:
        start: side of the first feature map in pixels; S = start x 2^blocks.
        channels: channels of the first feature map and after each block.
    """

    noise_size = 1000

    def __init__(self, start: int, channels: tuple[int, ...]):
        super().__init__()
        self.start = start
        self.image_size = start * 2 ** (len(channels) - 1)
        self.l1 = nn.Sequential(nn.Linear(self.noise_size, channels[0] * start * start))
        self.conv_blocks0 = nn.Sequential(nn.BatchNorm2d(channels[0]))
        self.blocks = len(channels) - 1
        for number, (inputs, outputs) in enumerate(pairwise(channels), 1):
            layers = [
                nn.Conv2d(inputs, outputs, 3, 1, 1),
                nn.BatchNorm2d(outputs, eps=0.8),
                nn.LeakyReLU(0.2),
            ]
            if number == self.blocks:
                layers += [nn.Conv2d(outputs, 3, 3, 1, 1), nn.Tanh(), nn.BatchNorm2d(3, affine=False)]
            self.add_module(f"conv_blocks{number}", nn.Sequential(*layers))

    def forward(self, noise: Tensor) -> Tensor:
        x = self.l1(noise).unflatten(1, (-1, self.start, self.start))
        x = self.conv_blocks0(x.contiguous(memory_format=torch.channels_last))
        for number in range(1, self.blocks + 1):
            x = nn.functional.interpolate(x, scale_factor=2, mode="nearest")
            x = getattr(self, f"conv_blocks{number}")(x)
        return x
