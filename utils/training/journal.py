"""What a run says while it trains: a line per epoch and task, a progress bar with the time left."""

import math
import sys
import time
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from learners import Stage
from utils.training.listeners import Epoch, Listener
from utils.training.log import Log, duration
from utils.training.measures import Measures
from utils.training.results import percent
from utils.training.state import RunState

PACE = 10.0  # seconds between two plain lines of one stage, where there is no terminal to update
RECENT = 0.5  # weight of past epochs in a stage's seconds per epoch: a pause or a busy hour is soon forgotten


class TimeLeft:
    """The time left, from what this process has measured: seconds per epoch of each kind of stage.

    Stages of one kind have the same name, and are both of a first task or both of a later one. The answer
    covers the whole run once each kind of stage has been timed, otherwise the current task, otherwise the
    current stage.
    """

    def __init__(self) -> None:
        self.seconds: dict[tuple[str, bool], float] = {}  # per epoch, by (stage, whether of the first task)
        self.epochs: dict[tuple[str, bool], int] = {}  # per task
        self.kind = ("", True)
        self.began = time.monotonic()

    def begin_task(self, first: bool, stages: Sequence[Stage]) -> None:
        self.epochs = {kind: epochs for kind, epochs in self.epochs.items() if kind[1] != first}
        self.epochs |= {(stage.name, first): stage.epochs for stage in stages}

    def begin_epoch(self, kind: tuple[str, bool]) -> None:
        self.kind, self.began = kind, time.monotonic()

    def end_epoch(self) -> None:
        seconds, past = time.monotonic() - self.began, self.seconds.get(self.kind)
        self.seconds[self.kind] = seconds if past is None else RECENT * past + (1 - RECENT) * seconds

    def left(self, run: RunState, stage: Stage, done: float) -> str:
        """Such as "4 min left in this stage"; "" before anything was measured.

        Args:
            done: epochs of the stage that are done; the one under way counts as a part.
        """
        first = run.place.task == 0
        rates = dict(self.seconds)
        if self.kind not in rates and done % 1:  # its first epoch is under way
            rates[self.kind] = (time.monotonic() - self.began) / (done % 1)
        if self.kind not in rates:
            return ""
        seconds = (stage.epochs - done) * rates[self.kind]
        later_stages = [kind for kind in self.epochs if kind[1] == first]
        later_stages = later_stages[later_stages.index(self.kind) + 1 :]
        if not all(kind in rates for kind in later_stages):
            if done == stage.epochs:
                return ""
            return f"{duration(seconds)} left in this stage"
        seconds += sum(self.epochs[kind] * rates[kind] for kind in later_stages)

        tasks, repeats = len(run.tasks), run.settings.repeat - run.place.repeat - 1
        # Tasks to come: first ones, and later ones.
        left = {True: repeats, False: tasks - 1 - run.place.task + repeats * (tasks - 1)}
        if run.settings.load_model_dir:
            left[True] = 0  # first tasks are taken over
        later_tasks = 0.0
        for of_first, count in left.items():
            kinds = [kind for kind in self.epochs if kind[1] == of_first]
            if not count:
                continue
            if not (kinds and all(kind in rates for kind in kinds)):
                return f"{duration(seconds)} left in this task"
            later_tasks += count * sum(self.epochs[kind] * rates[kind] for kind in kinds)
        return f"{duration(seconds + later_tasks)} left"


