"""Networks that learn no more: teachers, the generator that dreams for them, and the model while it is tested."""

import copy
from collections.abc import Callable
from contextlib import nullcontext
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.generator import UpsampledConv2d
from models.heads import HeadPairs
from models.resnet import Classifier

Network = TypeVar("Network", bound=nn.Module)


def folded(network: Network) -> Network:
    """A copy in evaluation mode, each batch norm that follows a convolution folded into it: the same outputs from
    fewer operations. In every module, layers must run in the order in which they were added."""
    network = copy.deepcopy(network).eval().requires_grad_(False)
    for module in list(network.modules()):
        for (before, conv), (name, norm) in pairwise(list(module.named_children())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, before, fuse_conv_bn_eval(conv, norm).requires_grad_(False))
                setattr(module, name, nn.Identity())
    for module in list(network.modules()):
        for name, layer in module.named_children():
            if isinstance(layer, UpsampledConv2d):
                setattr(module, name, layer.as_transposed())
    return network


def cast_once(network: Network) -> Network:
    """The layers that autocast would run in bfloat16, casting their weights in every step, with weights in bfloat16; but for a
    classifier's ``last``, which losses read. Under autocast the outputs are the same. In place."""
    for name, layer in network.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)) and name.partition(".")[0] != "last":
            layer.to(torch.bfloat16)
    return network


class Frozen:
    """What a network computes now, whatever it learns later, without a gradient graph. Not a module: no part of a
    learner's parameters or checkpoint.

    Args:
        bf16: in bfloat16, as autocast does.
    """

    def __init__(self, network: nn.Module, bf16: bool = False):
        one = folded(network)
        self.network: Any = cast_once(one) if bf16 else one
        self.bf16 = bf16

    @property
    def last(self) -> nn.Linear | HeadPairs:
        """The layer of a classifier on its features."""
        return self.network.last

    @torch.no_grad()
    def run(self, part: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16) if self.bf16 else nullcontext():
            return part(x)

    def __call__(self, x: Tensor) -> Tensor:
        """Images [B, 3, H, W] to logits [B, classes], noise to images: of the input's precision."""
        return self.run(self.network, x).to(x.dtype)

    def features(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] to a classifier's features [B, D]."""
        return self.run(self.network.features, images)

    def first_stage(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] to a classifier's maps after the first stage of blocks."""
        return self.run(self.network.first_stage, images)


class NormWithStatistics(torch.autograd.Function):
    """scale x + shift, a batch norm in evaluation mode, and mean [C] and biased variance [C] of x [B, C, H, W].

    Statistics take one pass of batch norm's own kernel (``torch.var_mean`` takes ten times as long for channels_last on a
    CPU). Backward is one expression for all three: batch norm's own copies layouts on a GPU.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """scale, shift: [1, C, 1, 1]."""
        mean, var = torch.batch_norm_update_stats(x.to(scale.dtype), None, None, 0.0)
        ctx.save_for_backward(x, scale, mean)
        return torch.addcmul(shift, x, scale).to(x.dtype), mean, var

    @staticmethod
    def backward(ctx: Any, d_y: Tensor, d_mean: Tensor, d_var: Tensor) -> tuple[Tensor, None, None]:
        x, scale, mean = ctx.saved_tensors
        count = x.numel() // x.shape[1]
        # d mean / dx = 1 / count, d var / dx = 2 (x - mean) / count
        slope = d_var * (2 / count)
        constant = torch.addcmul(d_mean / count, slope, mean, value=-1)
        constant, slope = constant.view(1, -1, 1, 1), slope.view(1, -1, 1, 1)
        return torch.addcmul(torch.addcmul(constant, x, slope), d_y, scale).to(x.dtype), None, None


class ObservedNorm(nn.Module):
    """A batch norm in evaluation mode that notes the statistics of its input under its number."""

    def __init__(self, layer: nn.BatchNorm2d, number: int, noted: dict[int, tuple[Tensor, Tensor]]):
        super().__init__()
        assert layer.running_mean is not None and layer.running_var is not None
        scale = layer.weight / (layer.running_var + layer.eps).sqrt()
        self.scale = scale.view(1, -1, 1, 1)
        self.shift = (layer.bias - layer.running_mean * scale).view(1, -1, 1, 1)
        self.number, self.noted = number, noted

    def forward(self, x: Tensor) -> Tensor:
        y, *self.noted[self.number] = NormWithStatistics.apply(x, self.scale, self.shift)
        return y


class Observed:
    """What a classifier computes now, with gradients for the images alone, and what its batch-norm layers see on the way.
    Not a module, as Frozen.

    Args:
        bf16: for use under autocast to bfloat16, see cast_once.

    Attributes:
        last: the linear layer on the features.
        mean, var: [channels of all batch-norm layers] running statistics of their inputs.
        share: [the same] of a channel in the mean over layers of the mean over their channels.
    """

    @torch.no_grad()
    def __init__(self, network: Classifier, bf16: bool = False):
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.last = self.network.last
        self.noted: dict[int, tuple[Tensor, Tensor]] = {}
        norms: list[Any] = []
        for module in list(self.network.modules()):
            for name, layer in list(module.named_children()):
                if isinstance(layer, nn.BatchNorm2d):
                    setattr(module, name, ObservedNorm(layer, len(norms), self.noted))
                    norms.append(layer)
        self.mean = torch.cat([layer.running_mean for layer in norms])
        self.var = torch.cat([layer.running_var for layer in norms])
        self.share = torch.cat([torch.full_like(layer.running_mean, 1 / (len(norms) * layer.num_features)) for layer in norms])
        if bf16:
            cast_once(self.network)

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Images [B, 3, H, W] to (features [B, D], batch means, biased batch variances), the latter as ``mean`` and ``var``."""
        features = self.network.features(images)
        mean, var = (torch.cat(parts) for parts in zip(*(self.noted[number] for number in range(len(self.noted)))))
        self.noted.clear()
        return features, mean, var
