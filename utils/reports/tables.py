"""Tables and figures of any runs beside the published numbers (docs/run-folder.md, "Tables").

    python -m utils.reports.tables [RUN or FOLDER ...]
"""

import sys
from collections.abc import Sequence
from math import isnan, nan
from pathlib import Path

from utils.errors import Parser, UserError, run_main
from utils.files import user_path
from utils.reports.forms import MARKUP, add_forms, show_number, show_rows, show_value
from utils.reports.paper import Number
from utils.reports.places import Row, Table, tables_of
from utils.reports.runs import Run, Stat, names_of, read_runs

NAME = "utils.reports.tables"
MEASURES = ["final", "average", "forgetting", "backward transfer"]
UNEVEN = ["final", "final over images", "average", "average over images", *MEASURES[2:]]


def show_repeats(run: Run) -> str:
    """Finished repeats, of all if some are not, and how far those under way are."""
    finished, under_way = run.done.count(len(run.sizes)), [done for done in run.done if 0 < done < len(run.sizes)]
    total = f" of {len(run.done)}" * (finished < len(run.done))
    return ", ".join([f"{finished}{total}", *(f"task {done + 1}/{len(run.sizes)}" for done in under_way)])


def show_method(row: Row) -> str:
    """The method and how a run's data or first task differ from what names stand for."""
    settings = row.run.settings
    named, forced = len(settings["imagenet_classes"]), settings["load_any"] and settings["load_model_dir"]
    marks = {"incomplete data": settings["incomplete_data"], f"{named} named classes": named, "load_any": forced}
    return ", ".join([row.method, *(mark for mark, applies in marks.items() if applies)])


def show_published(number: Number | None, departs: bool = False) -> str:
    """The number, in parentheses beside a run at other settings."""
    if number is None:
        return ""
    average = "" if isnan(number.average) else f" / {number.average:.1f}"
    text = show_number(Stat(number.mean, number.std)) + average
    return f"({text})" if departs else text


def show_table(table: Table, form: str, paper: bool) -> str:
    """Best means are marked, except for upper bounds; lines below say what the published numbers are.

    Args:
        paper: with the published rows that have no run.
    """
    measured = {row: row.run.measures() for row in table.rows}
    cells = {row: [show_method(row), *map(row.setting, table.settings)] for row in table.rows}
    uneven = any(show_number(each["final"]) != show_number(each["final over images"]) for each in measured.values())
    names = UNEVEN if uneven else MEASURES
    for name in names:
        compared = {row: each[name].mean for row, each in measured.items() if row.method != "UB" and each[name].count}
        best = (min if name == "forgetting" else max)(compared.values(), default=nan)
        for row, each in measured.items():
            mark = len(compared) > 1 and compared.get(row) == best
            cells[row].append("*" * mark + show_number(each[name]))
    for row, line in cells.items():
        line += [show_repeats(row.run), show_published(row.number, row.departures != []), row.run.name]
    rows = [["method", *table.settings, *names, "repeats", "paper", "run"], *cells.values()]
    for name, number in table.missing.items() if paper else ():
        rows.append([name, *[""] * (len(rows[0]) - 3), show_published(number), ""])
    notes = []
    if table.study and any(row[-2] for row in rows[1:]):
        average = " over images, / average" if table.study.over_images else ""
        notes.append(f"paper: {table.study.name}, final accuracy ± {table.study.deviation}{average}")
    changed: dict[str, dict[str, None]] = {}
    for row in table.rows:
        changed.setdefault(", ".join(row.departures), {})[row.method] = None
    notes += [f"(…): not at the published settings: {', '.join(methods)} with {text}"
              for text, methods in changed.items() if text]
    lines = [line.translate(MARKUP[form][0]) for line in (f"{table.name} in %, ± std (n-1) over repeats", *notes)]
    return "\n".join([lines[0], "", show_rows(rows, form), "", *lines[1:]])


def records(tables: Sequence[Table]) -> list[list[str]]:
    """A heading, then a line for each run and measure, and for each task of its accuracy curve."""
    settings = list(dict.fromkeys(name for table in tables for name in table.settings))
    lines = [[
        "table", "method", "run", *settings, "finished", "departures", "measure", "task", "mean", "std (n-1)",
        "std (n)", "repeats", "published", "published std"]]
    for table, row in ((table, row) for table in tables for row in table.rows):
        start = [table.name, show_method(row), row.run.name, *map(row.setting, settings)]
        start += [show_repeats(row.run), ", ".join(row.departures)]
        number, over = row.number or Number(), " over images" * bool(table.study and table.study.over_images)
        published = {f"final{over}": number[:2], f"average{over}": (number.average, nan)}
        found = [(name, "", stat) for name, stat in row.run.measures().items()]
        for part in ("accuracy", "accuracy over images"):
            found += [(part, str(task), stat) for task, stat in enumerate(row.run.curve(part), 1)]
        for name, task, (*values, count) in found:
            values += published.get(name, (nan, nan))
            mean, sample, population, *paper = (show_value(value, ".6f") for value in values)
            lines.append([*start, name, task, mean, sample, population, str(count), *paper])
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    parser = Parser(
        prog=NAME, allow_abbrev=False, description="Tables and figures of any runs beside the published numbers.")
    parser.add_argument(
        "folders", nargs="*", type=user_path, default=[Path("outputs")], metavar="FOLDER",
        help="runs, or folders that hold runs at any depth; default: outputs")
    add_forms(parser)
    parser.add_argument("--paper", action="store_true", help="also show published rows that no run stands in")
    parser.add_argument("--figures", type=user_path, metavar="DIR", help="also draw the tables into DIR")
    parser.add_argument("--format", choices=["png", "svg", "pdf"], default="png", help="of figures; default: png")
    given = parser.parse_args(arguments)
    found = []
    for folder in given.folders:
        found += (below := [path.parent for path in sorted(folder.rglob("args.yaml"))])
        if not below:
            raise UserError(f"{folder.absolute()}: holds no run at any depth (no args.yaml); name a run's log_dir")
    folders, warnings = list(dict.fromkeys(found)), []
    tables = tables_of(read_runs(folders, names_of(folders), warnings))
    for line in warnings:
        print(f"{NAME}: {line}", file=sys.stderr)
    if given.form == "csv":
        print(show_rows(records(tables), "csv"))
    else:
        print("\n\n".join(show_table(table, given.form, given.paper) for table in tables))
    if given.figures:
        from utils.reports.comparison import draw_comparison  # imports matplotlib, which takes a second

        for path in draw_comparison(tables, given.figures, given.format):
            print(f"{NAME}: drawn: {path.absolute()}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(run_main(NAME, main))
