"""What a run's folder holds for the tables: its settings beside the published ones, and its results."""

import functools
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dataloaders.orders import order_name
from dataloaders.tasks import split_classes
from learners.published import Method
from utils.errors import UserError
from utils.reports.histories import differ, finished, read_history, read_matrix, unfinished
from utils.reports.paper import CLASSES, HALF_FIRST, LENGTHS, PAPER, SPLITS, STUDIES, TABLES, UB, Study
from utils.training.checkpoint import PARALLEL
from utils.training.first_task import differences
from utils.training.metrics import mean_std
from utils.training.recorded import Code, Recorded, read_recorded

# {(study, learner, whether it has a coreset): its line}
METHODS = {
    (STUDIES[number], method.learner_name, method.memory > 0): method
    for number, (_, methods) in TABLES.items() for method in methods if method is not UB}
MEASURES = (
    "accuracy", "accuracy_over_images", "average_incremental_accuracy", "average_incremental_accuracy_over_images", "forgetting",
    "normalised_accuracy", "seconds", "stored_values")
WHOLE_NUMBERS = ("memory", "first_split_size", "other_split_size", "repeat", "max_task")
LENGTH_SETTINGS = ("schedule", "power_iters")
PUBLISHED = PAPER.name
UNKNOWN = (math.nan, math.nan)


def runs_under(folder: Path) -> list[Path]:
    """The runs in a folder at any depth, itself included; without a run's repeats that are under way side by side."""
    runs = [path.parent for path in sorted(folder.rglob("args.yaml"))]
    return [run for run in runs if run.parent.name != PARALLEL or run.parent.parent not in runs]


def run_names(runs: list[Path]) -> list[str]:
    """What tells runs apart that stand side by side: their folders' names or, where two are the same, the paths as given."""
    names = [run.resolve().name for run in runs]
    return names if len(set(names)) == len(names) else list(map(str, runs))


@dataclass(eq=False)
class Run:
    """A run of one of the methods of the tables.

    Attributes:
        name: its folder, seen from the one that was searched.
        study: whose tables it belongs into.
        protocol: where it departs from the study's protocol, as "setting value".
        own: where it departs from its method's own published settings.
        tasks: its column, the tasks of its split; 1 for UB on all classes at once.
        joint: every task has its joint model, trained on all classes so far (``--oracle_flag``).
        repeat: how many repeats are wanted.
        accuracy: [after task, repeat], over all test images where the study's is.
        matrix: [after task, on task, repeat]; None where it is missing, as with the next two.
        seconds, memory: [task, repeat].
        code: that computed it. Of the published code, seconds and memory mean other things and are left out.
        over_images: [after task, repeat] accuracy over all test images of the classes seen; None of runs from before it was measured.
        times_shorter: than published, its schedule and dreaming (LENGTHS), where nothing else departs; those are not in protocol and own then.
    """

    name: str
    method: Method
    protocol: tuple[str, ...]
    own: tuple[str, ...]
    tasks: int
    joint: bool
    repeat: int
    accuracy: np.ndarray
    matrix: np.ndarray | None
    seconds: np.ndarray | None
    memory: np.ndarray | None
    code: Code
    over_images: np.ndarray | None = None
    study: Study = PAPER
    times_shorter: int = 1

    @property
    def uneven(self) -> bool:
        """Whether the accuracy over images is another than the mean over tasks."""
        return self.over_images is not None and differ(self.accuracy, self.over_images)

    @property
    def label(self) -> str:
        """The protocol, as the tables name it."""
        if not self.protocol and not self.own:
            return self.study.name if self.times_shorter == 1 else self.study.shortened(self.times_shorter)
        changed = f"scaled down or changed: {', '.join(self.protocol) or 'settings of methods'}"
        return changed if self.study is PAPER else f"{self.study.name}, {changed}"

    @property
    def finished(self) -> int:
        return finished(self.accuracy)

    @property
    def unfinished(self) -> list[str]:
        return unfinished(self.accuracy, self.repeat)

    @property
    def splits(self) -> tuple[int, ...]:
        """The columns it belongs to."""
        return SPLITS if self.tasks == 1 else (self.tasks,)

    def measures(self, joint: "Run | None") -> dict[str, tuple[float, float]]:
        """(mean, std) of the MEASURES over finished repeats; NaN where unknown.

        accuracy: after the last task, the mean over tasks. accuracy_over_images: over all test images.
        average_incremental_accuracy, average_incremental_accuracy_over_images: mean over tasks of either after each.
        forgetting: mean over all tasks but the last of the best accuracy on it at any earlier time less that after the
            last task (Chaudhry et al. 2018).
        normalised_accuracy: mean over tasks of the accuracy after each over the joint model's of the same repeat.
        seconds: of training a repeat.
        stored_values: parameters and coreset after the last task.
        """
        each = {"accuracy": self.accuracy[-1], "average_incremental_accuracy": self.accuracy.mean(0)}
        if self.over_images is not None:
            each |= {"accuracy_over_images": self.over_images[-1], "average_incremental_accuracy_over_images": self.over_images.mean(0)}
        if self.matrix is not None and len(self.matrix) > 1:
            best = np.fmax.reduce(self.matrix[:-1, :-1])  # passes over the NaN of times before the task
            each["forgetting"] = (best - self.matrix[-1, :-1]).mean(0)
        if joint and self.method is not UB:
            both = min(self.accuracy.shape[1], joint.accuracy.shape[1])
            with np.errstate(divide="ignore", invalid="ignore"):
                each["normalised_accuracy"] = (self.accuracy[:, :both] / joint.accuracy[:, :both]).mean(0)
        if self.seconds is not None:
            each["seconds"] = self.seconds.sum(0)
        if self.memory is not None:
            each["stored_values"] = self.memory[-1]
        # A repeat that has not finished has NaN in its sums and means, and is left out here.
        known = {name: [value for value in values.tolist() if math.isfinite(value)] for name, values in each.items()}
        return {name: mean_std(known.get(name, [])) for name in MEASURES}


