"""E2E: End-to-End Incremental Learning (Castro et al. 2018)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from dataloaders.batches import Images
from dataloaders.coreset import nearest_to_mean, shares
from dataloaders.tasks import Task
from learners.base import CROSS_ENTROPY, Learner, Losses, Stage, distillation


class ETE(Learner):
    """CE(h[seen], y) + mu sum over past tasks j of (|j| / |old|) KD over j's classes. Table 2, "E2E"; mu = 1.

    From the second task on a balanced stage follows: the classifier alone, on the coreset with the new classes in it.
    The coreset holds the images of each class whose features lie nearest to the class mean.
    """

    learner_type = "kd"
    takes_coreset = True
    step_cost = 1.3
    first_task = CROSS_ENTROPY

    def stages(self, task: Task) -> list[Stage]:
        stages = super().stages(task)
        if task.old:
            # The rest of the model runs in training mode: its batch-norm statistics move.
            stages.append(self.schedule(
                "balance", task, lambda: self.balanced(task), self.balanced_loss,
                self.model, self.model.last.parameters(), lr_factor=0.01, cost=0.65))
        return stages

    def data(self, task: Task) -> Images:
        """The task's images and the coreset as it is."""
        return self.coreset.images(task.train.source) + task.train

    @classmethod
    def planned_images(cls, memory: int, counts: Sequence[int], old: int, seen: int, new: int) -> dict[str, int]:
        if not old:
            return {"learn": new}
        return {"learn": new + sum(shares(memory, counts[:old])), "balance": sum(shares(memory, counts[:seen]))}

    def remember(self, task: Task) -> None:
        self.coreset.rank(task.train, task.seen, self.features, nearest_to_mean)

    def balanced(self, task: Task) -> Images:
        """The coreset with the new classes in it, which are ranked by the model as it is before this stage."""
        self.remember(task)
        return self.coreset.images(task.train.source)

    def past_distillation(self, h: Tensor, t: Tensor, divisor: int) -> Tensor:
        """sum over past tasks j of (|j| / divisor) KD over j's classes."""
        past = [classes for classes in self.ranges if classes.stop <= self.old]
        kd = [len(j) / divisor * distillation(h[:, j.start : j.stop], t[:, j.start : j.stop], self.settings.temp) for j in past]
        return sum(kd, h.new_zeros(()))

    def loss(self, x: Tensor, y: Tensor) -> Losses:
        h = self.model(x)
        losses = {"classification": self.classification(h, y)}
        if self.old:
            losses["distillation"] = self.settings.mu * self.past_distillation(h, self.teach(x), self.old)
        return losses

    def balanced_loss(self, x: Tensor, y: Tensor) -> Losses:
        """``loss`` with |seen| as divisor, and KD for the new classes too. The paper distils these from the model as it
        was before this stage; the published code, and so its tables, from the teacher's first |new| outputs."""
        old, seen = self.old, self.seen
        new = seen - old
        t = self.frozen_teacher(x)
        with torch.no_grad():
            f = self.model.features(x)
        h = self.model.last(f)
        kd_new = distillation(h[:, old:seen], t[:, :new], self.settings.temp)
        kd = self.past_distillation(h, t, seen) + new / seen * kd_new
        return {"classification": F.cross_entropy(h[:, :seen], y), "distillation": self.settings.mu * kd}