class Journal(Listener):
    """Writes the log and shows the progress bar.

    Args:
        notes: lines about the folder and the data, said once.
    """

    def __init__(self, log: Log, notes: Sequence[str] = ()):
        self.log = log
        self.notes = list(notes)
        self.time = TimeLeft()
        self.bar = tqdm(
            total=1.0, bar_format="{percentage:3.0f}% {bar:10} {desc}", disable=not on_terminal(sys.stderr),
            leave=False, dynamic_ncols=True)
        self.said: set[str] = set()
        self.latest: Epoch | None = None  # of the stage under way
        self.stage: Stage | None = None
        self.epoch = self.steps = 0  # of the stage; of the epoch
        self.drawn = self.logged = -math.inf

    def repeat_began(self, run: RunState) -> None:
        place, repeats = run.place, run.settings.repeat
        if run.resumed:
            here = f"task {place.task + 1}, stage {place.stage + 1}, {place.epoch} epochs done"
            if place.task == len(run.tasks):
                here = "all tasks done"
            self.log.line(f"resuming: repeat {place.repeat + 1}/{repeats}, {here}")
        else:
            tasks = f"{len(run.tasks)} task{'s' * (len(run.tasks) > 1)}"
            what = f"{run.settings.learner_name}, {tasks}, on {run.device}"
            self.log.line(f"repeat {place.repeat + 1}/{repeats}: {what}")
        notes, self.notes = list(self.notes), []
        if run.settings.validation:
            notes.append("--validation: every accuracy is on held-out training images, not on the test set")
        if count := run.settings.images_per_class:
            notes.append(f"--images_per_class {count}: a trial on the first images of each class alone")
        for note in notes:
            self.log.line(note)

    def stages_began(self, run: RunState, stages: list[Stage]) -> None:
        self.time.begin_task(run.place.task == 0, stages)
        for note in run.learner.notes(run.task):
            if note not in self.said:
                self.log.line(note)
                self.said.add(note)

    def epoch_began(self, run: RunState, stage: Stage, epoch: int) -> None:
        self.stage, self.epoch, self.steps = stage, epoch, 0
        self.time.begin_epoch((stage.name, run.place.task == 0))
        self.draw(run)

    def step_taken(self, run: RunState) -> None:
        self.steps += 1
        if time.monotonic() - self.drawn > 0.5:
            self.draw(run)

    def draw(self, run: RunState) -> None:
        """Update the bar. The time left comes early, where a narrow terminal does not cut it off."""
        if self.bar.disable or self.stage is None:
            return
        done = self.epoch + self.steps / max(1, self.stage.batches.steps(self.epoch))
        parts = [self.time.left(run, self.stage, done), run.heading(self.stage, self.epoch)]
        if run.results.matrix[run.place.repeat :]:
            parts.append(f"accuracy {run.results.latest(run.place.repeat, percent(run.settings))}")
        if self.latest:
            parts += show_losses(self.latest.losses)
        self.bar.n = done / self.stage.epochs
        self.bar.set_description_str("  ".join(part for part in parts if part))
        self.drawn = time.monotonic()

    def epoch_ended(self, run: RunState, epoch: Epoch) -> None:
        self.latest, stage, number = epoch, epoch.stage, epoch.number
        self.time.end_epoch()
        left = self.time.left(run, stage, number + 1)
        parts = [run.heading(stage, number), f"lr {epoch.lr:.3g}", *show_losses(epoch.losses)]
        line = "  ".join([*parts, f"{epoch.seconds:.1f} s", *([f"({left})"] if left else [])])
        self.log.line(line, shown=self.is_shown(number in (0, stage.epochs - 1)))
        self.log.record(
            repeat=run.place.repeat + 1, task=run.task.index + 1, stage=stage.name, epoch=number + 1,
            lr=epoch.lr, losses=epoch.losses, seconds=round(epoch.seconds, 3))

    def is_shown(self, edge: bool) -> bool:
        """Whether an epoch's line also goes to the screen: without a terminal, the first and last of a stage
        (``edge``) and one every PACE seconds."""
        now = time.monotonic()
        if not self.bar.disable or not edge and now - self.logged < PACE:
            return False
        self.logged = now
        return True

    def stage_ended(self, run: RunState, stage: Stage) -> None:
        self.latest = None

    def task_ended(self, run: RunState, measures: Measures) -> None:
        repeat = run.place.repeat
        accuracy = run.results.latest(repeat, percent(run.settings))
        trained = f"trained {duration(run.seconds)}"
        self.log.line(f"{run.where()}  accuracy {accuracy}  {measures.text()}  {trained}")
        record = {name: None if value != value else value for name, value in measures.record().items()}
        self.log.record(repeat=repeat + 1, task=run.task.index + 1, **run.results.notes, **record)

    def run_ended(self, run: RunState) -> None:
        self.close()

    def close(self) -> None:
        self.bar.close()


def on_terminal(stream: Any) -> bool:
    """Whether a stream shows on a terminal; what notebooks put in its place may not even have ``isatty``."""
    return bool(getattr(stream, "isatty", bool)())


def show_losses(losses: dict[str, float]) -> list[str]:
    return [f"{name} {value:.4f}" for name, value in losses.items()]
