"""The moments of a run, and the base class of what listens to them: log, result files, figures, TensorBoard.
"""

from dataclasses import dataclass

from learners import Stage
from utils.training.measures import Measures
from utils.training.state import RunState


@dataclass(frozen=True)
class Epoch:
    """An epoch that has just ended: its number in the stage, from 0, its learning rate, the mean of each loss
    over its steps, and how long it took."""

    stage: Stage
    number: int
    lr: float
    losses: dict[str, float]
    seconds: float


class Listener:
    """Override the moments you need, and add the listener in run.py. It may read ``run`` but must not change
    it. An OSError, such as a full disk, ends the run in one line."""

    def repeat_began(self, run: RunState) -> None:
        """The tasks and the learner exist, restored from the checkpoint if the run resumed."""

    def stages_began(self, run: RunState, stages: list[Stage]) -> None:
        """These are all stages of the current task; those before ``run.place.stage`` are done."""

    def epoch_began(self, run: RunState, stage: Stage, epoch: int) -> None:
        """The steps of this epoch, counted from 0, come next."""

    def step_taken(self, run: RunState) -> None:
        """A step has been issued; a GPU may still be working on it."""

    def epoch_ended(self, run: RunState, epoch: Epoch) -> None:
        """A checkpoint may follow. A resumed run never repeats an epoch that its checkpoint includes."""

    def stage_ended(self, run: RunState, stage: Stage) -> None:
        """All epochs are done and in a checkpoint. Repeated if the process is killed right after it."""

    def task_ended(self, run: RunState, measures: Measures) -> None:
        """The task is learned and measured, and ``run.results`` includes it; the checkpoint comes next."""

    def run_ended(self, run: RunState) -> None:
        """All repeats are done."""

    def close(self) -> None:
        """The last call, however the run ended."""
