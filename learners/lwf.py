"""Learning without Forgetting (Li and Hoiem 2016):

    L = CE(h[seen], y) + mu KD(h[old], t[old])
"""

from torch import Tensor

from learners.base import CROSS_ENTROPY, Learner, Losses, distillation


class LWF(Learner):
    """Tables 1 and 2, "LwF"; mu = 1."""

    learner_type = "kd"
    takes_coreset = True
    first_task = CROSS_ENTROPY
    weighs_classes = True

    def loss(self, x: Tensor, y: Tensor) -> Losses:
        h = self.model(x)
        losses = {"classification": self.classification(h, y)}
        if self.old:
            kd = distillation(h[:, : self.old], self.teach(x), self.settings.temp)
            losses["distillation"] = self.settings.mu * kd
        return losses
