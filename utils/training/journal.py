"""What a run says while it trains: a line per epoch and task, a progress bar with the time left."""

import math
import time
from collections.abc import Sequence

from tqdm import tqdm

from utils.training.listeners import Listener
from utils.training.log import Log, duration
from utils.training.results import percent
from utils.training.state import RunState

PACE = 10.0  # seconds between two plain lines of one stage if there is no terminal to update
LABELS = {
    "average_incremental_accuracy": "average incremental", "forgetting": "forgetting",
    "backward_transfer": "backward transfer", "task_incremental_accuracy": "task-incremental", "old": "old",
    "new": "new", "ncm": "nearest class mean"}


class TimeLeft:
    """The time left, from the seconds per epoch of each kind of stage: its name, and whether it belongs to a
    first task."""

    def __init__(self) -> None:
        self.seconds: dict[tuple[str, bool], float] = {}  # per epoch
        self.plans = {first: [(("unknown", first), 1.0)] for first in (True, False)}  # epochs of each stage

    def end_epoch(self, kind: tuple[str, bool], seconds: float) -> None:
        self.seconds[kind] = (self.seconds.get(kind, seconds) + seconds) / 2  # a pause is soon forgotten

    def left(self, run: RunState, done: float, under_way: float = 0.0) -> str:
        """Such as "4 min left in this task", for the widest scope whose stages have all been timed; or "".
        ``done`` counts epochs of the stage, the last one in part if it began ``under_way`` seconds ago."""
        place, first, later = run.place, run.place.task == 0, len(run.tasks) - 1
        repeats = run.settings.repeat - place.repeat - 1
        self.plans[first] = [((stage.name, first), stage.epochs) for stage in run.stages]
        here = [((run.stage.name, first), run.stage.epochs - done)]
        task = here + self.plans[first][place.stage + 1 :]
        first_tasks = [] if run.settings.load_model_dir else repeats * self.plans[True]
        whole = task + first_tasks + (later - place.task + repeats * later) * self.plans[False]
        seconds = self.seconds if done % 1 == 0 else {here[0][0]: under_way / (done % 1), **self.seconds}
        for scope, stages in (("", whole), (" in this task", task), (" in this stage", here)):
            if all(kind in seconds for kind, _ in stages):
                return f"{duration(sum(seconds[kind] * epochs for kind, epochs in stages))} left{scope}"
        return ""


class Journal(Listener):
    """Writes the log, which begins with some ``notes``, and shows the progress bar."""

    def __init__(self, log: Log, notes: Sequence[str] = ()):
        self.log = log
        self.notes = list(notes)
        self.time = TimeLeft()
        self.bar = tqdm(total=1.0, bar_format="{percentage:3.0f}% {bar:10} {desc}", disable=None,
                        leave=False, dynamic_ncols=True)  # None: disabled if there is no terminal
        self.said: set[str] = set()
        self.losses: list[str] = []  # of the stage's latest epoch
        self.steps, self.began = 0, 0.0  # of the epoch
        self.drawn = self.logged = -math.inf

    def repeat_began(self, run: RunState) -> None:
        place, settings = run.place, run.settings
        what = f"{settings.learner_name}, {len(run.tasks)} task{'s' * (len(run.tasks) > 1)}, on {run.device}"
        self.log.line(
            f"resuming: {place}" if run.resumed else f"repeat {place.repeat + 1}/{settings.repeat}: {what}")
        if settings.validation:
            self.notes.append("--validation: every accuracy is on held-out training images, not the test set")
        if count := settings.images_per_class:
            self.notes.append(f"--images_per_class {count}: a trial, on only the first images of each class")
        self.say(self.notes)

    def say(self, notes: Sequence[str]) -> None:
        for note in notes:
            if note not in self.said:
                self.log.line(note)
                self.said.add(note)

    def epoch_began(self, run: RunState) -> None:
        self.say(run.learner.notes(run.task))
        self.steps, self.began = 0, time.monotonic()
        self.losses = self.losses if run.place.epoch else []
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
        stage, epoch = run.stage, run.place.epoch
        done = epoch + self.steps / max(1, stage.batches.steps(epoch))
        parts = [self.time.left(run, done, self.drawn - self.began), run.heading()]
        if run.results.matrix[run.place.repeat :]:
            parts.append(f"accuracy {run.results.latest(run.place.repeat, percent(run.settings))}")
        self.bar.n = done / stage.epochs
        self.bar.set_description_str("  ".join(part for part in [*parts, *self.losses] if part))

    def epoch_ended(self, run: RunState, lr: float, losses: dict[str, float], seconds: float) -> None:
        stage, epoch, now = run.stage, run.place.epoch + 1, time.monotonic()
        self.time.end_epoch((stage.name, run.place.task == 0), seconds)
        self.losses = [f"{name} {value:.4f}" for name, value in losses.items()]
        left = self.time.left(run, epoch)
        parts = [run.heading(), f"lr {lr:.3g}", *self.losses, f"{seconds:.1f} s", f"({left})" * bool(left)]
        # Without a terminal, the first and last line of a stage are shown, and one every PACE seconds.
        shown = bool(self.bar.disable) and (epoch in (1, stage.epochs) or now - self.logged >= PACE)
        self.logged = now if shown else self.logged
        self.log.line("  ".join(part for part in parts if part), shown)
        self.log.record(
            repeat=run.place.repeat + 1, task=run.task.index + 1, stage=stage.name, epoch=epoch, lr=lr,
            losses=losses, seconds=round(seconds, 3))

    def task_ended(self, run: RunState) -> None:
        repeat = run.place.repeat
        record = {name: None if value != value else value  # JSON has no NaN
                  for name, value in run.results.records[repeat][-1].items()}
        self.log.record(repeat=repeat + 1, task=run.task.index + 1, **run.results.notes, **record)
        by_task = " ".join(f"{value:.1f}" for value in run.results.matrix[repeat][-1])
        self.log.line("  ".join([
            run.where(), f"accuracy {run.results.latest(repeat, percent(run.settings))}",
            *(f"{label} {record[name]:.1f}" for name, label in LABELS.items() if record[name] is not None),
            f"task by task: {by_task}", f"trained {duration(run.seconds)}"]))

    def close(self) -> None:
        self.bar.close()
