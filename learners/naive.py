"""Base, which does nothing against forgetting:

    L = CE(h[seen], y)

With a coreset (``--memory``) it is Naive Rehearsal; with all classes as one task (``--first_split_size`` =
classes), or with ``--oracle_flag``, it is UB, the upper bound.
"""

from torch import Tensor

from learners.base import CROSS_ENTROPY, Learner, Losses
from utils.errors import UserError
from utils.settings import Settings


class NormalNN(Learner):
    """Table 1, "Base" and "UB"; table 2, "Naive Rehearsal"."""

    learner_type = "default"
    unread = ("mu", "temp")
    takes_coreset = True
    takes_oracle = True
    first_task = CROSS_ENTROPY
    weighs_classes = True

    @classmethod
    def check(cls, settings: Settings) -> None:
        super().check(settings)
        if settings.oracle_flag and settings.memory:
            raise UserError(
                f"--memory {settings.memory}: with --oracle_flag every task trains on the data of all "
                "tasks so far; use --memory 0")
        if settings.oracle_flag and settings.load_model_dir:
            raise UserError(
                "--load_model_dir: with --oracle_flag every task trains from scratch; leave one of them out")

    def loss(self, x: Tensor, y: Tensor) -> Losses:
        return {"classification": self.classification(self.model(x), y)}
