"""DeepInversion (Yin et al. 2020) in class-incremental learning, the paper's main data-free rival:

    L = CE(h(x)[seen], y) + mu KD(h(x)[old], t(x)[old]) + mu KD(h(x~)[seen], [t(x~)[old], 0])
"""

import torch
from torch import Tensor

from learners.base import CROSS_ENTROPY, Losses, distillation
from learners.dreaming import DreamingLearner


class DeepInversionGenBN(DreamingLearner):
    """Table 1, "DeepInversion"; mu = 1."""

    learner_type = "datafree"
    first_task = CROSS_ENTROPY
    weighs_classes = True

    def loss(self, x: Tensor, y: Tensor) -> Losses:
        if not self.old:
            return {"classification": self.classification(self.model(x), y)}
        old, seen, T = self.old, self.seen, self.settings.temp
        both = torch.cat([x, self.dream(len(x))])
        f, f_t = self.model.features(both), self.frozen_teacher.features(both)
        h, h_dream = self.model.last(f).split(len(x))
        t, t_dream = self.frozen_teacher.outputs(f_t)[:, :old].split(len(x))
        y_dream = t_dream.argmax(1)
        kd = distillation(h[:, :old], t, T, self.image_weights(y))
        kd_dream = distillation(h_dream[:, :seen], t_dream, T, self.image_weights(y_dream))
        return {
            "classification": self.classification(h, y),
            "distillation": self.settings.mu * kd,
            "dream distillation": self.settings.mu * kd_dream,
            **self.more_terms(both, torch.cat([y, y_dream]), f, f_t)}
