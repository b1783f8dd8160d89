"""Networks that learn no more: teachers and the generator that dreams for them."""

import copy
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from models.base import Classifier
from models.batch_norm import NORMS, OBSERVED
from models.folding import folded, plain
from models.heads import HeadPairs


def cast_once(network: nn.Module) -> None:
    """Cast, in place, the weights that autocast would cast in every step. Under autocast the outputs stay the
    same. A classifier's ``last`` is left out, because losses read it."""
    for name, layer in network.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)) and name.partition(".")[0] != "last":
            layer.to(torch.bfloat16)


class Frozen:
    """A frozen copy of a network, run without gradients. Not a module, so a learner's parameters and
    checkpoints don't include it.

    Args:
        shape: that of one input, see ``folded``.
        bf16: compute in bfloat16, as autocast does.
    """

    def __init__(self, network: nn.Module, shape: Sequence[int], bf16: bool = False):
        self.network: Any = folded(network, shape)
        self.bf16 = bf16
        if bf16:
            cast_once(self.network)

    @property
    def last(self) -> nn.Linear | HeadPairs:
        """The layer of a classifier on its features."""
        return self.network.last

    @torch.no_grad()
    def run(self, part: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16) if self.bf16 else nullcontext():
            return part(x)

    def __call__(self, x: Tensor) -> Tensor:
        """Images [B, 3, H, W] to logits [B, classes], or noise to images, in the input's precision."""
        return self.run(self.network, x).to(x.dtype)

    def features(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] to a classifier's features [B, D]."""
        return self.run(self.network.features, images)

    def outputs(self, features: Tensor) -> Tensor:
        """A classifier's features [B, D] to logits [B, classes], in the features' precision."""
        return self.run(self.network.last, features).to(features.dtype)

    def first_stage(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] to a classifier's maps after the first stage of blocks."""
        return self.run(self.network.first_stage, images)


class NormWithStatistics(torch.autograd.Function):
    """Return scale x + shift, which is a batch norm in evaluation mode, and mean and biased variance [C] of x
    [B, C, H, W]. The statistics take one pass of batch norm's kernel (``torch.var_mean`` takes ten times as
    long for channels_last on a CPU); backward is one expression for all three."""

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


class Observed:
    """Compute what a classifier computes now, with gradients for the images alone, and the statistics that
    its 2-d batch norms with running statistics see on the way, in the order in which they run.

    Args:
        bf16: for use under autocast to bfloat16, see cast_once.

    Attributes:
        last: the linear layer on the features.
        mean, var: [channels of all these batch norms] running statistics.
        share: [the same] weight of a channel in the mean over layers of the mean over their channels.
    """

    @torch.no_grad()
    def __init__(self, network: Classifier, bf16: bool = False):
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.last = self.network.last
        self.noted: list[tuple[_BatchNorm, Tensor, Tensor]] = []
        self.order: list[_BatchNorm] = []
        for layer in self.network.modules():
            if isinstance(layer, OBSERVED) and layer.running_mean is not None and not layer.training:
                own: Any = layer
                own.forward = partial(self.observe, layer, self.normalisation(layer))
        if bf16:
            cast_once(self.network)

    @staticmethod
    def normalisation(layer: _BatchNorm) -> Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]:
        """Return a function giving the layer's output and its input's mean and biased variance."""
        if type(layer) not in NORMS or not plain(layer):
            forward = layer.forward
            return lambda x: (forward(x), *torch.var_mean(x, (0, *range(2, x.dim())), correction=0)[::-1])
        assert layer.running_mean is not None and layer.running_var is not None
        scale = (layer.weight if layer.affine else 1) / (layer.running_var + layer.eps).sqrt()
        shift = (layer.bias if layer.affine else 0) - layer.running_mean * scale
        return lambda x: NormWithStatistics.apply(x, scale.view(1, -1, 1, 1), shift.view(1, -1, 1, 1))

    def observe(self, layer: _BatchNorm, normalise: Callable[[Tensor], Any], input: Tensor) -> Tensor:
        y, mean, var = normalise(input)
        self.noted.append((layer, mean, var))
        return y

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Images [B, 3, H, W] to (features [B, D], batch means, biased batch variances), the latter two like
        ``mean`` and ``var``."""
        self.noted.clear()
        features = self.network.features(images)
        layers, means, variances = zip(*self.noted)
        self.noted.clear()
        if self.order != [*layers]:  # in the first run, and in a network whose layers depend on its input
            self.order = [*layers]
            self.mean = torch.cat([layer.running_mean for layer in layers])
            self.var = torch.cat([layer.running_var for layer in layers])
            shares = [torch.full_like(layer.running_mean, 1 / (len(layers) * layer.num_features))
                      for layer in layers]
            self.share = torch.cat(shares)
        return features, torch.cat(means), torch.cat(variances)
