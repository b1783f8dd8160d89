"""Base: cross-entropy on each new task, and nothing against forgetting. With all classes as one task
(``--first_split_size`` = classes), or with ``--oracle_flag``, the same learner is UB, the upper bound."""

from torch import Tensor

from learners.base import Learner, Losses


class NormalNN(Learner):
    """CE(h[seen], y). METHODS.md, "Learners without replayed real images"; table 1, "Base" and "UB"."""

    learner_type = "default"

    def loss(self, x: Tensor, y: Tensor) -> Losses:
        return {"classification": self.classification(self.model(x), y)}