def departures(settings: dict[str, Any], published: dict[str, Any]) -> tuple[str, ...]:
    """The settings that are not as published, as "setting value"."""
    shown = {name: settings[name] if isinstance(settings[name], list) else [settings[name]] for name in published}
    if shown.get("class_order"):
        shown["class_order"] = [order_name(shown["class_order"])]
    return tuple(f"{name} {' '.join(map(str, shown[name]))}" for name in published if settings[name] != published[name])


def same_first_task(source: Path, mine: Recorded) -> bool:
    """Whether the run in ``source`` learned its first task as this one would have."""
    try:
        return not mine.settings["load_any"] and not differences(read_recorded(source), mine)
    except UserError:
        return False


def own_departures(recorded: Recorded, own: dict[str, Any]) -> tuple[str, ...]:
    """Where a run departs from its method's own published settings, or from what the method is now."""
    changed = departures(recorded.settings, own)
    if recorded.code is Code.EARLIER and recorded.settings["learner_name"] == "AlwaysBeDreaming":
        changed += ("first task over the seen outputs alone",)
    return changed


def times_shorter(settings: dict[str, Any], published: dict[str, Any]) -> int:
    """How many times shorter the schedule and the dreaming are than published, both alike and one of LENGTHS; else 1."""

    def divided(length: Any, times: int) -> Any:
        return [number / times for number in length] if isinstance(length, list) else length / times

    lengths = {name: published[name] for name in LENGTH_SETTINGS if name in published}
    return next((times for times in LENGTHS if all(settings[name] == divided(length, times) for name, length in lengths.items())), 1)


