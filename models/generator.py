"""Generators that turn noise into dreamed images (docs/specification.md, "Dreaming")."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from models.batch_norm import BatchNorm2d

# name -> (side of the first feature map in pixels, channels after the linear layer and each block).
# Every block doubles the side. CIFAR_GEN_SMALL is CIFAR_GEN at half the width, for CPUs.
GENERATORS = {
    "CIFAR_GEN": (8, (128, 128, 64)),
    "CIFAR_GEN_SMALL": (8, (64, 64, 32)),
    "TINYIMNET_GEN": (8, (128, 128, 128, 64)),
    "IMNET_GEN": (7, (64, 64, 64, 64, 64, 64)),
}


def laid_out_as(weight: Tensor, x: Tensor) -> Tensor:
    """x [B, C, H, W] in the memory format of a convolution's weight."""
    last = weight.is_contiguous(memory_format=torch.channels_last)
    return x.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


class UpsampledConv2d(nn.Conv2d):
    """A 3 x 3 convolution, padding 1, of the input with every pixel repeated 2 x 2 (nearest upsampling).

    Each output sees only 2 x 2 different pixels of the input, so it is a transposed convolution with stride 2
    whose 4 x 4 kernel sums the weights that fall on the same pixel: 16 products for 4 outputs instead of 36.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs, 3, padding=1)

    def kernel(self) -> Tensor:
        """The kernel of the transposed convolution, [inputs, outputs, 4, 4]."""
        kernel = nn.functional.pad(self.weight, (1, 1, 1, 1))
        kernel = kernel[:, :, 1:] + kernel[:, :, :-1]
        kernel = kernel[..., 1:] + kernel[..., :-1]
        return kernel.flip(2, 3).transpose(0, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, 2 H, 2 W]."""
        return nn.functional.conv_transpose2d(x, self.kernel(), self.bias, stride=2, padding=1)

    @torch.no_grad()
    def as_transposed(self) -> nn.ConvTranspose2d:
        """The equivalent transposed convolution, its kernel precomputed."""
        layer = nn.ConvTranspose2d(self.in_channels, self.out_channels, 4, 2, 1).to(self.weight)
        layer.weight = nn.Parameter(laid_out_as(self.weight, self.kernel()), requires_grad=False)
        layer.bias = nn.Parameter(self.bias.clone(), requires_grad=False) if self.bias is not None else None
        return layer


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
        self.l1 = nn.Sequential(nn.Linear(self.noise_size, channels[0] * start * start))
        self.conv_blocks0 = nn.Sequential(BatchNorm2d(channels[0]))
        self.blocks = len(channels) - 1
        for number, (inputs, outputs) in enumerate(pairwise(channels), 1):
            layers = [
                UpsampledConv2d(inputs, outputs),
                BatchNorm2d(outputs, eps=0.8),
                nn.LeakyReLU(0.2, inplace=True),
            ]
            if number == self.blocks:
                layers += [nn.Conv2d(outputs, 3, 3, 1, 1), nn.Tanh(), BatchNorm2d(3, affine=False)]
            self.add_module(f"conv_blocks{number}", nn.Sequential(*layers))

    def forward(self, noise: Tensor) -> Tensor:
        x = self.l1(noise).unflatten(1, (-1, self.start, self.start))
        x = self.conv_blocks0(laid_out_as(next(self.get_submodule("conv_blocks1").parameters()), x))
        for number in range(1, self.blocks + 1):
            x = getattr(self, f"conv_blocks{number}")(x)
        return x
