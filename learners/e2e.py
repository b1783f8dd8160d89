"""E2E: End-to-End Incremental Learning (Castro et al. 2018):

    L = CE(h[seen], y) + mu sum_j (|j| / |old|) KD(h[j], t[j]) over past tasks j
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from dataloaders.batches import Images
from dataloaders.coreset import nearest_to_mean, shares
from dataloaders.tasks import Task, task_ranges
from learners.base import CROSS_ENTROPY, Learner, Losses, Stage, distillation
from utils.errors import UserError
from utils.settings import Settings


class ETE(Learner):
    """Table 2, "E2E"; mu = 1. From the second task on, a balanced stage follows, which trains the classifier
    alone on a coreset that includes the new classes. The coreset holds the images of each class whose
    features lie nearest to the class mean."""

    learner_type = "kd"
    takes_coreset = True
    first_task = CROSS_ENTROPY

    def stages(self, task: Task) -> list[Stage]:
        stages = super().stages(task)
        if task.old:
            # The rest of the model runs in training mode: its batch-norm statistics move.
            stages.append(self.schedule(
                "balance", lambda: self.balanced(task), self.balanced_loss,
                self.model, self.model.last.parameters(), lr_factor=0.01))
        return stages

    def data(self, task: Task) -> Images:
        """Return the coreset as it is and the task's images."""
        return self.coreset.images(task.train.source) + task.train

    @classmethod
    def check_data(cls, settings: Settings, counts: Sequence[int]) -> None:
        super().check_data(settings, counts)
        if not settings.memory and len(task_ranges(settings)) > 1:
            raise UserError(
                "--memory 0: leaves no image for the stage balance of task 2; it needs a larger coreset")

    @classmethod
    def images_to_learn(cls, settings: Settings, counts: Sequence[int], new: range) -> int:
        return sum(counts[new.start : new.stop]) + sum(shares(settings.memory, counts[: new.start]))

    def remember(self, task: Task) -> None:
        self.coreset.rank(task.train, task.seen, self.features, nearest_to_mean)

    def balanced(self, task: Task) -> Images:
        """Return a coreset that includes the new classes, as the model before this stage ranks them."""
        self.remember(task)
        return self.coreset.images(task.train.source)

    def past_distillation(self, h: Tensor, t: Tensor, divisor: int) -> Tensor:
        """Return sum_j (|j| / divisor) KD(h[j], t[j]) over past tasks j."""
        past = [classes for classes in self.ranges if classes.stop <= self.old]
        parts = [(len(j) / divisor, slice(j.start, j.stop)) for j in past]
        kd = [share * distillation(h[:, j], t[:, j], self.settings.temp) for share, j in parts]
        return sum(kd, h.new_zeros(()))

    def loss(self, x: Tensor, y: Tensor) -> Losses:
        h = self.model(x)
        losses = {"classification": self.classification(h, y)}
        if self.old:
            losses["distillation"] = self.settings.mu * self.past_distillation(h, self.teach(x), self.old)
        return losses

    def balanced_loss(self, x: Tensor, y: Tensor) -> Losses:
        """Return ``loss`` with the divisor |seen| and KD for the new classes too. The paper distils these
        from the model before this stage; the published code, and so its tables, from the teacher's first
        |new| outputs."""
        old, seen, new = self.old, self.seen, self.seen - self.old
        t = self.frozen_teacher(x)
        with torch.no_grad():
            f = self.model.features(x)
        h = self.model.last(f)
        kd_new = distillation(h[:, old:seen], t[:, :new], self.settings.temp)
        kd = self.past_distillation(h, t, seen) + new / seen * kd_new
        return {"classification": F.cross_entropy(h[:, :seen], y), "distillation": self.settings.mu * kd}
