"""Always Be Dreaming (Smith et al. 2021), the paper's method ("Ours"):

    L = (1 - r) CE(h(x)[new], y) + weight(y) CE(last(f), y) + mu |P (f - f_t)|^2 / old,   r = old / seen

The last two terms are means over x and x~. weight is r for old classes and 1 - r for new ones; P are the
teacher's rows for the old classes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from dataloaders.tasks import Task
from learners.base import Losses
from learners.dreaming import DreamingLearner
from utils.settings import Settings, setting


@dataclass
class ABDSettings(Settings):
    finetune_seen: bool = setting(
        False, "method", "ABD: L_ft over the seen classes; the published code has it over all outputs")


class AlwaysBeDreaming(DreamingLearner):
    """L_local + L_ft + mu L_kd (docs/specification.md, "ABD"). Tables 1 and 2, "Ours"; mu = 0.1.

    Learn the new classes among themselves on real images, balance the classifier alone on real and dreamed
    images, and keep the features that the old classifier reads.
    """

    learner_type = "datafree"
    unread = ("temp",)
    first_task = "cross-entropy over all outputs, the unseen ones too"
    Settings = ABDSettings
    settings: ABDSettings

    def start_task(self, task: Task) -> None:
        super().start_task(task)
        # For L_ft the published code runs the student a second time in training mode. Its one effect is that
        # a batch updates the running statistics twice: one update with momentum 1 - (1 - m)^2.
        # A layer without a momentum m averages over all batches, which a second pass doesn't change.
        for layer, unchanged in zip(self.model.modules(), self.teacher.modules()):
            if isinstance(layer, _BatchNorm) and isinstance(m := unchanged.momentum, float):
                layer.momentum = 1 - (1 - m) ** 2 if task.old else m

    def notes(self, task: Task) -> list[str]:
        if task.old and task.seen - task.old == 1:
            return ["the loss local is 0 in a task of one new class: there is nothing to tell apart"]
        return super().notes(task)

    def loss(self, x: Tensor, y: Tensor) -> Losses:
        if not self.old:  # over all outputs, as L_ft is, so no other learner shares this first task
            return {"classification": F.cross_entropy(self.model(x), y)}
        old, seen, batch = self.old, self.seen, len(x)
        x_all = torch.cat([x, self.dream(batch)])
        f_t = self.frozen_teacher.features(x_all)
        y_dream = self.frozen_teacher.last(f_t[batch:])[:, :old].argmax(1)
        y_all = torch.cat([y, y_dream])
        r = old / seen
        weight = torch.where(y_all < old, r, 1 - r)

        f = self.model.features(x_all)
        h = self.model.last(f[:batch])
        h_ft = self.model.last(f.detach())  # only the classifier learns from L_ft
        if self.settings.finetune_seen:
            h_ft = h_ft[:, :seen]
        P = self.frozen_teacher.last.weight[:old]

        local = (1 - r) * F.cross_entropy(h[:, old:seen], y - old)
        finetune = (weight * F.cross_entropy(h_ft, y_all, reduction="none")).mean()
        kd = F.linear(f - f_t, P).square().sum(1).mean() / old
        more = self.more_terms(x_all, y_all, f, f_t)
        return {"local": local, "finetune": finetune, "distillation": self.settings.mu * kd, **more}
