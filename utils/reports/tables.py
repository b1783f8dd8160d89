"""Tables and figures of any runs beside the published numbers (docs/run-folder.md, "Tables").

    python -m utils.reports.tables [RUN or FOLDER ...]
"""

import argparse
import csv
import dataclasses
import io
import os
import re
import sys
from collections.abc import Sequence
from itertools import groupby, zip_longest
from math import isnan, nan
from pathlib import Path

from dataloaders.datasets import DATASETS
from learners import LEARNERS
from utils.errors import Parser, UserError, run_main
from utils.files import user_path
from utils.reports.paper import METHODS, STUDIES, Number, Study
from utils.reports.runs import Run, read_runs
from utils.settings import Settings
from utils.training.folder import shown

NAME = "experiments/tables.sh"
MEASURES = (
    "final", "final over images", "average", "average over images", "forgetting", "backward transfer")
# Settings are columns if the runs of one method differ in them; these, if any runs do.
SHARED = {"model_type", "model_name"} | {
    setting.name for setting in dataclasses.fields(Settings)
    if setting.metadata["group"] in ("data", "optimisation", "run") and not setting.name.startswith("load_")}
# A run with one of these had it easier or harder than others: it is never marked as the best.
UNRANKED = ("incomplete_data", "images_per_class", "load_any")
# A run with one of these is not what the names of its data set and method say: always a column.
MARKS = (*UNRANKED, "imagenet_classes")
# {form: (characters to escape, bold)}
MARKUP = {"text": ("\0", "*{}"), "markdown": ("|", "**{}**"), "latex": ("&%$#_{}", r"\textbf{{{}}}")}


class Table:
    """The runs of one data set, split and kind of accuracy.

    Attributes:
        study: the published table with the data set and split, or an empty one.
        numbers: those of its rows.
        over: " over images" if the published accuracies are, instead of means over tasks.
        runs: in the papers' order, then by name.
        settings: the columns.
    """

    def __init__(self, dataset: str, kind: str, sizes: tuple[int, ...], runs: Sequence[Run]):
        each = [(size, len([*same])) for size, same in groupby(sizes)]
        split = " + ".join(f"{count} x {size}" if count > 1 else str(size) for size, count in each)
        self.name, self.tasks = f"{dataset}, {split} classes, {kind}", len(sizes)
        studies = (study for study in STUDIES if study.dataset == dataset and sizes in study.rows["ABD"])
        self.study = next(studies, Study())
        self.numbers = {name: row[sizes] for name, row in self.study.rows.items()}
        self.over = " over images" * self.study.over_images
        self.runs = sorted(runs, key=lambda run: ([*METHODS, run.method].index(run.method), run.method))
        self.settings = [
            name for name in dict.fromkeys(name for run in runs for name in run.compared)
            if name in MARKS and any(run.settings.get(name) for run in runs)
            or any(one.compared.get(name) != other.compared.get(name) for one in runs for other in runs
                   if name in SHARED or one.method == other.method)]

    def departures(self, run: Run) -> str:
        """Where a run departs from the settings of its published number."""
        if run.method not in self.numbers:
            return ""
        method, read = METHODS[run.method], dict(run.settings)
        if method.learner in LEARNERS:
            read["DW"] = read["DW"] and LEARNERS[method.learner].reads_DW(read["memory"])
        read["oracle_flag"] = read["oracle_flag"] and run.method != "UB"
        dreams = self.study.dreams if "deep_inv_params" in method.settings else {}
        common = {**self.study.protocol, "load_any": False, "memory": method.memory}
        other = [name for name, value in {**common, **method.settings, **dreams}.items()
                 if read.get(name, value) != value]
        return ", ".join(f"{name} {shown(read[name])}" for name in other)

    def notes(self) -> list[str]:
        """What the published numbers are, and which runs are not to be compared with them."""
        departing: dict[str, list[str]] = {}
        for run in self.runs:
            departing.setdefault(self.departures(run), []).append(run.name)
        return [f"paper: {self.study.name}"] * bool(self.numbers) + [
            f"in parentheses, because not at the published settings: {', '.join(names)} with {text}"
            for text, names in departing.items() if text]


def tables_of(runs: Sequence[Run]) -> list[Table]:
    """The tables of runs. An upper bound that learns all classes at once is in those of every split."""
    groups: dict[tuple[str, str, tuple[int, ...]], list[Run]] = {}
    bounds = [run for run in runs if run.method == "UB" and len(run.sizes) == 1]
    for run in [*(run for run in runs if run not in bounds), *bounds]:
        dataset = run.settings["dataset"]
        kind = f"top-{DATASETS[dataset].top_k} {'validation ' * run.settings['validation']}accuracy"
        same = [key for key in groups if key[:2] == (dataset, kind) and sum(key[2]) == sum(run.sizes)]
        for key in same if same and run in bounds else [(dataset, kind, run.sizes)]:
            groups.setdefault(key, []).append(run)
    return [Table(*key, group) for key, group in sorted(groups.items())]


def escape(text: str, form: str) -> str:
    return re.sub(f"([{MARKUP[form][0]}])", r"\\\1", text)


