"""What a run says while it trains: a line per epoch and task, a progress bar with the time left."""

import math
import time
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
    """The time left, from the seconds per epoch that this process has measured for each kind of stage: its
    name, and whether it belongs to a first task."""

    def __init__(self) -> None:
        self.seconds: dict[tuple[str, bool], float] = {}  # per epoch
        self.plans = {first: [(("unknown", first), 1.0)] for first in (True, False)}  # epochs of each stage

    def begin_task(self, first: bool, stages: Sequence[Stage]) -> None:
        self.plans[first] = [((stage.name, first), stage.epochs) for stage in stages]

    def end_epoch(self, kind: tuple[str, bool], seconds: float) -> None:
        self.seconds[kind] = (self.seconds.get(kind, seconds) + seconds) / 2  # a pause is soon forgotten

    def left(self, run: RunState, stage: Stage, done: float, under_way: float = 0.0) -> str:
        """Such as "4 min left in this task", of the widest scope whose stages have all been timed; or "".

        Args:
            done: epochs of the stage that are done; the one under way counts as a part.
            under_way: seconds since that one began.
        """
        place, first, later = run.place, run.place.task == 0, len(run.tasks) - 1
        repeats = run.settings.repeat - place.repeat - 1
        here = [((stage.name, first), stage.epochs - done)]
        task = here + self.plans[first][place.stage + 1 :]
        first_tasks = [] if run.settings.load_model_dir else repeats * self.plans[True]
        whole = task + first_tasks + (later - place.task + repeats * later) * self.plans[False]
        seconds = self.seconds if done % 1 == 0 else {here[0][0]: under_way / (done % 1), **self.seconds}
        for scope, stages in (("", whole), (" in this task", task), (" in this stage", here)):
            if all(kind in seconds for kind, _ in stages):
                return f"{duration(sum(seconds[kind] * epochs for kind, epochs in stages))} left{scope}"
        return ""


class Journal(Listener):
    """Writes the log and shows the progress bar.

    Args:
        notes: lines about the folder and the data, said once.
    """

    stage: Stage

    def __init__(self, log: Log, notes: Sequence[str] = ()):
        self.log = log
        self.notes = list(notes)
        self.time = TimeLeft()
        self.bar = tqdm(total=1.0, bar_format="{percentage:3.0f}% {bar:10} {desc}", disable=None,
                        leave=False, dynamic_ncols=True)  # None: disabled if there is no terminal
        self.said: set[str] = set()
        self.latest: Epoch | None = None
        self.epoch = self.steps = 0  # of the stage; of the epoch
        self.began = 0.0  # the epoch
        self.drawn = self.logged = -math.inf

    def repeat_began(self, run: RunState) -> None:
        place, settings = run.place, run.settings
        text = f"{settings.learner_name}, {len(run.tasks)} task{'s' * (len(run.tasks) > 1)}, on {run.device}"
        if run.resumed:
            text = f"task {place.task + 1}, stage {place.stage + 1}, {place.epoch} epochs done"
        self.log.line(f"{'resuming: ' * run.resumed}repeat {place.repeat + 1}/{settings.repeat}: {text}")
        if settings.validation:
            self.notes.append("--validation: every accuracy is on held-out training images, not the test set")
        if count := settings.images_per_class:
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
        self.stage, self.epoch, self.steps, self.began = stage, epoch, 0, time.monotonic()
        self.draw(run)

    def step_taken(self, run: RunState) -> None:
        self.steps += 1
        if time.monotonic() - self.drawn > 0.5:
            self.draw(run)

    def draw(self, run: RunState) -> None:
        """Update the bar. The time left comes first, where a narrow terminal does not cut it off."""
        if self.bar.disable:
            return
        self.drawn = time.monotonic()
        done = self.epoch + self.steps / max(1, self.stage.batches.steps(self.epoch))
        parts = [self.time.left(run, self.stage, done, self.drawn - self.began),
                 run.heading(self.stage, self.epoch)]
        if run.results.matrix[run.place.repeat :]:
            parts.append(f"accuracy {run.results.latest(run.place.repeat, percent(run.settings))}")
        if self.latest and self.latest.stage is self.stage:
            parts += show_losses(self.latest.losses)
        self.bar.n = done / self.stage.epochs
        self.bar.set_description_str("  ".join(part for part in parts if part))

    def epoch_ended(self, run: RunState, epoch: Epoch) -> None:
        self.latest, stage, number, now = epoch, epoch.stage, epoch.number, time.monotonic()
        self.time.end_epoch((stage.name, run.place.task == 0), epoch.seconds)
        left = self.time.left(run, stage, number + 1)
        line = "  ".join([run.heading(stage, number), f"lr {epoch.lr:.3g}", *show_losses(epoch.losses),
                          f"{epoch.seconds:.1f} s", *([f"({left})"] if left else [])])
        # Without a terminal, the first and last line of a stage are shown, and one every PACE seconds.
        edge = number in (0, stage.epochs - 1)
        shown = bool(self.bar.disable) and (edge or now - self.logged >= PACE)
        self.logged = now if shown else self.logged
        self.log.line(line, shown)
        self.log.record(
            repeat=run.place.repeat + 1, task=run.task.index + 1, stage=stage.name, epoch=number + 1,
            lr=epoch.lr, losses=epoch.losses, seconds=round(epoch.seconds, 3))

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

    def close(self) -> None:
        self.bar.close()


def show_losses(losses: dict[str, float]) -> list[str]:
    return [f"{name} {value:.4f}" for name, value in losses.items()]
