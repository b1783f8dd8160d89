"""Dreaming: a small generator makes images of the old classes from the frozen teacher alone.

    L = w_c CE(h / T, argmax h) + balance(h) + w_s KL of batch-norm statistics + w_p |x - blur(x)|^2

with h = t(x)[old]. docs/specification.md, "Dreaming"; the paper's section 4.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from dataloaders.batches import Iterations
from dataloaders.tasks import Task
from learners.base import Learner, Losses, Stage
from learners.stage import adam
from models import Classifier, Frozen, Generator, Observed, image_generator
from models.batch_norm import OBSERVED
from utils.errors import UserError
from utils.settings import Settings
from utils.streams import Streams


def class_balance(logits: Tensor, added: float = 0.0) -> Tensor:
    """Return 1 + sum_k p_k ln (p_k + added) / ln K, p the batch mean of softmax(logits) over K classes. It is
    0 if all are equally frequent. 0 ln 0 = 0, in the gradient too, where the published code gives NaN."""
    if logits.shape[1] == 1:
        return logits.new_zeros(())
    p = F.softmax(logits, 1).mean(0)
    log_p = (p + added).clamp(min=torch.finfo(p.dtype).tiny).log()
    return 1 + (p * log_p).sum() / math.log(logits.shape[1])


def statistics_distance(mean: Tensor, var: Tensor, teacher: Observed) -> Tensor:
    """Return the mean over the teacher's batch norms of the mean over their channels of KL(N(running) ||
    N(batch)), with mean and var [channels of all layers] of a batch as ``teacher`` gives them."""
    var_b, var_r = var + 1e-8, teacher.var + 1e-8
    kl = (var_b / var_r).log() / 2 - (1 - (var_r + (teacher.mean - mean) ** 2) / var_b) / 2
    return kl @ teacher.share


def mirrored(images: Tensor, width: int) -> Tensor:
    """Return images [B, C, H, W] reflected at the border, ``width`` pixels wider on every side."""
    if not torch.are_deterministic_algorithms_enabled():
        return F.pad(images, (width,) * 4, mode="reflect")
    for dim in (2, 3):  # on a GPU torch's own adds up gradients in any order
        size, inner = images.shape[dim], images.flip(dim)
        before, after = inner.narrow(dim, size - 1 - width, width), inner.narrow(dim, 1, width)
        images = torch.cat([before, images, after], dim)
    return images


def smoothness(images: Tensor) -> Tensor:
    """Return the MSE between images [B, 3, H, W] and themselves blurred by a 5 x 5 Gaussian."""
    steps = (torch.arange(5, dtype=images.dtype, device=images.device) - 2) / 2
    row = torch.exp(-(steps**2))
    kernel = torch.outer(row, row) / row.sum() ** 2
    channels = images.shape[1]
    blurred = F.conv2d(mirrored(images, 2), kernel.expand(channels, 1, 5, 5), groups=channels)
    return F.mse_loss(images, blurred)


class DreamingLearner(Learner):
    """Base class. From the second task on, a task begins with the stage "dream", which trains the generator
    against the teacher. The published code dreams at the end of each task but the last; the order is the
    same, and here a task's accuracy is known before its dreams.

    Attributes:
        generator: kept from task to task with its Adam if ``keeps_generator``; else both are new each time.
        frozen_generator: computes what the generator does, faster; made by the first dream.
        observed_teacher: the teacher and the statistics that its batch norms see.
    """

    generator_type = "generator"
    generator: Generator
    frozen_generator: Frozen | None = None
    observed_teacher: Observed
    keeps_generator = True
    balance_weight = 1.0  # as in every published loss
    balance_added = 0.0  # to probabilities, in the logarithm of the class balance

    @classmethod
    def check(cls, settings: Settings) -> None:
        super().check(settings)
        if len(settings.deep_inv_params) != 5:
            raise UserError(
                f"--deep_inv_params: {settings.learner_name} dreams and needs its five values; "
                "the published ones are 1e-3 5e1 1e-3 1e3 1")
        if settings.deep_inv_params[3] == 0:
            raise UserError("--deep_inv_params: the content temperature, the fourth value, must be above 0")
        with torch.device("meta"):
            layers = [*cls.new_model(settings).modules()]
        if not any(isinstance(layer, OBSERVED) for layer in layers):
            raise UserError(
                f"--model_name {settings.model_name}: {settings.learner_name} dreams from the statistics of "
                "batch norms, and this network has no BatchNorm2d; use another network or learner")

    def __init__(self, settings: Settings, streams: Streams, model: Classifier, generator: Generator):
        super().__init__(settings, streams, model)
        self.generator = generator
        self.dream_lr, self.statistics_weight, self.smoothness_weight = settings.deep_inv_params[:3]
        self.temperature, self.content_weight = settings.deep_inv_params[3:]
        if self.keeps_generator:
            self.dream_optimizer = self.generator_optimizer()

    def generator_optimizer(self) -> torch.optim.Optimizer:
        return adam(self.generator.parameters(), self.dream_lr, self.streams.device)

    def begin_task(self, task: Task) -> None:
        super().begin_task(task)
        if task.index > 0 and not self.keeps_generator:
            with self.streams.weights("generator"):
                fresh = image_generator(
                    self.settings.gen_model_type, self.settings.gen_model_name, self.image_shape[1])
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
            stages.insert(0, Stage(
                "dream", iterations, self.dream_loss, self.generator, optimizer, iterations.rounds,
                unit="round", joins="generator", dreams=True))
        return stages

    def noise(self, count: int) -> Tensor:
        """Draw z ~ N(0, I), [count, 1000]."""
        random = self.streams.noise
        return torch.randn(count, self.generator.noise_size, generator=random, device=random.device)

    @torch.no_grad()
    def dream(self, count: int) -> Tensor:
        """Return x~, fresh images of the old classes from the generator in evaluation mode."""
        if self.frozen_generator is None:
            self.frozen_generator = Frozen(self.generator, (self.generator.noise_size,), self.bf16)
        return self.frozen_generator(self.noise(count))

    def dream_loss(self) -> Losses:
        """Return the loss of the generator, which makes images that the teacher finds familiar."""
        self.frozen_generator = None  # the generator is about to change
        x = self.generator(self.noise(self.settings.batch_size))
        f, mean, var = self.observed_teacher(x)
        h = self.observed_teacher.last(f)[:, : self.old]
        return {
            "content": self.content_weight * F.cross_entropy(h / self.temperature, h.argmax(1)),
            "balance": self.balance_weight * class_balance(h, self.balance_added),
            "statistics": self.statistics_weight * statistics_distance(mean, var, self.observed_teacher),
            "smoothness": self.smoothness_weight * smoothness(x),
            **self.dream_terms(f, h)}

    def more_terms(self, x_all: Tensor, y_all: Tensor, f: Tensor, f_t: Tensor) -> Losses:
        """Return what an extension adds to the loss from the second task on. Running the model again would
        update its batch norms again.

        Args:
            x_all: real images, then as many dreams. y_all: labels, for dreams the teacher's.
            f, f_t: the model's and the teacher's features [2 B, D].
        """
        return {}

    def dream_terms(self, f: Tensor, h: Tensor) -> Losses:
        """Return what a learner adds to the generator's loss, from the teacher's f and h of dreams."""
        return {}
