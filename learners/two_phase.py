"""Two phases per task with one optimiser, as R-DFCIL, CwD and RFD learn (docs/successors.md):

    L_1 = w (1 + 1 / a) / b CE(h(x)[new], y) + terms,            a = log2(new / 2 + 1), b = sqrt(old / new)
    L_2 = w sum weight(y) CE(h[seen], y) / sum weight(y) over x and x~ + terms

In the first phase the whole network learns. In the second only the heads do, with classes weighted by rarity;
the backbone is frozen, in evaluation mode.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dataloaders.tasks import Task
from learners.base import Losses, Stage
from learners.dreaming import DreamingLearner
from learners.stage import optimizer_for
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
    """Return class weights [K] inverse to how often each class came up, ``counts`` [K]; the smallest is 1.
    docs/successors.md, "Class counts"."""
    weights = counts.sum() / counts.clamp(min=1)
    return weights / weights.min()


class TwoPhaseLearner(DreamingLearner):
    """Base class. A subclass adds ``terms`` to the first phase, ``head_terms`` to the second, and their
    ``term_factors``. Every task has a new generator.

    Attributes:
        factor: factors of the terms of the loss in the current task, by name.
        counts: [classes] how often each class came up in the task, real or dreamed.
        weights: [classes] class weights of the second phase, renewed before each of its epochs.
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
                f"--schedule: {settings.learner_name} learns in two phases and needs at least 2 epochs")
        if cls.more_terms is not DreamingLearner.more_terms:
            raise UserError(f"{settings.learner_name}: its loss has no more_terms; extend ``terms`` instead")

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
        """Return the factors of the loss's terms when ``new`` classes follow ``old`` ones."""
        a, b = math.log2(new / 2 + 1), math.sqrt(old / new)
        classification = self.settings.classification_weight * (1 + 1 / a) / b
        return {"classification": classification, **self.term_factors(a, b)}

    def term_factors(self, a: float, b: float) -> dict[str, float]:
        """Return the factors of ``terms`` and ``head_terms``: a grows with the size of the task, b with the
        old-to-new ratio."""
        raise NotImplementedError

    def learned(self) -> Iterator[nn.Parameter]:
        return self.model.parameters()

    def stages(self, task: Task) -> list[Stage]:
        *before, learn = super().stages(task)
        second = min(max(1, round(self.settings.head_share * learn.epochs)), learn.epochs - 1)
        optimizer = optimizer_for(self.settings, self.learned(), self.streams.device)
        learn = replace(learn, epochs=learn.epochs - second, optimizer=optimizer)
        if not task.old:  # the second phase would change nothing
            return [learn]
        heads = replace(
            learn, name="heads", loss=self.head_loss, trained=self.model.last, epochs=second, milestones=(),
            cosine=False, lr_factor=self.settings.head_lr_factor, before_epoch=lambda: self.weigh(task.seen))
        return [*before, learn, heads]

    def weigh(self, seen: int) -> None:
        self.weights[:seen] = rarity(self.counts[:seen])

    def count(self, labels: Tensor) -> None:
        self.counts.index_add_(0, labels, torch.ones_like(labels))

    def loss(self, x: Tensor, y: Tensor) -> Losses:
        """First phase. Real images and dreams go through the model one after the other, so that batch norm
        normalises them separately."""
        if not self.old:
            return {"classification": self.classification(self.model(x), y)}
        old, seen, x_dream = self.old, self.seen, self.dream(len(x))
        t_dream = self.teach(x_dream)
        self.count(torch.cat([y, t_dream.argmax(1)]))
        f = self.model.features(x)
        h, h_dream = self.model.last(f), self.model(x_dream)
        return {
            "classification": self.factor["classification"] * F.cross_entropy(h[:, old:seen], y - old),
            **self.terms(x, f, h[:, :old], h_dream[:, :old], t_dream)}

    def head_loss(self, x: Tensor, y: Tensor) -> Losses:
        """Second phase."""
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
            **self.head_terms(x, h[: len(x), :old], h[len(x) :, :old], t_dream)}

    def terms(self, x: Tensor, f: Tensor, h: Tensor, h_dream: Tensor, t_dream: Tensor) -> Losses:
        """Return what the first phase adds to the classification, from real images x, their features f
        [B, D] and logits h [B, old], and the model's and the teacher's logits of as many dreams."""
        raise NotImplementedError

    def head_terms(self, x: Tensor, h: Tensor, h_dream: Tensor, t_dream: Tensor) -> Losses:
        """Return what the second phase adds, see ``terms``."""
        raise NotImplementedError
