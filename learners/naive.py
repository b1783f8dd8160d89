"""Base: cross-entropy on each new task, and nothing against forgetting. With a coreset (``--memory``) it is Naive
Rehearsal; with all classes as one task (``--first_split_size`` = classes), or with ``--oracle_flag``, UB, the upper bound."""

from torch import Tensor

from learners.base import Learner, Losses


class NormalNN(Learner):
    """CE(h[seen], y). docs/specification.md, "Learners without replayed real images"; table 1, "Base" and "UB";
    table 2, "Naive Rehearsal"."""

    learner_type = "default"
    takes_coreset = True

    @classmethod
    def reads_DW(cls, memory: int) -> bool:
        return memory > 0

    def loss(self, x: Tensor, y: Tensor) -> Losses:
        return {"classification": self.classification(self.model(x), y)}
