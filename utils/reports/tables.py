"""Tables and figures of any runs beside the published numbers (docs/run-folder.md, "Tables").

    python -m utils.reports.tables [RUN or FOLDER ...]
"""

import os
import sys
from collections.abc import Sequence
from itertools import zip_longest
from math import isnan, nan
from pathlib import Path

from utils.errors import Parser, UserError, run_main
from utils.files import user_path
from utils.reports.forms import add_forms, escape, show_number, show_rows, show_value
from utils.reports.paper import Number
from utils.reports.places import UNRANKED, Table, tables_of
from utils.reports.runs import names_of, read_runs
from utils.training.folder import shown

NAME = "experiments/tables.sh"
MEASURES = (
    "final", "final over images", "average", "average over images", "forgetting", "backward transfer")


def show_table(table: Table, form: str, paper: bool) -> str:
    """A table with the best means marked, but for upper bounds and UNRANKED runs, and without empty columns.

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
    measured = ["measure", "task", "mean", "std (n-1)", "std (n)", "repeats", "planned"]
    lines = [["table", "method", "run", *settings, *measured]]
    for table, run in ((each, run) for each in tables for run in each.runs):
        start = [table.name, run.method, run.name, *(shown(run.compared.get(name, "")) for name in settings)]
        found = [(name, "", stat) for name, stat in run.measures().items()]
        for part in ("accuracy", "accuracy over images"):
            found += [(part, str(task), stat) for task, stat in enumerate(run.curve(part), 1)]
        for name, task, stat in found:
            numbers = [show_value(value, ".6f") for value in stat]
            lines.append([*start, name, task, *numbers, str(run.finished), str(len(run.repeats))])
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

        try:
            for path in draw_comparison(tables, given.figures, given.format):
                print(f"{NAME}: drawn {path.absolute()}", file=sys.stderr)
        except OSError as error:
            raise UserError(f"--figures {given.figures}: cannot be written ({error})") from error


if __name__ == "__main__":
    sys.exit(run_main(NAME, main))
