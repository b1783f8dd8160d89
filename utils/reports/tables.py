"""The published tables with what has been measured, or the accuracies of some runs side by side.

    python -m utils.reports.tables [OUTPUTS]        the published tables with all runs under OUTPUTS
    python -m utils.reports.tables RUN [RUN ...]    these runs side by side, accuracy after each task

Runs that differ in nothing but ``--seed`` and ``--repeat`` are repeats of one another and share a row. Accuracies are in
percent over the repeats that have finished. ``±`` is the sample's standard deviation (n-1) of what was measured here.
"""

import argparse
import csv
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path

from utils.errors import Parser, UserError, run_main
from utils.files import user_path
from utils.reports.paper import PAPER, SPLIT, TABLES, UB, Method, Number, Place, Study, place
from utils.reports.runs import (
    MEASURES,
    Run,
    Stat,
    differing,
    is_run,
    merged,
    read_run,
    run_names,
    runs_under,
    value_of,
)
from utils.training.log import duration

NAME = "utils.reports.tables"
HERE = "± std (n-1)"
OVER_IMAGES = ("final, over images", "average, over images")


# Forms


def add_forms(parser: argparse.ArgumentParser) -> None:
    """Add ``--markdown`` and ``--csv``, which set ``form``."""
    forms = parser.add_mutually_exclusive_group()
    for form in ("markdown", "csv"):
        forms.add_argument(f"--{form}", dest="form", action="store_const", const=form, default="text", help=f"print as {form}")


def show_value(value: float, form: str = ".1f") -> str:
    return "" if isnan(value) else f"{value:{form}}"


def show_number(mean: float, std: float, form: str = ".1f") -> str:
    return show_value(mean, form) if isnan(std) else f"{mean:{form}} ± {std:{form}}"


def show_repeats(run: Run) -> str:
    places = run.unfinished
    return f"{run.finished} + {len(places)} unfinished ({', '.join(places)})" if places else str(run.finished)


def show_rows(rows: Sequence[Sequence[str]], form: str) -> str:
    """A heading and lines as aligned ``text``, ``markdown`` or ``csv``."""
    if form == "csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        return text.getvalue().rstrip("\n")
    if form == "markdown":
        head, *lines = (" | ".join(cell.replace("|", r"\|") for cell in row) for row in rows)
        return "\n".join([f"| {head} |", "|" + " --- |" * len(rows[0]), *(f"| {line} |" for line in lines)])
    widths = [max(map(len, column)) for column in zip(*rows)]
    first = [row[0].ljust(widths[0]) for row in rows]
    others = ["".join(f"  {cell:>{width}}" for cell, width in zip(row[1:], widths[1:])) for row in rows]
    return "\n".join((name + cells).rstrip() for name, cells in zip(first, others))


def csv_columns(measures: Sequence[str]) -> list[str]:
    return [f"{name}{part}" for name in measures for part in ("", "_std_sample", "_std_population")]


# Runs side by side


def accuracy_table(folders: Sequence[Path], form: str, warnings: list[str]) -> str:
    """One row per run: mean accuracy after each task, then over finished repeats the final and the average accuracy, and
    the settings in which runs of one learner differ.

    Results that are missing or cannot be read are lines in ``warnings``. Raises UserError if a folder is no run.
    """
    found = []
    for folder, name in zip(folders, run_names(folders)):
        if not is_run(folder):
            raise UserError(f"{folder}: is no run, it has no args.yaml; name runs, or one folder alone that holds them")
        try:
            found.append(read_run(folder, name, warnings))
        except UserError as error:
            warnings.append(str(error))
    runs = merged(found, warnings)
    warnings += [f"{run.name}: has not finished its first task" for run in runs if not (run.accuracy == run.accuracy).any()]
    learners = dict.fromkeys(run.settings["learner_name"] for run in runs)
    varied = dict.fromkeys(name for name in ("dataset", "learner_name") if name in differing(runs))
    for learner in learners:
        varied |= dict.fromkeys(differing([run for run in runs if run.settings["learner_name"] == learner]))
    kinds = {run.kind for run in runs}
    kind = kinds.pop() if len(kinds) == 1 and form != "csv" else ""
    tasks = max((len(run.accuracy) for run in runs), default=0)
    ends = ["final", "average", *(OVER_IMAGES if form == "csv" or any(run.uneven for run in runs) else ())]
    measured = csv_columns(ends) if form == "csv" else [f"{name} {HERE}" for name in ends]
    heading = [f"{kind or 'accuracy'} (%) after task", *([] if kind else ["measured"]), *varied]
    rows = [[*heading, *(str(task + 1) for task in range(tasks)), *measured, "repeats"]]
    for run in runs:
        measures = run.measures()
        names = ("accuracy", "average_incremental_accuracy", "accuracy_over_images", "average_incremental_accuracy_over_images")
        stats = [measures[name] for name in names[: len(ends)]]
        after = [show_value(Stat.of(row).mean) for row in run.accuracy]
        rows.append([
            ", ".join([run.name, *remarks(run)]), *([] if kind else [run.kind]), *(value_of(run, name) for name in varied),
            *after, *[""] * (tasks - len(after)),
            *([show_value(value, ".6f") for stat in stats for value in stat] if form == "csv"
              else [show_number(*stat[:2]) for stat in stats]),
            show_repeats(run)])
    return show_rows(rows, form)


