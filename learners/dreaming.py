"""Dreaming: images of the old classes out of the frozen teacher alone, through a small generator.

docs/specification.md, "Dreaming"; the paper's section 4. What DeepInversion, LwF-Synthetic and ABD share.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dataloaders.batches import Iterations
from dataloaders.tasks import Task
from learners.base import Learner, Losses, Stage
from models import Generator, ResNet
from utils.streams import Streams

if TYPE_CHECKING:
    from utils.settings import Settings


def class_balance(logits: Tensor) -> Tensor:
    """1 + sum_k p_k ln p_k / ln K, p the batch mean of softmax over K classes; 0 when all are equally frequent.

    0 ln 0 = 0, in the gradient too (the published code gives NaN there); one class alone is balanced.
    """
    if logits.shape[1] == 1:
        return logits.new_zeros(())
    p = F.softmax(logits, 1).mean(0)
    log_p = p.clamp(min=torch.finfo(p.dtype).tiny).log()
    return 1 + (p * log_p).sum() / math.log(logits.shape[1])


class BatchStatistics(torch.autograd.Function):
    """Mean [C] and biased variance [C] of x [B, C, H, W]: ``torch.var_mean``, which on a CPU takes ten times as long
    for channels_last, by one pass of the kernel of batch norm, and one pass for the gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, var = torch.batch_norm_update_stats(x, None, None, 0.0)
        ctx.save_for_backward(x, mean)
        return mean, var

    @staticmethod
    def backward(ctx: Any, d_mean: Tensor, d_var: Tensor) -> Tensor:
        x, mean = ctx.saved_tensors
        # d mean / dx = 1 / n, d var / dx = 2 (x - mean) / n
        slope = 2 * d_var
        count = x.numel() // x.shape[1]
        constant, slope = ((v / count).view(1, -1, 1, 1) for v in (d_mean - slope * mean, slope))
        return torch.addcmul(constant, x, slope)


def statistics_distance(x: Tensor, layer: nn.BatchNorm2d) -> Tensor:
    """Mean over channels of KL(N(running) || N(batch)) for the input x [B, C, H, W] of a batch-norm layer."""
    assert layer.running_mean is not None and layer.running_var is not None
    mean_b, var_b = BatchStatistics.apply(x.to(layer.running_mean.dtype))
    var_b, var_r = var_b + 1e-8, layer.running_var + 1e-8
    kl = (var_b / var_r).log() / 2 - (1 - (var_r + (layer.running_mean - mean_b) ** 2) / var_b) / 2
    return kl.mean()


@contextmanager
def statistics_distances(network: nn.Module) -> Iterator[list[Tensor]]:
    """While open, every batch-norm layer of ``network`` that runs appends its statistics_distance to the list."""
    distances: list[Tensor] = []
    hooks = [
        layer.register_forward_pre_hook(lambda layer, inputs: distances.append(statistics_distance(inputs[0], layer)))
        for layer in network.modules()
        if isinstance(layer, nn.BatchNorm2d)
    ]
    try:
        yield distances
    finally:
        for hook in hooks:
            hook.remove()


def smoothness(images: Tensor) -> Tensor:
    """MSE between images [B, 3, H, W] and themselves blurred by a 5 x 5 Gaussian, reflected at the border."""
    steps = (torch.arange(5, dtype=images.dtype, device=images.device) - 2) / 2
    row = torch.exp(-(steps**2))
    kernel = torch.outer(row, row) / row.sum() ** 2
    channels = images.shape[1]
    blurred = F.conv2d(F.pad(images, (2, 2, 2, 2), mode="reflect"), kernel.expand(channels, 1, 5, 5), groups=channels)
    return F.mse_loss(images, blurred)


class DreamingLearner(Learner):
    """A learner that replays dreamed images. Its tasks but the first begin with the stage "dream", which trains
    the generator against the teacher: the published order (dream at the end of every task but the last) with the
    accuracy of a task known before its dreams.

    Attributes:
        generator: lives on from task to task, as does its Adam.
    """

    generator_type = "generator"
    generator: Generator

    def __init__(self, settings: Settings, streams: Streams, model: ResNet, generator: Generator):
        super().__init__(settings, streams, model)
        self.generator = generator
        lr, self.statistics_weight, self.smoothness_weight, self.temperature, self.content_weight = settings.deep_inv_params
        self.dream_optimizer = self.adam(generator.parameters(), lr)

    def lasting_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"dream": self.dream_optimizer}

    def stages(self, task: Task) -> list[Stage]:
        stages = super().stages(task)
        if task.index > 0:
            iterations = Iterations(self.settings.power_iters)
            dream = Stage(
                "dream", iterations, self.dream_loss, self.generator, self.dream_optimizer, iterations.rounds,
                cost=1.8, unit="round", joins="generator", dreams=True)
            stages.insert(0, dream)
        return stages

    def noise(self, count: int) -> Tensor:
        """z ~ N(0, I), [count, 1000]."""
        random = self.streams.noise
        return torch.randn(count, self.generator.noise_size, generator=random, device=random.device)

    @torch.no_grad()
    def dream(self, count: int) -> Tensor:
        """x~: fresh images of the old classes, from the generator in evaluation mode."""
        return self.generator(self.noise(count))

    def dream_loss(self) -> Losses:
        """What the generator minimises: a fresh batch of images that the teacher finds familiar."""
        x = self.generator(self.noise(self.settings.batch_size))
        with statistics_distances(self.teacher) as distances:
            h = self.teacher(x)[:, : self.old]
        return {
            "content": self.content_weight * F.cross_entropy(h / self.temperature, h.argmax(1)),
            "balance": class_balance(h),
            "statistics": self.statistics_weight * torch.stack(distances).mean(),
            "smoothness": self.smoothness_weight * smoothness(x),
        }
