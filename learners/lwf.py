"""Learning without Forgetting (Li and Hoiem 2016)."""

from torch import Tensor

from learners.base import CROSS_ENTROPY, Learner, Losses, distillation
from learners.published import Method


class LWF(Learner):
    """CE(h[seen], y) + mu KD(h[old], t(x)[old]). Tables 1 and 2, "LwF"; mu = 1."""

    learner_type = "kd"
    takes_coreset = True
    first_task = CROSS_ENTROPY
    published = (
        Method("LwF", {5: (17.0, 0.1), 10: (9.2, 0.0), 20: (4.7, 0.1)}, settings={"mu": 1.0, "temp": 2.0}),
        Method(
            "LwF (coreset)", {5: (39.4, 0.3), 10: (27.4, 0.8), 20: (16.6, 0.4)}, memory=2000, settings={"mu": 1.0, "temp": 2.0}, tables=(2,)),
    )

    @classmethod
    def reads_DW(cls, memory: int) -> bool:
        return memory > 0

    def loss(self, x: Tensor, y: Tensor) -> Losses:
        h = self.model(x)
        losses = {"classification": self.classification(h, y)}
        if self.old:
            kd = distillation(h[:, : self.old], self.teach(x), self.settings.temp)
            losses["distillation"] = self.settings.mu * kd
        return losses
