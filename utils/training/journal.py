"""What a run says while it is under way: output.log, metrics.jsonl and the terminal, with its updating line."""

from collections.abc import Hashable, Sequence

from dataloaders.datasets import DATASETS
from dataloaders.tasks import Task
from learners import Stage
from utils.settings import Settings
from utils.training.listeners import Epoch, Listener
from utils.training.log import Log
from utils.training.measures import Measures
from utils.training.progress import Progress, duration
from utils.training.run_state import RunState


def kind(stage: Stage, task: Task) -> Hashable:
    """Stages of one kind have steps that take equally long."""
    return stage.name, task.index == 0


def plan(run: RunState) -> Progress:
    """All steps of the run, less those done, for the remaining time."""
    settings, place, progress = run.settings, run.place, Progress()
    for repeat in range(place.repeat, settings.repeat):
        for task in run.tasks:
            if task.index == 0 and settings.load_model_dir:  # learned already
                continue
            for number, stage in enumerate(run.learner.stages(task)):
                now, here = (repeat, task.index, number), (place.repeat, place.task, place.stage)
                done = place.epoch if now == here else stage.epochs if now < here else 0
                steps = sum(stage.batches.steps(epoch) for epoch in range(done, stage.epochs))
                progress.add(kind(stage, task), steps, 1.0)
    return progress


def show_losses(losses: dict[str, float]) -> list[str]:
    return [f"{name} {value:.4f}" for name, value in losses.items()]


class Journal(Listener):
    """A line an epoch and a task, a record each, and the time left.

    Args:
        notes: lines to say of the data at the beginning of a repeat.
    """

    def __init__(self, settings: Settings, log: Log, notes: Sequence[str] = ()):
        self.log = log
        self.notes = notes
        self.percent = DATASETS[settings.dataset].percent
        self.top_k = DATASETS[settings.dataset].top_k
        self.progress: Progress | None = None
        self.latest: Epoch | None = None  # of the stage under way

    def repeat_began(self, run: RunState) -> None:
        place, repeats = run.place, run.settings.repeat
        if run.resumed:
            here = f"task {place.task + 1}, stage {place.stage + 1}, {place.epoch} epochs done" if place.task < len(run.tasks) else "all tasks done"
            self.log.line(f"resuming: repeat {place.repeat + 1}/{repeats}, {here}")
        else:
            tasks = f"{len(run.tasks)} task{'s' * (len(run.tasks) > 1)}"
            self.log.line(f"repeat {place.repeat + 1}/{repeats}: {run.settings.learner_name}, {tasks}, on {run.device}")
        for note in self.notes:
            self.log.line(note)
        self.progress = self.progress or plan(run)

    def epoch_began(self, run: RunState, stage: Stage, epoch: int) -> None:
        assert self.progress
        parts = [run.heading(stage, epoch)]
        if run.results.matrix[run.place.repeat :]:
            parts.append(f"accuracy {run.results.latest(run.place.repeat, self.percent)}")
        if self.latest:
            self.progress.spend()  # on a checkpoint
            parts += show_losses(self.latest.losses)
        self.progress.start(kind(stage, run.task), "  ".join(parts))

    def step_taken(self, run: RunState) -> None:
        assert self.progress
        self.progress.step()

    def epoch_ended(self, run: RunState, epoch: Epoch) -> None:
        assert self.progress
        self.latest = epoch
        self.progress.spend()
        stage, number, losses = epoch.stage, epoch.number, show_losses(epoch.losses)
        parts = [run.heading(stage, number), f"lr {epoch.lr:.3g}", *losses, f"{epoch.seconds:.1f} s", f"({duration(self.progress.remaining())} left)"]
        self.log.line("  ".join(parts), shown=self.progress.plain_line(edge=number in (0, stage.epochs - 1)))
        self.log.record(
            repeat=run.place.repeat + 1, task=run.task.index + 1, stage=stage.name, epoch=number + 1,
            lr=epoch.lr, losses=epoch.losses, seconds=round(epoch.seconds, 3))

    def stage_ended(self, run: RunState, stage: Stage) -> None:
        assert self.progress
        if self.latest:
            self.progress.spend()  # on a checkpoint
        self.latest = None

    def task_ended(self, run: RunState, measures: Measures) -> None:
        repeat = run.place.repeat
        accuracy = run.results.latest(repeat, self.percent)
        self.log.line(f"{run.where()}  accuracy {accuracy}  {measures.text()}  trained {duration(run.seconds)}")
        self.log.record(repeat=repeat + 1, task=run.task.index + 1, top_k=self.top_k, **run.results.record(repeat))

    def run_ended(self, run: RunState) -> None:
        self.close()

    def close(self) -> None:
        if self.progress:
            self.progress.close()
