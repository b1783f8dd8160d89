"""DeepInversion (Yin et al. 2020) in class-incremental learning, as the paper's main data-free rival."""

import torch
from torch import Tensor

from learners.base import CROSS_ENTROPY, Losses, distillation
from learners.dreaming import DreamingLearner


class DeepInversionGenBN(DreamingLearner):
    """CE(h(x)[seen], y) + mu KD(h(x)[old], t(x)[old]) + mu KD~. Table 1, "DeepInversion"; mu = 1.

    KD~ on the dreams x~ has the teacher's softened old classes, zeros for the new ones, as target.
    """

    learner_type = "datafree"
    step_cost = 3.0
    first_task = CROSS_ENTROPY

    @classmethod
    def reads_DW(cls, memory: int) -> bool:
        return True

    def loss(self, x: Tensor, y: Tensor) -> Losses:
        if not self.old:
            return {"classification": self.classification(self.model(x), y)}
        old, seen, T = self.old, self.seen, self.settings.temp
        both = torch.cat([x, self.dream(len(x))])
        h, h_dream = self.model(both).split(len(x))
        t, t_dream = self.teach(both).split(len(x))
        kd = distillation(h[:, :old], t, T, self.image_weights(y))
        kd_dream = distillation(h_dream[:, :seen], t_dream, T, self.image_weights(t_dream.argmax(1)))
        return {
            "classification": self.classification(h, y),
            "distillation": self.settings.mu * kd,
            "dream distillation": self.settings.mu * kd_dream,
        }
