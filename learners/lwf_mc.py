"""LwF.MC: Learning without Forgetting with many classes, from the iCaRL paper (Rebuffi et al. 2017):

    L = sum_k BCE(sigmoid(h_k), q_k) over seen classes k,   q = sigmoid(t) for old classes, else one-hot y
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from learners.base import Learner, Losses


class LWF_MC(Learner):
    """Table 1, "LwF.MC"."""

    learner_type = "kd"
    unread = ("mu", "temp")
    first_task = "binary cross-entropy over the seen classes"

    def loss(self, x: Tensor, y: Tensor) -> Losses:
        h = self.model(x)[:, : self.seen]
        target = F.one_hot(y, self.seen).to(x.dtype)
        if self.old:
            target = torch.cat([torch.sigmoid(self.teach(x)), target[:, self.old :]], 1)
        bce = F.binary_cross_entropy_with_logits(h, target, reduction="none").sum(1)
        return {"binary": bce.mean()}
