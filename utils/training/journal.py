"""What a run says while it trains: a line per epoch and task, a progress bar with the time left."""

import math
import sys
import time
from collections import Counter
from collections.abc import Sequence

from tqdm import tqdm

from learners import Stage
from utils.training.listeners import Epoch, Listener
from utils.training.log import Log, duration
from utils.training.measures import Measures
from utils.training.results import percent
from utils.training.state import RunState

PACE = 10.0  # seconds between two plain lines of one stage if there is no terminal to update
LABELS = {
    "average_incremental_accuracy": "average incremental", "forgetting": "forgetting",
    "backward_transfer": "backward transfer", "task_incremental_accuracy": "task-incremental", "old": "old",
    "new": "new", "ncm": "nearest class mean"}


class TimeLeft:
    """The time left, from the seconds per epoch that this process has measured for each kind of stage. Stages
    of one kind have the same name and are both of a first task or both of a later one."""

    def __init__(self) -> None:
        self.seconds: dict[tuple[str, bool], float] = {}  # per epoch
        self.epochs: dict[bool, dict[tuple[str, bool], int]] = {True: {}, False: {}}  # per kind of task
        self.began = time.monotonic()

    def begin_task(self, first: bool, stages: Sequence[Stage]) -> None:
        self.epochs[first] = {(stage.name, first): stage.epochs for stage in stages}

    def end_epoch(self, kind: tuple[str, bool]) -> None:
        seconds = time.monotonic() - self.began
        self.seconds[kind] = (self.seconds.get(kind, seconds) + seconds) / 2  # a pause is soon forgotten

    def left(self, run: RunState, stage: Stage, done: float) -> str:
        """Such as "4 min left in this task", of the widest scope whose stages have all been timed; or "".

        Args:
            done: epochs of the stage that are done; the one under way counts as a part.
        """
        first = run.place.task == 0
        now = (stage.name, first)
        rates = dict(self.seconds)
        if now not in rates and done % 1:  # its first epoch is under way
            rates[now] = (time.monotonic() - self.began) / (done % 1)
        scope = Counter({now: stage.epochs - done})
        kinds = list(self.epochs[first])
        task = scope + Counter({kind: self.epochs[first][kind] for kind in kinds[kinds.index(now) + 1 :]})
        later, repeats = len(run.tasks) - 1, run.settings.repeat - run.place.repeat - 1
        whole = Counter(task)
        for of_first, count in (
                (True, 0 if run.settings.load_model_dir else repeats),
                (False, later - run.place.task + repeats * later)):
            known = self.epochs[of_first] or {("unknown", of_first): 1}
            whole += Counter({kind: count * epochs for kind, epochs in known.items()})
        for name, counts in (("", whole), (" in this task", task), (" in this stage", scope)):
            if all(kind in rates for kind in counts):
                return f"{duration(sum(rates[kind] * epochs for kind, epochs in counts.items()))} left{name}"
        return ""


class Journal(Listener):
    """Writes the log and shows the progress bar.

    Args:
        notes: lines about the folder and the data, said once.
    """

    def __init__(self, log: Log, notes: Sequence[str] = ()):
        self.log = log
        self.notes = list(notes)
        self.time = TimeLeft()
        terminal = getattr(sys.stderr, "isatty", bool)()  # a notebook's stream may not even have isatty
        self.bar = tqdm(total=1.0, bar_format="{percentage:3.0f}% {bar:10} {desc}", disable=not terminal,
                        leave=False, dynamic_ncols=True)
        self.said: set[str] = set()
        self.latest: Epoch | None = None  # of the stage under way
        self.stage: Stage | None = None
        self.epoch = self.steps = 0  # of the stage; of the epoch
        self.drawn = self.logged = -math.inf

    def repeat_began(self, run: RunState) -> None:
        place, tasks = run.place, len(run.tasks)
        here = f"repeat {place.repeat + 1}/{run.settings.repeat}"
        if run.resumed:
            at = f"task {place.task + 1}, stage {place.stage + 1}, {place.epoch} epochs done"
            self.log.line(f"resuming: {here}, {at if place.task < tasks else 'all tasks done'}")
        else:
            what = f"{run.settings.learner_name}, {tasks} task{'s' * (tasks > 1)}, on {run.device}"
            self.log.line(f"{here}: {what}")
        if run.settings.validation:
            self.notes.append("--validation: every accuracy is on held-out training images, not the test set")
        if count := run.settings.images_per_class:
            self.notes.append(f"--images_per_class {count}: a trial on the first images of each class alone")
        self.say(self.notes)

    def say(self, notes: Sequence[str]) -> None:
        """Write the lines that have not been said yet."""
        for note in notes:
            if note not in self.said:
                self.log.line(note)
                self.said.add(note)

    def stages_began(self, run: RunState, stages: list[Stage]) -> None:
        self.time.begin_task(run.place.task == 0, stages)
        self.say(run.learner.notes(run.task))

    def epoch_began(self, run: RunState, stage: Stage, epoch: int) -> None:
        self.stage, self.epoch, self.steps = stage, epoch, 0
        self.time.began = time.monotonic()
        self.draw(run)

    def step_taken(self, run: RunState) -> None:
        self.steps += 1
        if time.monotonic() - self.drawn > 0.5:
            self.draw(run)

    def draw(self, run: RunState) -> None:
        """Update the bar. The time left comes first, where a narrow terminal does not cut it off."""
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
        self.time.end_epoch((stage.name, run.place.task == 0))
        left = self.time.left(run, stage, number + 1)
        line = "  ".join([run.heading(stage, number), f"lr {epoch.lr:.3g}", *show_losses(epoch.losses),
                          f"{epoch.seconds:.1f} s", *([f"({left})"] if left else [])])
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
        repeat, so_far = run.place.repeat, run.results.so_far(run.place.repeat)
        parts = [f"accuracy {run.results.latest(repeat, percent(run.settings))}"]
        parts += [f"{LABELS[name]} {value:.1f}" for name, value in so_far.items() if value == value]
        by_task = " ".join(f"{value:.1f}" for value in measures.by_task)
        self.log.line("  ".join([run.where(), *parts, f"task by task: {by_task}",
                                 f"trained {duration(run.seconds)}"]))
        record = {name: None if value != value else value
                  for name, value in {**measures.record(), **so_far}.items()}
        self.log.record(repeat=repeat + 1, task=run.task.index + 1, **run.results.notes, **record)

    def run_ended(self, run: RunState) -> None:
        self.close()

    def close(self) -> None:
        self.bar.close()


def show_losses(losses: dict[str, float]) -> list[str]:
    return [f"{name} {value:.4f}" for name, value in losses.items()]
