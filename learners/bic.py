"""BiC: Large Scale Incremental Learning (Wu et al. 2019), which corrects the bias towards new classes:

    L = (1 - r) CE(h[seen], y) + r KD(h[old], t[old]),   r = old / seen
    h[j] = alpha_j model(x)[j] + beta_j for the classes of each task j
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dataloaders.batches import Images
from dataloaders.coreset import herding, rank_in_class, shares
from dataloaders.tasks import Task, task_ranges
from learners.base import CROSS_ENTROPY, Learner, Losses, Stage, distillation
from models import Classifier
from utils.errors import UserError
from utils.settings import Settings as CommonSettings
from utils.settings import setting
from utils.streams import Streams


@dataclass
class BICSettings(CommonSettings):
    bias_at_test: bool = setting(
        False, "method", "test BIC with its bias layers; the published accuracies are without them")


def held_out_per_class(coreset: int, old: int) -> int:
    """Return how many images of each class the bias stage gets: a tenth of the coreset, shared among the
    old classes."""
    return coreset // 10 // old


class BiasLayers(nn.Module):
    """Map the logits h of each task's classes to alpha h + beta; alpha is 1 and beta 0 until learned."""

    def __init__(self, ranges: list[range]):
        super().__init__()
        self.ranges = ranges
        self.alpha = nn.ParameterList(torch.ones(()) for _ in ranges)
        self.beta = nn.ParameterList(torch.zeros(()) for _ in ranges)

    def forward(self, h: Tensor, learning: int = -1) -> Tensor:
        """Return corrected logits [B, classes]. Only the layer of the task ``learning`` gets gradients."""
        parts = []
        for index, (j, alpha, beta) in enumerate(zip(self.ranges, self.alpha, self.beta)):
            alpha, beta = (alpha, beta) if index == learning else (alpha.detach(), beta.detach())
            parts.append(alpha * h[:, j.start : j.stop] + beta)
        return torch.cat([*parts, h[:, self.ranges[-1].stop :]], 1)


class BIC(Learner):
    """Table 2, "BiC". From the second task on, some images of each class are held out, on which a second
    stage learns the task's bias layer. The coreset is chosen by herding."""

    learner_type = "kd"
    unread = ("mu",)
    takes_coreset = True
    first_task = CROSS_ENTROPY
    Settings = BICSettings
    settings: BICSettings

    def __init__(self, settings: BICSettings, streams: Streams, model: Classifier):
        super().__init__(settings, streams, model)
        self.bias = BiasLayers(self.ranges)

    def networks(self) -> dict[str, nn.Module]:
        return {**super().networks(), "bias": self.bias}

    def stages(self, task: Task) -> list[Stage]:
        stages = super().stages(task)
        if task.old:
            layer = [self.bias.alpha[task.index], self.bias.beta[task.index]]
            # The model is in training mode, as published: its batch-norm statistics move, nothing else does.
            stages.append(self.schedule(
                "bias", lambda: self.divide(task)[1], partial(self.bias_loss, task.index), self.model, layer,
                lr_factor=0.01))
        return stages

    def divide(self, task: Task) -> tuple[Images, Images]:
        """Divide the coreset and the task's images into those to learn from and those held out."""
        whole = self.coreset.images(task.train.source) + task.train
        if not task.old:
            return whole, whole[:0]
        held = rank_in_class(whole.labels) < held_out_per_class(len(self.coreset), task.old)
        return whole[~held], whole[held]

    def data(self, task: Task) -> Images:
        return self.divide(task)[0]

    @classmethod
    def check_data(cls, settings: CommonSettings, counts: Sequence[int]) -> None:
        super().check_data(settings, counts)
        for index, new in enumerate(task_ranges(settings)[1:], 2):
            if not held_out_per_class(sum(shares(settings.memory, counts[: new.start])), new.start):
                raise UserError(
                    f"--memory {settings.memory}: leaves no image for the stage bias of task {index}; "
                    "it needs a larger coreset")

    @classmethod
    def images_to_learn(cls, settings: CommonSettings, counts: Sequence[int], new: range) -> int:
        kept = shares(settings.memory, counts[: new.start])
        each = held_out_per_class(sum(kept), new.start) if new.start else 0
        available = [*kept, *counts[new.start : new.stop]]
        return sum(count - min(each, count) for count in available)  # a scarce class gives what it has

    def remember(self, task: Task) -> None:
        self.coreset.rank(task.train, task.seen, self.features, herding)

    def predict(self, images: Tensor) -> Tensor:
        """Leave the bias layers out, as in the published accuracies; ``--bias_at_test`` applies them, as the
        BiC paper does."""
        h = self.model(images)
        return self.bias(h) if self.settings.bias_at_test else h

    def loss(self, x: Tensor, y: Tensor) -> Losses:
        old, seen = self.old, self.seen
        h = self.bias(self.model(x))
        if not old:
            return {"classification": self.classification(h, y)}
        with torch.no_grad():
            t = self.bias(self.frozen_teacher(x))[:, :old]
        r = old / seen
        return {
            "classification": (1 - r) * self.classification(h, y),
            "distillation": r * distillation(h[:, :old], t, self.settings.temp)}

    def bias_loss(self, index: int, x: Tensor, y: Tensor) -> Losses:
        """Return CE(h[seen], y), from which alpha and beta of the task ``index`` learn."""
        with torch.no_grad():
            h = self.model(x)
        return {"bias": F.cross_entropy(self.bias(h, learning=index)[:, : self.seen], y)}