def show_rows(rows: Sequence[Sequence[str]], form: str) -> str:
    """A heading and lines as ``text``, ``markdown``, ``latex`` or ``csv``; cells with a * first are bold."""
    if form == "csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        return text.getvalue().rstrip("\n")
    bold = MARKUP[form][1]
    plain = [[escape(cell, form) for cell in row] for row in rows]
    cells = [[bold.format(cell[1:]) if cell[:1] == "*" else cell for cell in row] for row in plain]
    if form == "text":
        widths = [max(map(len, column)) for column in zip(*cells)]
        aligned = ([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in cells)
        return "\n".join("  ".join(row).rstrip() for row in aligned)
    if form == "markdown":
        head, *lines = (f"| {' | '.join(row)} |" for row in cells)
        return "\n".join([head, "|" + " --- |" * len(rows[0]), *lines])
    head, *lines = (" & ".join(row) + r" \\" for row in cells)
    begin = rf"\begin{{tabular}}{{l{'r' * (len(rows[0]) - 1)}}}"
    return "\n".join([begin, head, r"\hline", *lines, r"\end{tabular}"])


def show_table(table: Table, form: str, paper: bool) -> str:
    """A table without empty columns, with the best means marked except those of upper bounds and UNRANKED.

    Args:
        paper: with the published rows that have no run.
    """
    runs = table.runs
    rivals = [run for run in runs if run.method != "UB" and not any(run.settings[name] for name in UNRANKED)]
    columns = {"method": [run.method for run in runs]}
    columns |= {name: [shown(run.compared.get(name, "")) for run in runs] for name in table.settings}
    for name in MEASURES:
        stats = {run: run.measures()[name] for run in runs}
        means = [stats[run].mean for run in rivals if not isnan(stats[run].mean)]
        best = (min if name == "forgetting" else max)(means) if len(means) > 1 else nan
        columns[name] = [
            "*" * (run in rivals and stat.mean == best) + str(stat) for run, stat in stats.items()]
        if "over" in name and columns[name] == columns[name.removesuffix(" over images")]:
            del columns[name]
    columns["repeats"] = [
        f"{run.finished}" + f" of {len(run.seeds)}" * (run.finished < len(run.seeds)) for run in runs]
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
    return "\n\n".join([escape(title, form), rows, *(escape(note, form) for note in table.notes())]) + "\n"


def records(tables: Sequence[Table]) -> list[list[str]]:
    """A heading, then a line for each run and measure, and for each task of its accuracy curve."""
    settings = list(dict.fromkeys(name for table in tables for name in table.settings))
    measured = ["measure", "task", "mean", "std (n-1)", "std (n)", "repeats", "planned"]
    lines = [["table", "method", "run", *settings, *measured]]
    for table, run in ((each, run) for each in tables for run in each.runs):
        start = [table.name, run.method, run.name, *(shown(run.compared.get(name, "")) for name in settings)]
        found = [(name, "", stat) for name, stat in run.measures().items()]
        for part in ("accuracy", "accuracy over images"):
            found += [(part, str(task), stat) for task, stat in enumerate(run.curve(part), 1)]
        for name, task, stat in found:
            numbers = [f"{value:.6f}".replace("nan", "") for value in stat]
            lines.append([*start, name, task, *numbers, str(run.finished), str(len(run.seeds))])
    return lines


def add_forms(parser: argparse.ArgumentParser) -> None:
    """Add ``--markdown``, ``--latex`` and ``--csv``, which set ``form``; its default is text."""
    add = parser.add_mutually_exclusive_group().add_argument
    for form in ("markdown", "latex", "csv"):
        add(f"--{form}", dest="form", action="store_const", const=form, default="text", help=f"print {form}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = Parser(
        prog=NAME, allow_abbrev=False, description="Tables and figures of runs beside the published numbers.")
    add = parser.add_argument
    add("folders", nargs="*", type=user_path, default=[Path("outputs")], metavar="FOLDER",
        help="runs, or folders that hold runs at any depth; default: outputs")
    add_forms(parser)
    add("--paper", action="store_true", help="also show published results for which there is no run")
    add("--figures", type=user_path, metavar="DIR", help="also draw the tables into DIR")
    add("--format", choices=["png", "svg", "pdf"], default="png", help="of figures; default: png")
    given = parser.parse_args(arguments)
    folders: dict[Path, None] = {}
    for folder in given.folders:
        below = sorted(path.parent for path in Path(os.path.abspath(folder)).rglob("args.yaml"))
        if not below:
            raise UserError(f"{folder.absolute()}: contains no runs; name the log_dir of one")
        folders |= dict.fromkeys(below)
    tables = tables_of(read_runs([*folders], NAME))
    if given.form == "csv":
        print(show_rows(records(tables), "csv"))
    else:
        print("\n".join(show_table(table, given.form, given.paper) for table in tables))
    if given.figures:
        from utils.reports.comparison import draw_comparison  # imports matplotlib, which takes a second

        try:
            for path in draw_comparison(tables, given.figures, given.format):
                print(f"{NAME}: drawn {path.absolute()}", file=sys.stderr)
        except OSError as error:
            raise UserError(f"--figures {given.figures}: cannot be written ({error})") from error


if __name__ == "__main__":
    sys.exit(run_main(NAME, main))
