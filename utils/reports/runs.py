"""What runs have recorded and measured. Runs that differ in nothing but their seed are repeats: one Run."""

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite, isnan, nan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dataloaders.tasks import task_ranges
from learners import LEARNERS
from utils.errors import UserError
from utils.files import read_yaml
from utils.reports.paper import METHODS
from utils.settings import NOT_IN_RESULTS, Settings
from utils.training.folder import is_run
from utils.training.results import backward_transfer, forgetting

# {history: its file}; each is [after task, repeat], pt.yaml's [on task, after task, repeat].
PARTS = {
    "accuracy": "results-acc/global.yaml", "accuracy over images": "results-acc/over-images.yaml",
    "matrix": "results-acc/pt.yaml", "seconds": "results-time/global.yaml",
    "memory": "results-mem/global.yaml"}
SPLIT = ("first_split_size", "other_split_size", "max_task", "task_sizes")  # compared as sizes of tasks
REPEATS_DIFFER = ("seed", "threads", *NOT_IN_RESULTS)  # threads change only the last digits


class Stat(NamedTuple):
    """Mean over repeats, and the sample's (n-1) and the population's (n) deviation; NaN if there is none."""

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

    def __str__(self) -> str:
        """Mean ± the sample's deviation."""
        return " ± ".join(f"{value:.1f}" for value in self[:2] if not isnan(value))


@dataclass(eq=False)
class Run:
    """One or more folders whose runs are repeats of one another.

    Attributes:
        settings: of the first folder.
        sizes: the number of classes of each task that is learned.
        seeds: of the repeats.
        history: as PARTS has them; NaN if not measured.
    """

    names: list[str]
    folders: list[Path]
    settings: dict[str, Any]
    sizes: tuple[int, ...]
    seeds: list[int]
    history: dict[str, np.ndarray]

    @property
    def name(self) -> str:
        """Names with shell braces: abd/seed-{0,1,2}."""
        start = os.path.commonprefix(self.names)
        return f"{start}{{{','.join(name.removeprefix(start) for name in self.names)}}}".removesuffix("{}")

    @property
    def method(self) -> str:
        """The published row of exactly this learner, with a coreset or not; otherwise the learner's name."""
        learner, coreset = self.settings["learner_name"], self.settings["memory"] > 0
        if learner == "NormalNN" and not coreset and (self.settings["oracle_flag"] or len(self.sizes) == 1):
            return "UB"
        for method in METHODS.values():
            if method.name != "UB" and (method.learner, method.memory > 0) == (learner, coreset):
                return method.name
        return learner + " (own class)" * (learner in METHODS) + " (coreset)" * coreset

    @cached_property
    def compared(self) -> dict[str, Any]:
        """The settings that repeats share, apart from the split. ``load_model_dir`` has no seed, and counts
        only with ``--load_any``: otherwise the first task is the one that the run would have learned."""
        source = re.sub(r"/?\bseed-\d+$", "", self.settings["load_model_dir"]) * self.settings["load_any"]
        compared = {**self.settings, "load_model_dir": source}
        return {name: value for name, value in compared.items() if name not in REPEATS_DIFFER + SPLIT}

    @cached_property
    def key(self) -> str:
        """Equal for repeats. It has the settings of the run that a first task was taken from with
        ``--load_any``, or that run's path if it is gone."""
        source, compared = Path(self.settings["load_model_dir"]), dict(self.compared)
        if self.settings["load_any"] and is_run(source):
            compared["load_model_dir"] = read_run(source, "").key
        return json.dumps([compared, self.sizes], sort_keys=True, default=str)

    @property
    def finished(self) -> int:
        return int(np.isfinite(self.history["accuracy"][-1]).sum())

    def curve(self, part: str) -> list[Stat]:
        """The accuracy after each task over finished repeats or, if there are none, over those under way."""
        history = self.history[part]
        finished = history[:, np.isfinite(history[-1])]
        return [Stat.of(row) for row in (finished if finished.size else history)]

    def measures(self) -> dict[str, Stat]:
        """Measures over finished repeats; docs/run-folder.md ("Tables") defines them."""
        accuracy, images, matrix, seconds, memory = (self.history[part] for part in PARTS)
        each = {
            "final": accuracy[-1], "final over images": images[-1],
            "average": accuracy.mean(0), "average over images": images.mean(0),
            "forgetting": forgetting(matrix), "backward transfer": backward_transfer(matrix),
            "seconds": seconds.sum(0), "stored values": memory[-1]}
        return {name: Stat.of(values) for name, values in each.items()}


def read_run(folder: Path, name: str) -> Run:
    """Read a run, under way or finished; settings that are newer than the run have their defaults. Raises
    what damaged files raise."""
    if not is_run(folder):
        raise UserError("args.yaml is damaged or another program's")
    recorded = read_yaml(folder / "args.yaml")
    learner = LEARNERS.get(recorded["learner_name"])
    settings = learner.Settings() if learner else Settings()
    vars(settings).update(recorded)
    sizes, history = tuple(map(len, task_ranges(settings))), {}
    for part, file in PARTS.items():
        shape, path = (len(sizes),) * (1 + (part == "matrix")), folder / file
        begun = np.array(read_yaml(path)["history"] if path.exists() else np.empty((*shape, 0)), float)
        planned = np.full((*shape, max(0, settings.repeat - begun.shape[-1])), nan)
        history[part] = np.concatenate([begun, planned], axis=-1)
    seeds = [settings.seed + repeat for repeat in range(history["accuracy"].shape[-1])]
    return Run([name], [folder], vars(settings), sizes, seeds, history)


def joined(runs: Sequence[Run], command: str) -> Run:
    """The run of all repeats. A seed that is there twice is a line on stderr, and counts once."""
    names, folders, seeds = ([item for run in runs for item in getattr(run, name)]
                             for name in ("names", "folders", "seeds"))
    history = {part: np.concatenate([run.history[part] for run in runs], axis=-1) for part in PARTS}
    done = np.isfinite(history["accuracy"]).sum(0).tolist()
    furthest = {seeds[column]: column for column in np.argsort(done, kind="stable")}
    run = Run(names, folders, runs[0].settings, runs[0].sizes, [*furthest], {
        part: values[..., [*furthest.values()]] for part, values in history.items()})
    for seed, count in Counter(seed for seed, tasks in zip(seeds, done) if tasks).items():
        if count > 1:
            line = f"{run.name}: seed {seed} is there twice; the run that got further counts"
            print(f"{command}: {line}", file=sys.stderr)
    return run


def read_runs(folders: Sequence[Path], command: str) -> list[Run]:
    """The runs in folders, repeats joined, named by their paths from the deepest folder that holds them all.
    A folder that cannot be read and a seed that is there twice are lines of ``command`` on stderr."""
    common = os.path.commonpath([os.path.dirname(os.path.abspath(folder)) for folder in folders])
    groups: dict[str, list[Run]] = {}
    for folder in folders:
        try:
            run = read_run(folder, os.path.relpath(folder, common))
            groups.setdefault(run.key, []).append(run)
        except (UserError, LookupError, TypeError, ValueError) as error:
            reason = f"{type(error).__name__}: {error}"
            print(f"{command}: {folder}: left out, cannot be read ({reason})", file=sys.stderr)
    return [joined(runs, command) for runs in groups.values()]
