"""Tables and figures of any runs beside the published numbers (docs/run-folder.md, "Tables").

    python -m utils.reports.tables [RUN or FOLDER ...]
"""

import dataclasses
import os
import sys
from collections.abc import Iterable, Sequence
from itertools import groupby, zip_longest
from math import isnan, nan
from pathlib import Path

from dataloaders.datasets import DATASETS
from learners import LEARNERS
from utils.errors import Parser, UserError, run_main
from utils.files import user_path
from utils.reports.forms import add_forms, escape, show_number, show_rows, show_value
from utils.reports.paper import METHODS, Number
from utils.reports.runs import Run, Stat, accuracy_kind, names_of, place, read_runs
from utils.settings import Settings
from utils.training.folder import shown

NAME = "utils.reports.tables"
MEASURES = (
    "final", "final over images", "average", "average over images", "forgetting", "backward transfer")
# Settings are columns if the runs of one method differ in them; these, if any runs do.
SHARED = {"model_type", "model_name"} | {
    setting.name for setting in dataclasses.fields(Settings)
    if setting.metadata["group"] in ("data", "optimisation", "run") and not setting.name.startswith("load_")}
# A run with one of these is not what the names of its data set and method say: always a column.
MARKS = ("incomplete_data", "imagenet_classes", "load_any")


# Which runs share a table


class Table:
    """The runs of one data set, split and kind of accuracy.

    Attributes:
        over: " over images" if the published accuracies are, instead of means over tasks.
        numbers: those of the published rows.
        runs: in the papers' order, then by name.
        settings: the columns.
    """

    def __init__(self, kind: str, runs: Sequence[Run]):
        sizes = runs[0].sizes
        each = [(size, len([*same])) for size, same in groupby(sizes)]
        split = " + ".join(f"{count} x {size}" if count > 1 else str(size) for size, count in each)
        self.name, self.tasks = f"{runs[0].settings['dataset']}, {split} classes, {kind}", len(sizes)
        self.study = place(runs[0].settings)
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
        other = [name for name, value in wanted.items() if read.get(name) != value]
        return ", ".join(f"{name} {shown(read.get(name))}" for name in other)

    def notes(self) -> list[str]:
        """What the published numbers are, and which runs are not to be compared with them."""
        departing: dict[str, list[str]] = {}
        for run in self.runs:
            departing.setdefault(self.departures(run), []).append(run.name)
        return [f"paper: {study.name}" for study in (self.study,) if study] + [
            f"not at the published settings, so not comparable: {', '.join(names)} with {text}"
            for text, names in departing.items() if text]


def tables_of(runs: Iterable[Run]) -> list[Table]:
    """The tables of runs. A run that learns all classes at once is in those of every split."""
    groups: dict[tuple[str, str, tuple[int, ...]], list[Run]] = {}
    for run in runs:
        dataset = run.settings["dataset"]
        kind = accuracy_kind(DATASETS[dataset].top_k, run.settings["validation"])
        groups.setdefault((dataset, kind, run.sizes), []).append(run)
    tables = []
    for (dataset, kind, sizes), group in sorted(groups.items()):
        same = [split for *key, split in groups if key == [dataset, kind] and sum(split) == sum(sizes)]
        if len(sizes) > 1:
            tables.append(Table(kind, group + groups.get((dataset, kind, (sum(sizes),)), [])))
        elif len(same) == 1:
            tables.append(Table(kind, group))
    return tables


# What is shown


