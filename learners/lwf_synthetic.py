"""LwF-Synthetic, Learning without Forgetting with dreamed images in the distillation:

    L = CE(h(x)[seen], y) + mu KD(h[old], t[old]) over x and x~
"""

import torch
from torch import Tensor

from learners.base import CROSS_ENTROPY, Losses, distillation
from learners.dreaming import DreamingLearner


class DeepInversionLWF(DreamingLearner):
    """docs/specification.md, "LwF-Synthetic"; mu = 0.1."""

    learner_type = "datafree"
    first_task = CROSS_ENTROPY
    weighs_classes = True

    def loss(self, x: Tensor, y: Tensor) -> Losses:
        if not self.old:
            return {"classification": self.classification(self.model(x), y)}
        both = torch.cat([x, self.dream(len(x))])
        f, f_t = self.model.features(both), self.frozen_teacher.features(both)
        h, t = self.model.last(f), self.frozen_teacher.outputs(f_t)[:, : self.old]
        y_all = torch.cat([y, t[len(x) :].argmax(1)])
        weight = self.image_weights(y_all)
        kd = distillation(h[:, : self.old], t, self.settings.temp, weight)
        return {
            "classification": self.classification(h[: len(x)], y),
            "distillation": self.settings.mu * kd,
            **self.more_terms(both, y_all, f, f_t)}
