"""What runs have recorded and measured. Runs that differ in nothing but their seed are repeats: one Run."""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dataloaders.datasets import DATASETS
from dataloaders.tasks import split_classes
from utils.errors import UserError
from utils.files import read_yaml
from utils.settings import NOT_IN_RESULTS

# {history: its file}; each is [after task, repeat], pt.yaml's [on task, after task, repeat].
PARTS = {
    "accuracy": "results-acc/global.yaml", "accuracy over images": "results-acc/over-images.yaml",
    "matrix": "results-acc/pt.yaml", "seconds": "results-time/global.yaml",
    "memory": "results-mem/global.yaml",
}
SPLIT = ("first_split_size", "other_split_size", "max_task", "task_sizes")
# Repeats of one run may differ in these. The number of threads changes the last digits alone.
REPEATS_DIFFER = ("seed", "threads", *NOT_IN_RESULTS)


class Stat(NamedTuple):
    """Mean over repeats, the sample's (n-1) and the population's (n) deviation, and the number of repeats."""

    mean: float = nan
    sample: float = nan
    population: float = nan
    count: int = 0

    @classmethod
    def of(cls, values: Iterable[float]) -> "Stat":
        """Statistics of the finite values; a repeat that has not finished is NaN."""
        known = [float(value) for value in values if isfinite(value)]
        if len(known) < 2:
            return cls(*known, count=len(known))
        return cls(float(np.mean(known)), float(np.std(known, ddof=1)), float(np.std(known)), len(known))


@dataclass(eq=False)
class Run:
    """One or more folders whose runs are repeats of one another.

    Attributes:
        settings: of the first folder.
        compared: the settings that repeats share, apart from the split.
        sizes: the number of classes of each task that is learned.
        top_k: an image counts as recognised if its class is among this many likeliest.
        repeats: {seed: {part: history}}, NaN if not measured.
    """

    names: list[str]
    folders: list[Path]
    settings: dict[str, Any]
    compared: dict[str, Any]
    sizes: tuple[int, ...]
    top_k: int
    repeats: dict[int, dict[str, np.ndarray]]

    @property
    def name(self) -> str:
        """As a shell abbreviates several: abd/seed-{0,1,2}."""
        start = len(os.path.commonprefix(self.names))
        ends = ",".join(name[start:] for name in self.names)
        return f"{self.names[0][:start]}{{{ends}}}" if len(self.names) > 1 else self.names[0]

    @property
    def kind(self) -> str:
        return accuracy_kind(self.top_k, self.settings["validation"])

    @property
    def done(self) -> list[int]:
        """The number of finished tasks of each repeat."""
        return np.isfinite(self.history("accuracy")).sum(0).tolist()

    def history(self, part: str) -> np.ndarray:
        """A history with all repeats, which are last."""
        return np.stack([histories[part] for histories in self.repeats.values()], axis=-1)

    def curve(self, part: str) -> list[Stat]:
        """The accuracy after each task over finished repeats or, if there are none, over those under way."""
        history = self.history(part)
        finished = history[:, np.isfinite(history[-1])]
        return [Stat.of(row) for row in (finished if finished.size else history)]

    def measures(self) -> dict[str, Stat]:
        """Measures over finished repeats; docs/run-folder.md ("Measures") defines them."""
        accuracy, images, matrix, seconds, memory = map(self.history, PARTS)
        before, last = matrix[:-1, :-1], matrix[:-1, -1]  # of all tasks but the last
        each = {
            "final": accuracy[-1], "average": accuracy.mean(0),
            "final over images": images[-1], "average over images": images.mean(0),
            "forgetting": (before.max(1) - last).mean(0) if len(before) else (),
            "backward transfer": (last - before.diagonal().T).mean(0) if len(before) else (),
            "seconds": seconds.sum(0), "stored values": memory[-1]}
        return {name: Stat.of(values) for name, values in each.items()}

    def join(self, other: "Run", warnings: list[str]) -> None:
        """Add repeats in another folder; of a seed that is there twice, the one that came furthest counts."""
        self.names += other.names
        self.folders += other.folders
        for seed, theirs in other.repeats.items():
            done, more = (np.isfinite(each["accuracy"]).sum() for each in (self.repeats.get(seed, theirs), theirs))
            if seed in self.repeats and done and more:
                warnings.append(f"{self.name}: seed {seed} is there twice; the run that came furthest counts")
            if seed not in self.repeats or more > done:
                self.repeats[seed] = theirs


def accuracy_kind(top_k: int, validation: bool) -> str:
    return f"top-{top_k} validation accuracy" if validation else f"top-{top_k} accuracy"


def task_sizes(settings: dict[str, Any]) -> tuple[int, ...]:
    """The number of classes of each task that a run learns."""
    classes = len(settings["imagenet_classes"]) or DATASETS[settings["dataset"]].classes
    return tuple(len(task) for task in split_classes(classes, *(settings[name] for name in SPLIT)))


# Reading


def is_run(folder: Path) -> bool:
    return (folder / "args.yaml").is_file()


def names_of(folders: Sequence[Path]) -> list[str]:
    """The folders' paths from the deepest folder that holds them all."""
    paths = [os.path.abspath(folder) for folder in folders]
    common = os.path.commonpath([os.path.dirname(path) for path in paths])
    return [os.path.relpath(path, common) for path in paths]


def read_history(path: Path, dimensions: int) -> tuple[np.ndarray, int]:
    """``history`` and ``top_k`` of a results file."""
    content = read_yaml(path)
    history = np.array(content["history"], dtype=float)
    if history.ndim != dimensions:
        raise ValueError(f"a history of {history.ndim} dimensions, not {dimensions}")
    return history, int(content.get("top_k", 1))


def read_run(folder: Path, name: str) -> Run:
    """Read a run, under way or finished. Raises UserError if a file of it cannot be read."""
    path = folder / "args.yaml"
    try:
        settings = read_yaml(path)
        # Without --load_any, a first task that was taken over is the one that the run would have learned.
        apart = (*REPEATS_DIFFER, *SPLIT, *["load_model_dir"] * (not settings["load_any"]))
        compared = {name: value for name, value in settings.items() if name not in apart}
        sizes, top_k, count = task_sizes(settings), 1, settings["repeat"]
        repeats: dict[int, dict[str, np.ndarray]] = {}
        for part, file in PARTS.items():
            shape, path = [len(sizes)] * (1 + (part == "matrix")), folder / file
            history, top = read_history(path, len(shape) + 1) if path.exists() else (np.empty((*shape, 0)), 1)
            top_k, count = max(top_k, top), max(count, history.shape[-1])
            for repeat in range(count):
                done = repeat < history.shape[-1]
                values = np.array(history[..., repeat] if done else np.full(shape, nan)).reshape(shape)
                repeats.setdefault(settings["seed"] + repeat, {})[part] = values
        return Run([name], [folder], settings, compared, sizes, top_k, repeats)
    except (LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: cannot be read as part of a run of this code ({type(error).__name__}: {error})") from error


def read_runs(folders: Sequence[Path], names: Sequence[str], warnings: list[str]) -> list[Run]:
    """The runs in folders, repeats joined. A run that cannot be read is a line in ``warnings``."""
    runs: dict[str, Run] = {}
    for folder, name in zip(folders, names):
        try:
            run = read_run(folder, name)
        except UserError as error:
            warnings.append(str(error))
            continue
        first = runs.setdefault(json.dumps([run.compared, run.sizes, run.top_k], sort_keys=True, default=str), run)
        if first is not run:
            first.join(run, warnings)
    return list(runs.values())