def equal_tasks(settings: dict[str, Any], path: Path) -> int:
    """Into how many tasks of equal size a run splits all classes, where a column of the tables has so many, or 1; else 0."""
    sizes = settings["task_sizes"]
    if not isinstance(sizes, list) or any(type(size) is not int or size < 1 for size in sizes):
        raise UserError(f"{path}: task_sizes {sizes!r} is not a list of whole numbers above 0")
    if not sizes and min(settings["first_split_size"], settings["other_split_size"]) < 1:
        raise UserError(f"{path}: first_split_size and other_split_size must be above 0")
    ranges = split_classes(CLASSES, settings["first_split_size"], settings["other_split_size"], sizes=sizes)
    equal = {len(new) for new in ranges} == {CLASSES // len(ranges)} and ranges[-1].stop == CLASSES
    return len(ranges) if equal and len(ranges) in (1, *SPLITS) else 0


def half_first_column(settings: dict[str, Any]) -> tuple[Study, int] | None:
    """The study and the column of a run that learns half of its classes first; None where it is none."""
    for study in HALF_FIRST.values():
        if settings["dataset"] == study.protocol["dataset"]:
            given = settings["task_sizes"] or (settings["first_split_size"], settings["other_split_size"])
            for column, (first, other) in study.columns.items():
                if given in ((first, other), [first, *[other] * column]):
                    return study, column
    return None


def place_in_tables(settings: dict[str, Any], path: Path) -> tuple[Study, int, Method] | None:
    """Whose tables a run belongs into, its column and its line there; None where it has none.

    Raises UserError, naming ``path``, where its tasks are damaged.
    """
    study, tasks = half_first_column(settings) or (PAPER, equal_tasks(settings, path))
    method = METHODS.get((study, str(settings["learner_name"]), settings["memory"] > 0))
    if study is PAPER and settings["learner_name"] == UB.learner_name and not settings["memory"] and (settings["oracle_flag"] is True or tasks == 1):
        method = UB
    if settings["dataset"] != study.protocol["dataset"] or method is None or not tasks or (tasks == 1 and method is not UB):
        return None
    return study, tasks, method


def read_run(folder: Path, name: str, warnings: list[str]) -> Run | None:
    """The run in ``folder``; None where it has no place in the published tables. Results that cannot be read are missing
    and named in ``warnings``. Raises UserError where args.yaml cannot be read."""
    path, recorded = folder / "args.yaml", read_recorded(folder)
    settings = recorded.settings

    def need(*names: str) -> None:
        for name in names:
            if name not in settings:
                raise UserError(f"{path} lacks {name}; was it written to its end?")
            if name in WHOLE_NUMBERS and type(settings[name]) is not int:
                raise UserError(f"{path}: {name} {settings[name]!r} is not a whole number")

    need("dataset", "learner_name", "memory", "first_split_size", "other_split_size", "oracle_flag", "repeat")
    place = place_in_tables(settings, path)
    if place is None:
        return None
    study, tasks, method = place
    own = {"memory": method.memory, **method.settings}
    protocol = {name: value for name, value in study.protocol.items() if name not in own}
    need(*protocol, *own, "load_model_dir", "log_dir")
    changed, source = departures({**settings, "DW": recorded.weighs}, protocol), settings["load_model_dir"]
    # From the one run to the other as when they ran, wherever they lie now.
    if source and not same_first_task(folder / os.path.relpath(str(source), str(settings["log_dir"])), recorded):
        changed += (f"load_model_dir {source}" + " (load_any 1)" * bool(settings["load_any"]),)
    own_changed = own_departures(recorded, own)
    shorter = times_shorter(settings, {**protocol, **own})
    if shorter > 1 and all(departure.split(" ", 1)[0] in LENGTH_SETTINGS for departure in (*changed, *own_changed)):
        changed, own_changed = (), ()
    else:
        shorter = 1
    whole = tasks if study is PAPER else tasks + 1
    length = min(whole, settings["max_task"]) if settings["max_task"] > 0 else whole

    def history(part: str, read: Callable[[Path], np.ndarray] = read_history) -> np.ndarray | None:
        if not (folder / part).exists():
            return None
        try:
            values = read(folder / part)
            if any(size != length for size in values.shape[:-1]):
                raise UserError(f"{folder / part} is not about {length} tasks, as args.yaml is")
            return values
        except UserError as error:
            warnings.append(str(error))
            return None

    accuracy, over = history("results-acc/global.yaml"), history("results-acc/over-images.yaml")
    shown = over if study.over_images else accuracy
    matrix = history("results-acc/pt.yaml", functools.partial(read_matrix, code=recorded.code))
    seconds, memory = (None if recorded.code is Code.PUBLISHED else history(f"results-{part}/global.yaml") for part in ("time", "mem"))
    return Run(
        name=name, method=method, protocol=changed, own=own_changed, tasks=tasks, joint=settings["oracle_flag"] is True, repeat=settings["repeat"],
        accuracy=np.empty((length, 0)) if shown is None else shown, matrix=matrix, seconds=seconds, memory=memory, code=recorded.code,
        over_images=over, study=study, times_shorter=shorter)
