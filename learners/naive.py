"""Base: cross-entropy on each new task, and nothing against forgetting. With a coreset (``--memory``) it is
Naive Rehearsal; with all classes as one task (``--first_split_size`` = classes), or with ``--oracle_flag``,
UB, the upper bound."""

from torch import Tensor

from learners.base import CROSS_ENTROPY, Learner, Losses
from learners.published import Method
from utils.errors import UserError
from utils.settings import Settings


class NormalNN(Learner):
    """CE(h[seen], y). docs/specification.md, "Learners without replayed real images"; table 1, "Base" and
    "UB"; table 2, "Naive Rehearsal"."""

    learner_type = "default"
    takes_coreset = True
    takes_oracle = True
    first_task = CROSS_ENTROPY
    published = (
        Method("Base", {5: (16.4, 0.4), 10: (8.8, 0.1), 20: (4.4, 0.3)}),
        Method("Naive Rehearsal", {5: (34.0, 0.2), 10: (24.0, 1.0), 20: (14.9, 0.7)}, memory=2000, tables=(2,)),
    )

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

    @classmethod
    def reads_DW(cls, memory: int) -> bool:
        return memory > 0

    def loss(self, x: Tensor, y: Tensor) -> Losses:
        return {"classification": self.classification(self.model(x), y)}
