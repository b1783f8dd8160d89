"""Where runs stand: a table for each data set and split, rows in the papers' order beside published numbers."""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from learners import LEARNERS
from utils.reports.paper import METHODS, STUDIES, Number, Study
from utils.reports.runs import Run, task_sizes
from utils.settings import Settings
from utils.training.folder import shown

# Columns of any table in which they differ; all others only if runs of the same method differ in them.
SHARED = {"model_type", "model_name"} | {
    setting.name for setting in dataclasses.fields(Settings)
    if setting.metadata["group"] in ("data", "optimisation", "run") and "load_" not in setting.name}


@dataclass(eq=False)
class Row:
    """A run and its published number, if there is one.

    Attributes:
        departures: where the run departs from the number's settings, as "setting value".
    """

    method: str
    run: Run
    number: Number | None
    departures: list[str]

    def setting(self, name: str) -> str:
        return shown(self.run.settings.get(name, ""))


class Table:
    """The runs of one data set, split and kind of accuracy, in the papers' order and then by name.

    Attributes:
        study: the publication that has the split.
        settings: those in which the runs differ.
        missing: the published rows that have no run.
    """

    def __init__(self, dataset: str, sizes: tuple[int, ...], kind: str, runs: Sequence[Run]):
        self.study, self.tasks, self.kind = place(dataset, sizes), len(sizes), kind
        self.missing = {name: row[sizes] for name, row in self.study.rows.items()} if self.study else {}
        self.rows = []
        for run in runs:
            name = method_of(run.settings)
            number = self.missing.get(name)
            changed = departures(self.study, name, run.settings) if self.study and number else []
            self.rows.append(Row(name, run, number, changed))
        order = {name: place for place, name in enumerate(METHODS)}
        self.rows.sort(key=lambda row: (order.get(row.method, len(order)), row.method))
        for row in self.rows:
            self.missing.pop(row.method, None)
        self.settings = differing(self.rows)
        each = [(size, len([*same])) for size, same in groupby(sizes)]
        split = " + ".join(f"{count} x {size}" if count > 1 else str(size) for size, count in each)
        self.name = f"{dataset}, {split} classes, {kind}"


def place(dataset: str, sizes: tuple[int, ...]) -> Study | None:
    """The published table of a data set and split."""
    found = (study for study in STUDIES if study.dataset == dataset and sizes in study.splits)
    return next(found, None)


def method_of(settings: dict[str, Any]) -> str:
    """The published row of exactly this learner, with a coreset or not; otherwise the learner's name."""
    learner, coreset = settings["learner_name"], settings["memory"] > 0
    if learner == "NormalNN" and not coreset and (settings["oracle_flag"] or len(task_sizes(settings)) == 1):
        return "UB"
    for method in METHODS.values():
        if method.name != "UB" and (method.learner, method.memory > 0) == (learner, coreset):
            return method.name
    return learner + " (own class)" * (learner in METHODS) + " (coreset)" * coreset


def departures(study: Study, name: str, settings: dict[str, Any]) -> list[str]:
    """Where settings depart from those of a published row."""
    method, read = METHODS[name], dict(settings)
    if method.learner in LEARNERS:
        read["DW"] = settings["DW"] and LEARNERS[method.learner].reads_DW(settings["memory"])
    read["oracle_flag"] = settings["oracle_flag"] and name != "UB"
    dreams = study.dreams if "deep_inv_params" in method.settings else {}
    published = {**study.protocol, "load_any": False, "memory": method.memory, **method.settings, **dreams}
    return [f"{setting} {shown(read.get(setting))}" for setting, value in published.items()
            if read.get(setting) != value]


def differing(rows: Sequence[Row]) -> list[str]:
    """The settings in which the runs of rows differ."""
    names = dict.fromkeys(name for row in rows for name in row.run.compared)
    return [
        name for name in names
        if any(one.run.compared.get(name) != other.run.compared.get(name) for one in rows for other in rows
               if name in SHARED or one.method == other.method)]


def tables_of(runs: Iterable[Run]) -> list[Table]:
    """The tables of runs. A run that learns all classes at once is in those of every split."""
    groups: dict[tuple[str, str], dict[tuple[int, ...], list[Run]]] = {}
    for run in runs:
        splits = groups.setdefault((run.settings["dataset"], run.kind), {})
        splits.setdefault(run.sizes, []).append(run)
    tables = []
    for (dataset, kind), splits in sorted(groups.items()):
        for sizes, group in sorted(splits.items()):
            at_once = splits.get((sum(sizes),), [])
            if group is not at_once:
                tables.append(Table(dataset, sizes, kind, at_once + group))
            elif not any(sum(other) == sum(sizes) for other in splits if other != sizes):
                tables.append(Table(dataset, sizes, kind, group))
    return tables
