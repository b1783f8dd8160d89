"""What runs have recorded and measured. Runs that differ in nothing but their seed are repeats: one Run."""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from learners import LEARNERS
from utils.errors import UserError
from utils.files import read_yaml
from utils.reports.places import show_setting, task_sizes
from utils.settings import NOT_IN_RESULTS, Settings
from utils.training.first_task import differences

# {results: their file}; a history is [after task, repeat], except pt.yaml's [on task, after task, repeat].
PARTS = {
    "accuracy": "results-acc/global.yaml", "over_images": "results-acc/over-images.yaml",
    "matrix": "results-acc/pt.yaml", "seconds": "results-time/global.yaml",
    "memory": "results-mem/global.yaml",
}
MEASURES = (
    "accuracy", "accuracy_over_images", "average_incremental_accuracy",
    "average_incremental_accuracy_over_images",
    "forgetting", "normalised_accuracy", "seconds", "stored_values",
)
# Repeats of one run may differ in these. The number of threads changes the last digits alone.
REPEATS_DIFFER = ("seed", "threads", *NOT_IN_RESULTS)


class Stat(NamedTuple):
    """Mean over repeats, the sample's (n-1) and the population's (n) deviation; NaN for one repeat."""

    mean: float = nan
    sample: float = nan
    population: float = nan

    @classmethod
    def of(cls, values: Iterable[float]) -> "Stat":
        """Statistics of the finite values; a repeat that has not finished is NaN."""
        known = [float(value) for value in values if isfinite(value)]
        if len(known) < 2:
            return cls(*known)
        return cls(float(np.mean(known)), float(np.std(known, ddof=1)), float(np.std(known)))


@dataclass(eq=False)
class Run:
    """One or more folders whose runs are repeats of one another.

    Attributes:
        settings: of the first folder.
        compared: the settings that repeats share. ``load_model_dir`` is "" unless the run took over a first
            task that it would not have learned itself; then it tells which.
        seeds: of each repeat.
        results: {part: history}, the repeats last; NaN if not measured.
        top_k: an image counts as recognised if its class is among this many likeliest.
    """

    name: str
    folders: list[Path]
    settings: dict[str, Any]
    compared: dict[str, Any]
    seeds: list[int]
    results: dict[str, np.ndarray]
    top_k: int = 1

    @property
    def kind(self) -> str:
        return accuracy_kind(self.top_k, self.settings["validation"])

    @property
    def accuracy(self) -> np.ndarray:
        return self.results["accuracy"]

    @property
    def finished(self) -> int:
        """The number of finished repeats."""
        return int(np.isfinite(self.accuracy[-1]).sum())

    @property
    def unfinished(self) -> list[str]:
        """The task under way in each repeat that has not finished."""
        done = np.isfinite(self.accuracy).sum(0).tolist()
        return [f"task {count + 1}/{len(self.accuracy)}" for count in done if count < len(self.accuracy)]

    @property
    def uneven(self) -> bool:
        """Whether the accuracy over images differs from the mean over tasks."""
        return bool((np.abs(self.accuracy - self.results["over_images"]) > 1e-6).any())

    def measures(self, joint: "Run | None" = None) -> dict[str, Stat]:
        """The MEASURES over finished repeats.

        accuracy, accuracy_over_images: after the last task, the mean over tasks or over all test images.
        average_incremental_accuracy(_over_images): the mean of either over all tasks learned.
        forgetting: the mean over all tasks but the last of the best earlier accuracy on the task less the
            accuracy after the last task (Chaudhry et al. 2018).
        normalised_accuracy: the mean over tasks of accuracy over the ``joint`` model's with the same seed.
        seconds: of training per repeat. stored_values: parameters and coreset after the last task.
        """
        images, matrix = self.results["over_images"], self.results["matrix"]
        each = {
            "accuracy": self.accuracy[-1], "accuracy_over_images": images[-1],
            "average_incremental_accuracy": self.accuracy.mean(0),
            "average_incremental_accuracy_over_images": images.mean(0),
            "seconds": self.results["seconds"].sum(0), "stored_values": self.results["memory"][-1],
        }
        if len(matrix) > 1:
            each["forgetting"] = (np.fmax.reduce(matrix[:-1, :-1], axis=1) - matrix[:-1, -1]).mean(0)
        if joint:
            both = [seed for seed in self.seeds if seed in joint.seeds]
            mine, theirs = (
                run.accuracy[:, [run.seeds.index(seed) for seed in both]] for run in (self, joint))
            with np.errstate(divide="ignore", invalid="ignore"):
                each["normalised_accuracy"] = (mine / theirs).mean(0)
        return {name: Stat.of(each.get(name, ())) for name in MEASURES}


def accuracy_kind(top_k: int, validation: bool) -> str:
    return f"top-{top_k} validation accuracy" if validation else f"top-{top_k} accuracy"


# Reading


def is_run(folder: Path) -> bool:
    return (folder / "args.yaml").is_file()


def runs_under(folder: Path) -> list[Path]:
    """The runs in a folder at any depth, including itself."""
    return [path.parent for path in sorted(folder.rglob("args.yaml"))]


def names_of(folders: Sequence[Path]) -> list[str]:
    """The folders' names or, if two are the same, the paths as given."""
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else list(map(str, folders))


