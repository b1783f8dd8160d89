"""The base class of what listens to a run: log, result files, figures, TensorBoard."""

from utils.training.state import RunState


class Listener:
    """Override the moments you need, and add the listener in run.py. It may read ``run`` but must not change
    it. An OSError, such as a full disk, ends the run in one line."""

    def repeat_began(self, run: RunState) -> None:
        """The tasks and the learner exist, restored from the checkpoint if the run resumed."""

    def epoch_began(self, run: RunState) -> None:
        """The steps of epoch ``run.place.epoch`` of ``run.stage`` come next."""

    def step_taken(self, run: RunState) -> None:
        """A step has been issued; a GPU may still be working on it."""

    def epoch_ended(self, run: RunState, lr: float, losses: dict[str, float], seconds: float) -> None:
        """The same epoch is over, with these means of its losses. A checkpoint may follow; a resumed run
        never repeats an epoch that its checkpoint includes."""

    def stage_ended(self, run: RunState) -> None:
        """All epochs are done and in a checkpoint. Repeated if the process is killed right after it."""

    def task_ended(self, run: RunState) -> None:
        """The task is learned and measured, and ``run.results`` includes it; the checkpoint comes next."""

    def run_ended(self, run: RunState) -> None:
        """All repeats are done."""

    def close(self) -> None:
        """The last call, however the run ended."""