def remarks(run: Run) -> list[str]:
    """How a run's data differ from what the data set's name stands for."""
    named = len(run.settings["imagenet_classes"])
    return ["incomplete data"] * bool(run.settings["incomplete_data"]) + [f"{named} named classes"] * bool(named)


# The published tables


@dataclass(eq=False)
class Line:
    """A line of a table: its runs and the published numbers by column."""

    method: Method
    name: str
    runs: dict[int, Run]
    numbers: dict[int, Number]


class PaperTables:
    """The published tables with the runs under a folder. Raises UserError if there is no such folder.

    Attributes:
        places: {run: where it stands}, of the runs that stand in a table.
        warnings: one line for everything that cannot be read, is in no table or is there twice.
    """

    def __init__(self, outputs: Path):
        if not outputs.is_dir():
            raise UserError(f"{outputs.absolute()}: there is no such folder; name the one that holds the runs")
        self.warnings: list[str] = []
        found = []
        for folder in runs_under(outputs):
            try:
                found.append(read_run(folder, str(folder.relative_to(outputs)), self.warnings))
            except UserError as error:
                self.warnings.append(str(error))
        if not found and not self.warnings:
            self.warnings.append(f"{outputs.absolute()}: holds no runs, so the tables show the published numbers alone")
        places = {run: place(run.settings, bool(run.compared["load_model_dir"])) for run in merged(found, self.warnings)}
        self.places = {run: there for run, there in places.items() if there}
        if elsewhere := [run.name for run in places if run not in self.places]:
            self.warnings.append(
                f"in no table for their data set or split: {', '.join(elsewhere)}; name such a run itself to see its accuracy")

    def labels(self) -> list[str]:
        """The protocols, the published one first."""
        return list(dict.fromkeys([PAPER.name, *(there.label for there in self.places.values())]))

    def tables(self, label: str) -> dict[int, list[Line]]:
        """The lines of each table under a protocol: tables 1 and 2 for the published one, else those that add a run."""
        under = {run: there for run, there in self.places.items() if there.label == label}
        left, tables = set(under), {}
        for number, table in TABLES.items():
            mine = {run: there for run, there in under.items() if number in there.tables}
            if label == PAPER.name == table.study.name or left & mine.keys():
                left -= mine.keys()
                others = sorted({there.method for there in mine.values()} - table.rows.keys(), key=lambda method: method.name)
                numbers = table.rows if compares(table.study, label) else {}
                tables[number] = [
                    line for method in (*table.rows, *others) for line in lines_of(
                        method, {run: there for run, there in mine.items() if there.method == method}, numbers.get(method, {}))]
        return tables

    def measures(self, run: Run | None, column: int) -> dict[str, Stat]:
        """The run's measures; its accuracies are those over images if the study's are."""
        if run is None:
            return dict.fromkeys(MEASURES, Stat())
        here = self.places[run]
        joints = (
            other for other, there in self.places.items()
            if other.settings["oracle_flag"] and there.method is UB is not here.method and column in there.columns
            and (there.protocol, there.shorter) == (here.protocol, here.shorter))
        measures = run.measures(next(joints, None) if here.study is PAPER else None)
        if here.study.over_images:
            for name in ("accuracy", "average_incremental_accuracy"):
                measures[name] = measures[f"{name}_over_images"]
        return measures

    def show(self, form: str = "text") -> str:
        """The tables as ``text``, ``markdown`` or ``csv``; the last is one long table."""
        if form == "csv":
            return show_rows(self.records(), form)
        title = "### {}\n\n" if form == "markdown" else "{}\n\n"
        parts = []
        for label in self.labels():
            details: dict[Run, list[str]] = {}
            for number, lines in self.tables(label).items():
                parts.append(title.format(f"Table {number}, {TABLES[number].title}; {label}") + show_rows(self.table(number, label, lines), form))
                for line in lines:
                    details |= {run: self.detail(run, line.name, column) for column, run in line.runs.items()}
            if details:
                uneven = any(run.uneven for run in details)
                names = [*OVER_IMAGES, "average incremental accuracy", "forgetting", "over joint model"][0 if uneven else 2 :]
                heading = ["run", "method", "tasks", *(f"{name} {HERE}" for name in names), "time per repeat", "stored values"]
                rows = [row if uneven else row[:3] + row[5:] for row in details.values()]
                parts.append(title.format(f"More of these runs; {label}") + show_rows([heading, *rows], form))
        return "\n\n".join(parts)

    def table(self, number: int, label: str, lines: list[Line]) -> list[list[str]]:
        """The rows of one table."""
        study = TABLES[number].study
        published, beside = label == study.name, compares(study, label)
        average = published and study.over_images
        kinds = sorted({run.kind for line in lines for run in line.runs.values()} or {"top-1 accuracy"})
        paper = f"paper{', full length' * (not published)} ± {study.deviation}"
        heading = [f"final {' and '.join(kinds)}{' over images' * study.over_images} (%)"]
        for column in study.columns:
            heading += [f"{study.heading(column)} {HERE}", "repeats", *[paper] * beside, *["difference"] * published]
            heading += [f"average {HERE}", "paper"] * average
        rows = [heading]
        for line in lines:
            row = [line.name]
            for column in study.columns:
                run, there = line.runs.get(column), line.numbers.get(column, Number())
                measures = self.measures(run, column)
                final = measures["accuracy"]
                row += [show_number(*final[:2]), show_repeats(run) if run else ""]
                row += [show_number(there.mean, there.std)] * beside + [show_value(final.mean - there.mean, "+.1f")] * published
                row += [show_number(*measures["average_incremental_accuracy"][:2]), show_value(there.average)] * average
            rows.append(row)
        return rows

    def detail(self, run: Run, name: str, column: int) -> list[str]:
        """What the published tables do not have."""
        measures = self.measures(run, column)
        shown = ("accuracy_over_images", "average_incremental_accuracy_over_images", "average_incremental_accuracy", "forgetting")
        seconds = measures["seconds"].mean
        return [
            run.name, name, str(len(run.accuracy)), *(show_number(*measures[part][:2]) for part in shown),
            show_number(*measures["normalised_accuracy"][:2], ".3f"), "" if isnan(seconds) else duration(seconds),
            show_value(measures["stored_values"].mean, ",.0f")]

    def records(self) -> list[list[str]]:
        """A heading, then one row for each table, line and column with all that is known."""
        records = [["table", "protocol", "method", "tasks", "run", "measured", "repeats", "unfinished", *csv_columns(MEASURES),
                    "paper", "paper_std", "paper_std_kind", "difference"]]
        for label in self.labels():
            for number, lines in self.tables(label).items():
                for line in lines:
                    for column in TABLES[number].study.columns:
                        run, there = line.runs.get(column), line.numbers.get(column, Number())
                        measures = self.measures(run, column)
                        values = [value for stat in measures.values() for value in stat]
                        found = [run.name, run.kind, str(run.finished), "; ".join(run.unfinished)] if run else [""] * 4
                        records.append([
                            str(number), label, line.name, str(column), *found, *(show_value(value, ".6f") for value in values),
                            show_value(there.mean, ".6f"), show_value(there.std, ".6f"),
                            "" if isnan(there.std) else TABLES[number].study.deviation,
                            show_value(measures["accuracy"].mean - there.mean, ".6f")])
        return records


