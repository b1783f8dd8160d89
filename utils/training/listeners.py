"""The moments of a run, and what a listener is: the log, the result files, figures, TensorBoard, the final screen.

run.py chooses who listens; the trainer tells them, in the order in which they were added, and knows nothing else of them.
"""

from dataclasses import dataclass

from learners import Stage
from utils.training.measures import Measures
from utils.training.run_state import RunState


@dataclass(frozen=True)
class Epoch:
    """An epoch that has ended.

    Attributes:
        number: within the stage, from 0.
        lr: its learning rate.
        losses: the mean of each over its steps.
        seconds: that it took.
    """

    stage: Stage
    number: int
    lr: float
    losses: dict[str, float]
    seconds: float


class Listener:
    """What to do at the moments of a run; a listener overrides those that it needs. It may read ``run`` and change nothing of it.

    An OSError, such as of a full disk, ends the run in one line; it is resumed from the last checkpoint.
    """

    def repeat_began(self, run: RunState) -> None:
        """The tasks and the learner of ``run.place.repeat`` are there, from the checkpoint where the run is resumed."""

    def epoch_began(self, run: RunState, stage: Stage, epoch: int) -> None:
        """The steps of an epoch, counted from 0, come next."""

    def step_taken(self, run: RunState) -> None:
        """A step has been started; a GPU may still be at it."""

    def epoch_ended(self, run: RunState, epoch: Epoch) -> None:
        """A checkpoint may follow: what is told here is not told again after it."""

    def stage_ended(self, run: RunState, stage: Stage) -> None:
        """All epochs are done, and in a checkpoint; ``stage.dreams``: there are new dreams. Told again where a kill came right after."""

    def task_ended(self, run: RunState, measures: Measures) -> None:
        """The task is learned and measured, ``run.results`` has it; the checkpoint comes next."""

    def run_ended(self, run: RunState) -> None:
        """All repeats are done."""

    def close(self) -> None:
        """The last call, whatever ended the run."""