def read_settings(folder: Path) -> dict[str, Any]:
    """The settings in args.yaml, with the default of each setting that is newer."""
    recorded = read_yaml(folder / "args.yaml")
    learner = LEARNERS.get(recorded["learner_name"])
    return {**vars((learner.Settings if learner else Settings)()), **recorded}


def compared_settings(folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """See Run, ``compared``."""
    compared = {name: value for name, value in settings.items() if name not in REPEATS_DIFFER}
    if source := settings["load_model_dir"]:
        # Both runs may have been moved together.
        path = folder / os.path.relpath(source, settings["log_dir"])
        try:
            theirs = read_settings(path)
            same = not differences(theirs, settings)
            if same and not settings["load_any"]:
                compared["load_model_dir"] = ""
            elif path.resolve() != folder.resolve():
                compared["load_model_dir"] = compared_settings(path, theirs)
        except (UserError, KeyError):
            pass  # the source is gone: the recorded path tells
    return compared


def read_history(path: Path, dimensions: int) -> tuple[np.ndarray, int]:
    """``history`` and ``top_k`` of a results file."""
    content = read_yaml(path)
    history = np.array(content["history"], dtype=float)
    if history.ndim != dimensions:
        raise ValueError(f"{path} has a history of {history.ndim} dimensions, not {dimensions}")
    return history, int(content.get("top_k", 1))


def read_run(folder: Path, name: str) -> Run:
    """Read a run, under way or finished. Raises UserError if a file of it cannot be read."""
    path = folder / "args.yaml"
    try:
        settings = read_settings(folder)
        tasks = len(task_sizes(settings))
        tasks = min(tasks, settings["max_task"]) if settings["max_task"] > 0 else tasks
        found, top_k = {}, 1
        for part, file in PARTS.items():
            if (path := folder / file).exists():
                found[part], top_k_here = read_history(path, 3 if part == "matrix" else 2)
                top_k = max(top_k, top_k_here)
        accuracy = found.get("accuracy", np.empty((tasks, 0)))
        begun = accuracy.shape[1]
        # A repeat begins when the one before ends.
        count = begun + (begun < settings["repeat"] and bool(np.isfinite(accuracy[-1]).all()))
        results = {}
        for part, file in PARTS.items():
            path = folder / file
            results[part] = np.full((tasks, tasks, count) if part == "matrix" else (tasks, count), nan)
            if part in found:
                if found[part].shape != results[part][..., :begun].shape:  # NumPy would spread a single row
                    raise UserError(f"{path}: does not hold {tasks} tasks and {begun} repeats as the run")
                results[part][..., :begun] = found[part]
        seeds = [settings["seed"] + repeat for repeat in range(count)]
        return Run(name, [folder], settings, compared_settings(folder, settings), seeds, results, top_k)
    except (UserError, LookupError, TypeError, ValueError) as error:
        told = f"{path}: cannot be read as part of a run of this code ({type(error).__name__}: {error})"
        raise error if isinstance(error, UserError) else UserError(told) from error


def read_runs(folders: Sequence[Path], names: Sequence[str], warnings: list[str]) -> list[Run]:
    """The runs in folders, repeats joined. A run that cannot be read is a line in ``warnings``."""
    groups: dict[str, list[Run]] = {}
    for folder, name in zip(folders, names):
        try:
            run = read_run(folder, name)
            key = json.dumps([run.compared, run.top_k], sort_keys=True, default=str)
            groups.setdefault(key, []).append(run)
        except UserError as error:
            warnings.append(str(error))
    return [joined(group, warnings) if len(group) > 1 else group[0] for group in groups.values()]


def joined(runs: Sequence[Run], warnings: list[str]) -> Run:
    """Repeats in several folders as one run; of a seed that is there twice, the one that came furthest."""
    each = [
        (seed, -int(np.isfinite(run.accuracy[:, repeat]).sum()), place, repeat)
        for place, run in enumerate(runs) for repeat, seed in enumerate(run.seeds)]
    chosen: dict[int, tuple[Run, int]] = {}
    for seed, undone, place, repeat in sorted(each):
        kept, _ = chosen.setdefault(seed, (runs[place], repeat))
        if kept is not runs[place] and undone:
            left = runs[place].name
            warnings.append(f"seed {seed} is there twice: {kept.name} counts, {left} does not")
    results = {
        part: np.stack([run.results[part][..., repeat] for run, repeat in chosen.values()], axis=-1)
        for part in PARTS}
    names = [run.name for run in runs]
    name = ", ".join(names if len(names) <= 3 else [names[0], "…", names[-1]])
    folders = [folder for run in runs for folder in run.folders]
    return Run(name, folders, runs[0].settings, runs[0].compared, list(chosen), results, runs[0].top_k)


def differing(runs: Sequence[Run]) -> list[str]:
    """The settings in which runs differ."""
    names = dict.fromkeys(name for run in runs for name in run.compared)
    first = runs[0].compared if runs else {}
    return [name for name in names if any(run.compared.get(name) != first.get(name) for run in runs)]


def value_of(run: Run, name: str) -> str:
    """A setting of a run as tables show it; "" for one that its learner lacks."""
    if name == "load_model_dir" and not run.compared[name]:
        return ""
    return show_setting(run.settings.get(name, ""))
