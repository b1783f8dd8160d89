"""Dreaming: images of the old classes out of the frozen teacher alone, through a small generator.

docs/specification.md, "Dreaming"; the paper's section 4. What every learner that dreams shares.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from dataloaders.batches import Iterations
from dataloaders.tasks import Task
from learners.base import Learner, Losses, Stage
from models import Classifier, Frozen, Generator, Observed, image_generator
from utils.errors import UserError
from utils.settings import Settings
from utils.streams import Streams


def class_balance(logits: Tensor, added: float = 0.0) -> Tensor:
    """1 + sum_k p_k ln (p_k + added) / ln K, p the batch mean of softmax over K classes; 0 when all are equally frequent.

    0 ln 0 = 0, in the gradient too (the published code gives NaN there); one class alone is balanced.
    """
    if logits.shape[1] == 1:
        return logits.new_zeros(())
    p = F.softmax(logits, 1).mean(0)
    log_p = (p + added).clamp(min=torch.finfo(p.dtype).tiny).log()
    return 1 + (p * log_p).sum() / math.log(logits.shape[1])


def statistics_distance(mean: Tensor, var: Tensor, teacher: Observed) -> Tensor:
    """Mean over the teacher's batch-norm layers of the mean over their channels of KL(N(running) || N(batch)).

    Args:
        mean, var: [channels of all layers] of a batch, as ``teacher`` gives them.
    """
    var_b, var_r = var + 1e-8, teacher.var + 1e-8
    kl = (var_b / var_r).log() / 2 - (1 - (var_r + (teacher.mean - mean) ** 2) / var_b) / 2
    return kl @ teacher.share


def mirrored(images: Tensor, width: int) -> Tensor:
    """Images [B, C, H, W] reflected at the border, ``width`` pixels more on every side."""
    if not torch.are_deterministic_algorithms_enabled():
        return F.pad(images, (width,) * 4, mode="reflect")
    for dim in (2, 3):  # on a GPU torch's own adds up gradients in any order
        size, inner = images.shape[dim], images.flip(dim)
        images = torch.cat([inner.narrow(dim, size - 1 - width, width), images, inner.narrow(dim, 1, width)], dim)
    return images


def smoothness(images: Tensor) -> Tensor:
    """MSE between images [B, 3, H, W] and themselves blurred by a 5 x 5 Gaussian, reflected at the border."""
    steps = (torch.arange(5, dtype=images.dtype, device=images.device) - 2) / 2
    row = torch.exp(-(steps**2))
    kernel = torch.outer(row, row) / row.sum() ** 2
    channels = images.shape[1]
    blurred = F.conv2d(mirrored(images, 2), kernel.expand(channels, 1, 5, 5), groups=channels)
    return F.mse_loss(images, blurred)


class DreamingLearner(Learner):
    """A learner that replays dreamed images. Its tasks but the first begin with the stage "dream", which trains
    the generator against the teacher: the published order (dream at the end of every task but the last) with the
    accuracy of a task known before its dreams.

    Attributes:
        generator: lives on from task to task, as does its Adam, where the learner ``keeps_generator``; otherwise every
            task makes new ones of both.
        frozen_generator: what ``dream`` calls in its place: it computes the same, faster; made at the first dream after training.
        observed_teacher: the teacher and the statistics that its batch-norm layers see.
        balance_weight: of the class balance, 1 in every published loss. balance_added: to probabilities in its logarithm.
    """

    generator_type = "generator"
    generator: Generator
    frozen_generator: Frozen | None = None
    observed_teacher: Observed
    keeps_generator = True
    balance_weight = 1.0
    balance_added = 0.0

    @classmethod
    def check(cls, settings: Settings) -> None:
        super().check(settings)
        if len(settings.deep_inv_params) == 1:
            raise UserError(
                f"--deep_inv_params: {settings.learner_name} dreams and needs its five values; the published ones are 1e-3 5e1 1e-3 1e3 1")
        if settings.deep_inv_params[3] == 0:
            raise UserError("--deep_inv_params: the content temperature, the fourth value, must be above 0")

    def __init__(self, settings: Settings, streams: Streams, model: Classifier, generator: Generator):
        super().__init__(settings, streams, model)
        self.generator = generator
        self.dream_lr, self.statistics_weight, self.smoothness_weight, self.temperature, self.content_weight = settings.deep_inv_params
        if self.keeps_generator:
            self.dream_optimizer = self.generator_optimizer()

    def generator_optimizer(self) -> torch.optim.Optimizer:
        """A new one."""
        return self.adam(self.generator.parameters(), self.dream_lr)

    def begin_task(self, task: Task) -> None:
        super().begin_task(task)
        if task.index > 0 and not self.keeps_generator:
            with self.streams.weights("generator"):
                fresh = image_generator(self.settings.gen_model_type, self.settings.gen_model_name)
            self.generator.load_state_dict(fresh.state_dict())

    def start_task(self, task: Task) -> None:
        super().start_task(task)
        self.observed_teacher = Observed(self.teacher, self.bf16)
        self.frozen_generator = None

    def lasting_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"dream": self.dream_optimizer} if self.keeps_generator else {}

    def stages(self, task: Task) -> list[Stage]:
        stages = super().stages(task)
        if task.index > 0:
            iterations = Iterations(self.settings.power_iters)
            optimizer = self.dream_optimizer if self.keeps_generator else self.generator_optimizer()
            dream = Stage(
                "dream", iterations, self.dream_loss, self.generator, optimizer, iterations.rounds,
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
        if self.frozen_generator is None:
            self.frozen_generator = Frozen(self.generator, self.bf16)
        return self.frozen_generator(self.noise(count))

    def dream_loss(self) -> Losses:
        """What the generator minimises: a fresh batch of images that the teacher finds familiar."""
        self.frozen_generator = None  # as it is now it will not stay
        x = self.generator(self.noise(self.settings.batch_size))
        f, mean, var = self.observed_teacher(x)
        h = self.observed_teacher.last(f)[:, : self.old]
        return {
            "content": self.content_weight * F.cross_entropy(h / self.temperature, h.argmax(1)),
            "balance": self.balance_weight * class_balance(h, self.balance_added),
            "statistics": self.statistics_weight * statistics_distance(mean, var, self.observed_teacher),
            "smoothness": self.smoothness_weight * smoothness(x),
            **self.dream_terms(f, h),
        }

    def dream_terms(self, f: Tensor, h: Tensor) -> Losses:
        """What a learner adds to the generator's loss: of the teacher's features f and logits h of the dreams."""
        return {}
