"""Which runs share a table, and where they depart from the settings of the published numbers."""

import dataclasses
from collections.abc import Iterable, Sequence
from itertools import groupby

from dataloaders.datasets import DATASETS
from learners import LEARNERS
from utils.reports.paper import METHODS, STUDIES, Study
from utils.reports.runs import Run, accuracy_kind
from utils.settings import Settings
from utils.training.folder import shown

# Settings are columns if the runs of one method differ in them; these, if any runs do.
SHARED = {"model_type", "model_name"} | {
    setting.name for setting in dataclasses.fields(Settings)
    if setting.metadata["group"] in ("data", "optimisation", "run") and not setting.name.startswith("load_")}
# A run with one of these is not what the names of its data set and method say: always a column.
MARKS = ("incomplete_data", "images_per_class", "imagenet_classes", "load_any")
# A run with one of these has it easier or harder than the others: never the best.
UNRANKED = ("incomplete_data", "images_per_class", "load_any")


class Table:
    """The runs of one data set, split and kind of accuracy.

    Attributes:
        over: " over images" if the published accuracies are, instead of means over tasks.
        numbers: those of the published rows.
        runs: in the papers' order, then by name.
        settings: the columns.
    """

    def __init__(self, dataset: str, kind: str, sizes: tuple[int, ...], runs: Sequence[Run]):
        each = [(size, len([*same])) for size, same in groupby(sizes)]
        split = " + ".join(f"{count} x {size}" if count > 1 else str(size) for size, count in each)
        self.name, self.tasks = f"{dataset}, {split} classes, {kind}", len(sizes)
        studies = (study for study in STUDIES if study.dataset == dataset and sizes in study.rows["ABD"])
        self.study: Study | None = next(studies, None)
        self.numbers = {name: row[sizes] for name, row in self.study.rows.items()} if self.study else {}
        self.over = " over images" if self.study and self.study.over_images else ""
        self.runs = sorted(runs, key=lambda run: ([*METHODS, run.method].index(run.method), run.method))
        self.settings = [
            name for name in dict.fromkeys(name for run in runs for name in run.compared)
            if name in MARKS and any(run.settings.get(name) for run in runs)
            or any(one.compared.get(name) != other.compared.get(name) for one in runs for other in runs
                   if name in SHARED or one.method == other.method)]

    def departures(self, run: Run) -> str:
        """Where a run departs from the settings of its published number."""
        if not self.study or run.method not in self.numbers:
            return ""
        method, read = METHODS[run.method], dict(run.settings)
        if method.learner in LEARNERS:
            read["DW"] = read["DW"] and LEARNERS[method.learner].reads_DW(read["memory"])
        read["oracle_flag"] = read["oracle_flag"] and run.method != "UB"
        dreams = self.study.dreams if "deep_inv_params" in method.settings else {}
        common = {**self.study.protocol, "load_any": False, "memory": method.memory}
        wanted = {**common, **method.settings, **dreams}
        other = [name for name, value in wanted.items() if read.get(name, value) != value]
        return ", ".join(f"{name} {shown(read[name])}" for name in other)

    def notes(self) -> list[str]:
        """What the published numbers are, and which runs are not to be compared with them."""
        departing: dict[str, list[str]] = {}
        for run in self.runs:
            departing.setdefault(self.departures(run), []).append(run.name)
        return [f"paper: {study.name}" for study in (self.study,) if study] + [
            f"not comparable with the paper's number (in parentheses): {', '.join(names)} with {text}"
            for text, names in departing.items() if text]


def tables_of(runs: Iterable[Run]) -> list[Table]:
    """The tables of runs. An upper bound that learns all classes at once is in those of every split."""
    groups: dict[tuple[str, str, tuple[int, ...]], list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.joint):  # bounds last, once all splits are known
        dataset = run.settings["dataset"]
        kind = accuracy_kind(DATASETS[dataset].top_k, run.settings["validation"])
        same = [key for key in groups if key[:2] == (dataset, kind) and sum(key[2]) == sum(run.sizes)]
        for key in same if run.joint and same else [(dataset, kind, run.sizes)]:
            groups.setdefault(key, []).append(run)
    return [Table(*key, group) for key, group in sorted(groups.items())]
