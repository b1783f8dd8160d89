"""What R-DFCIL, CwD and RFD share (docs/successors.md): a task is learned in two phases with one optimiser.

In the first the whole network learns, of the labels only the new classes' among themselves. In the second the
backbone is frozen, in evaluation mode, and the heads of all classes learn together, classes weighted by how
seldom they came up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dataloaders.tasks import Task
from learners.base import Losses, Stage
from learners.dreaming import DreamingLearner
from models import Classifier, Generator
from utils.errors import UserError
from utils.settings import Settings as CommonSettings
from utils.settings import setting
from utils.streams import Streams


@dataclass
class TwoPhaseSettings(CommonSettings):
    classification_weight: float = setting(
        0.5, "method", "weight of the classification after the first task: RDFCIL, CwD, RFD", low=0)
    head_share: float = setting(
        0.2, "method",
        "share of a task's epochs, the last ones, in which only the heads learn: RDFCIL, CwD, RFD",
        low=0.01, high=0.99)
    head_lr_factor: float = setting(
        0.05, "method",
        "learning rate in the epochs of head_share, as a share of the task's initial one: RDFCIL, CwD, RFD",
        above=0)


def rarity(counts: Tensor) -> Tensor:
    """Class weights [K] from how often each class came up, ``counts`` [K]: inverse to it, the smallest 1.

    docs/successors.md, "Class counts".
    """
    weights = counts.sum() / counts.clamp(min=1)
    return weights / weights.min()


class TwoPhaseLearner(DreamingLearner):
    """Learns the network, then, with the backbone frozen, the heads. The generator is new for every task.

    A subclass gives ``terms`` and ``head_terms``, what is added to the classification in either phase, and
    their ``term_factors``.

    Attributes:
        factor: of every term of the loss in the current task, by name.
        counts: [classes] how often every class, real or dreamed, came up in the task.
        weights: [classes] of the classes in the second phase, made before each of its epochs.
    """

    keeps_generator = False
    first_task_settings = ("head_share",)
    Settings = TwoPhaseSettings
    settings: TwoPhaseSettings
    counts: Tensor
    weights: Tensor

    @classmethod
    def check(cls, settings: CommonSettings) -> None:
        super().check(settings)
        if settings.schedule[-1] < 2:
            raise UserError(
                f"--schedule: {settings.learner_name} learns a task in two phases, of an epoch each at "
                "least; 1 epoch is too few")

    def __init__(self, settings: TwoPhaseSettings, streams: Streams, model: Classifier, generator: Generator):
        super().__init__(settings, streams, model, generator)
        classes = self.ranges[-1].stop
        self.register_buffer("counts", torch.zeros(classes, dtype=torch.long))
        self.register_buffer("weights", torch.ones(classes))

    def begin_task(self, task: Task) -> None:
        super().begin_task(task)
        self.counts.zero_()
        self.weights.fill_(1)

    def start_task(self, task: Task) -> None:
        super().start_task(task)
        if task.old:
            self.factor = self.factors(task.old, task.seen - task.old)

    def factors(self, old: int, new: int) -> dict[str, float]:
        """Of the terms of the loss, where ``new`` classes follow ``old`` ones. Both phases read them,
        ``classification`` the first alone."""
        a, b = math.log2(new / 2 + 1), math.sqrt(old / new)
        classification = self.settings.classification_weight * (1 + 1 / a) / b
        return {"classification": classification, **self.term_factors(a, b)}

    def term_factors(self, a: float, b: float) -> dict[str, float]:
        """Of ``terms`` and ``head_terms``: a = log2(n / 2 + 1) grows with the task, b = sqrt(o / n) with what
        there is to keep."""
        raise NotImplementedError

    def learned(self) -> Iterator[nn.Parameter]:
        """Parameters of the task's one optimiser."""
        return self.model.parameters()

    def stages(self, task: Task) -> list[Stage]:
        *before, learn = super().stages(task)
        second = self.head_epochs(learn.epochs)
        learn = replace(learn, epochs=learn.epochs - second, optimizer=self.optimizer(self.learned()))
        if not task.old:  # its second phase would change nothing
            return [learn]
        heads = replace(
            learn, name="heads", loss=self.head_loss, trained=self.model.last, epochs=second, milestones=(),
            lr_factor=self.settings.head_lr_factor, before_epoch=lambda: self.weigh(task.seen))
        return [*before, learn, heads]

    def head_epochs(self, epochs: int) -> int:
        """How many of a task's epochs are the second phase's: one at least, and not all."""
        return min(max(1, round(self.settings.head_share * epochs)), epochs - 1)

    def weigh(self, seen: int) -> None:
        """Class weights for the epoch to come, from the counts at the end of the one before."""
        self.weights[:seen] = rarity(self.counts[:seen])

    def count(self, labels: Tensor) -> None:
        """Add to ``counts`` how often each class is among ``labels`` [N]."""
        self.counts.index_add_(0, labels, torch.ones_like(labels))

    def loss(self, x: Tensor, y: Tensor) -> Losses:
        """First phase. The model sees real and dreamed images one after the other: batch norm normalises each
        by itself."""
        if not self.old:
            return {"classification": self.classification(self.model(x), y)}
        old, seen, x_dream = self.old, self.seen, self.dream(len(x))
        t_dream = self.teach(x_dream)
        self.count(torch.cat([y, t_dream.argmax(1)]))
        f = self.model.features(x)
        h, h_dream = self.model.last(f), self.model(x_dream)
        return {
            "classification": self.factor["classification"] * F.cross_entropy(h[:, old:seen], y - old),
            **self.terms(x, f, h[:, :old], h_dream[:, :old], t_dream),
        }

    def head_loss(self, x: Tensor, y: Tensor) -> Losses:
        """Second phase: all seen classes on real and dreamed images together, weighted; only the heads
        learn."""
        old, seen, x_dream = self.old, self.seen, self.dream(len(x))
        t_dream = self.teach(x_dream)
        y_all = torch.cat([y, t_dream.argmax(1)])
        self.count(y_all)
        with torch.no_grad():
            f = self.model.features(torch.cat([x, x_dream]))
        h = self.model.last(f)
        ce = F.cross_entropy(h[:, :seen], y_all, self.weights[:seen])
        return {
            "classification": self.settings.classification_weight * ce,
            **self.head_terms(x, h[: len(x), :old], h[len(x) :, :old], t_dream),
        }

    def terms(self, x: Tensor, f: Tensor, h: Tensor, h_dream: Tensor, t_dream: Tensor) -> Losses:
        """What the first phase adds to the classification.

        Args:
            x: real images. f: their features [B, D]. h: their logits for the old classes [B, old].
            h_dream, t_dream: the model's and the teacher's logits [B, old] for the old classes of as many
                dreamed images.
        """
        raise NotImplementedError

    def head_terms(self, x: Tensor, h: Tensor, h_dream: Tensor, t_dream: Tensor) -> Losses:
        """What the second phase adds, see ``terms``."""
        raise NotImplementedError