def show_table(table: Table, form: str, paper: bool) -> str:
    """A table with the best means marked, upper bounds apart, and without empty columns.

    Args:
        paper: with the published rows that have no run.
    """
    runs, rivals = table.runs, [run for run in table.runs if run.method != "UB"]
    columns = {"method": [run.method for run in runs]}
    columns |= {name: [shown(run.settings.get(name, "")) for run in runs] for name in table.settings}
    for name in MEASURES:
        stats = {run: run.measures()[name] for run in runs}
        means = [stats[run].mean for run in rivals if not isnan(stats[run].mean)]
        best = (min if name == "forgetting" else max)(means) if len(means) > 1 else nan
        marks = ["*" * (run in rivals and stat.mean == best) for run, stat in stats.items()]
        columns[name] = [mark + show_number(stat) for mark, stat in zip(marks, stats.values())]
        if "over" in name and columns[name] == columns[name.removesuffix(" over images")]:
            del columns[name]
    columns["repeats"] = [
        f"{run.finished}" + f" of {len(run.repeats)}" * (run.finished < len(run.repeats)) for run in runs]
    numbers = [table.numbers.get(run.method, Number()).text for run in runs]
    columns["paper"] = [f"({text})" if table.departures(run) else text for run, text in zip(runs, numbers)]
    columns["run"] = [run.name for run in runs]
    if paper:
        missing = [name for name in table.numbers if name not in columns["method"]]
        columns["method"] += missing
        columns["paper"] += [table.numbers[name].text for name in missing]
    filled = {name: cells for name, cells in columns.items() if any(cells)}
    rows = show_rows([[*filled], *zip_longest(*filled.values(), fillvalue="")], form)
    title = f"{table.name} in %, mean ± std (n-1) over repeats"
    parts = [escape(title, form), rows, *(escape(note, form) for note in table.notes())]
    return "\n\n".join(parts) + "\n"


def records(tables: Sequence[Table]) -> list[list[str]]:
    """A heading, then a line for each run and measure, and for each task of its accuracy curve."""
    settings = list(dict.fromkeys(name for table in tables for name in table.settings))
    lines = [[
        "table", "method", "run", *settings, "departures", "planned", "repeats", "measure", "task", "mean",
        "std (n-1)", "std (n)"]]
    for table in tables:
        for run in table.runs:
            found = [(name, "", stat) for name, stat in run.measures().items()]
            for part in ("accuracy", "accuracy over images"):
                found += [(part, str(task), stat) for task, stat in enumerate(run.curve(part), 1)]
            if number := table.numbers.get(run.method):
                found.append((f"published final{table.over}", "", Stat(number.mean)))
            told = [*(shown(run.settings.get(name, "")) for name in settings), table.departures(run)]
            start = [table.name, run.method, run.name, *told, str(len(run.repeats)), str(run.finished)]
            lines += [[*start, name, task, *(show_value(value, ".6f") for value in stat)]
                      for name, task, stat in found]
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    parser = Parser(
        prog=NAME, allow_abbrev=False, description="Tables and figures of runs beside the published numbers.")
    parser.add_argument(
        "folders", nargs="*", type=user_path, default=[Path("outputs")], metavar="FOLDER",
        help="runs, or folders that hold runs at any depth; default: outputs")
    add_forms(parser)
    parser.add_argument("--paper", action="store_true", help="also show published rows that no run stands in")
    parser.add_argument("--figures", type=user_path, metavar="DIR", help="also draw the tables into DIR")
    parser.add_argument(
        "--format", choices=["png", "svg", "pdf"], default="png", help="of figures; default: png")
    given = parser.parse_args(arguments)
    found = {folder: sorted(Path(os.path.abspath(folder)).rglob("args.yaml")) for folder in given.folders}
    if empty := [str(folder.absolute()) for folder, below in found.items() if not below]:
        raise UserError(f"{empty[0]}: holds no run at any depth; name the log_dir of one")
    folders = list(dict.fromkeys(path.parent for below in found.values() for path in below))
    warnings: list[str] = []
    tables = tables_of(read_runs(folders, names_of(folders), warnings))
    for line in warnings:
        print(f"{NAME}: {line}", file=sys.stderr)
    if given.form == "csv":
        print(show_rows(records(tables), "csv"))
    else:
        print("\n".join(show_table(table, given.form, given.paper) for table in tables))
    if given.figures:
        from utils.reports.comparison import draw_comparison  # imports matplotlib, which takes a second

        for path in draw_comparison(tables, given.figures, given.format):
            print(f"{NAME}: drawn: {path.absolute()}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(run_main(NAME, main))