def compares(study: Study, label: str) -> bool:
    """Whether published numbers belong beside the runs under a label: those of the protocol at any length."""
    return label == study.name or label.startswith(f"{study.name} at ")


def lines_of(method: Method, runs: dict[Run, Place], numbers: dict[int, Number]) -> list[Line]:
    """The lines of a method: one for each combination of settings, named by where they depart and in what they differ."""
    varied = [name for name in differing(list(runs)) if name not in SPLIT]
    lines: dict[str, Line] = {}
    for run, there in runs.items():
        name = ", ".join(dict.fromkeys([method.name, *there.own, *(f"{setting} {value_of(run, setting)}" for setting in varied)]))
        if name in lines and not lines[name].runs.keys().isdisjoint(there.columns):
            name = f"{name}, {run.name}"
        lines.setdefault(name, Line(method, name, {}, numbers)).runs.update(dict.fromkeys(there.columns, run))
    return [lines[name] for name in sorted(lines)] or [Line(method, method.name, {}, numbers)]


# The command


def say(*lines: str) -> None:
    for line in lines:
        print(f"{NAME}: {line}", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = Parser(prog=NAME, allow_abbrev=False, description="The published tables with what has been measured, or runs side by side.")
    parser.add_argument(
        "folders", nargs="*", type=user_path, default=[Path("outputs")], metavar="FOLDER",
        help="one folder that holds runs, at any depth, for the published tables; runs for their accuracies side by side; default: outputs")
    add_forms(parser)
    parser.add_argument("--figures", type=user_path, metavar="DIR", help="also draw figures that compare the runs of the tables")
    given = parser.parse_args(arguments)
    first, *others = given.folders
    if others or is_run(first):
        if given.figures:
            raise UserError(f"--figures {given.figures}: goes with the published tables; name one folder that holds runs")
        if not others and (below := [str(run) for run in runs_under(first) if run != first]):
            say(f"{first}: is itself a run and shown alone, without the runs in it ({', '.join(below[:3])}{', …' * (len(below) > 3)})")
        warnings: list[str] = []
        table = accuracy_table(given.folders, given.form, warnings)
        say(*warnings)
        print(table)
        return
    tables = PaperTables(first)
    say(*tables.warnings)
    print(tables.show(given.form))
    if given.figures:
        from utils.reports.comparison import draw_comparison  # imports matplotlib, which takes a second

        for path in draw_comparison(tables, given.figures):
            say(f"drawn: {path.absolute()}")


if __name__ == "__main__":
    sys.exit(run_main(NAME, main))
