"""The published tables with the runs that belong in them."""

from dataclasses import dataclass
from math import isnan
from pathlib import Path

from utils.errors import UserError
from utils.reports.forms import (
    HERE,
    OVER_IMAGES,
    csv_columns,
    show_number,
    show_repeats,
    show_rows,
    show_value,
)
from utils.reports.paper import PAPER, TABLES, UB, Method, Number, Study
from utils.reports.places import SPLIT, Place, place
from utils.reports.runs import MEASURES, Run, Stat, differing, read_runs, runs_under, value_of
from utils.training.log import duration


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
            raise UserError(
                f"{outputs.absolute()}: there is no such folder; name the one that holds the runs")
        self.warnings: list[str] = []
        folders = runs_under(outputs)
        runs = read_runs(folders, [str(folder.relative_to(outputs)) for folder in folders], self.warnings)
        if not folders:
            self.warnings.append(
                f"{outputs.absolute()}: holds no runs, so the tables show the published numbers alone")
        places = {run: place(run.settings, bool(run.compared["load_model_dir"])) for run in runs}
        self.places = {run: there for run, there in places.items() if there}
        if elsewhere := [run.name for run in places if run not in self.places]:
            named = f"in no table for their data set or split: {', '.join(elsewhere)}"
            self.warnings.append(f"{named}; name such a run itself to see its accuracy")

    def labels(self) -> list[str]:
        """The protocols, the published one first."""
        return list(dict.fromkeys([PAPER.name, *(there.label for there in self.places.values())]))

    def tables(self, label: str) -> dict[int, list[Line]]:
        """The lines of each table of a protocol: with runs or, for the published one, 1 and 2."""
        under = {run: there for run, there in self.places.items() if there.label == label}
        left = set(under)
        tables: dict[int, list[Line]] = {}
        for number, table in TABLES.items():
            mine = {run: there for run, there in under.items() if number in there.tables}
            if label == PAPER.name == table.study.name or left & mine.keys():
                left -= mine.keys()
                methods = {there.method for there in mine.values()}
                others = sorted(methods - table.rows.keys(), key=lambda method: method.name)
                numbers = table.rows if compares(table.study, label) else {}
                tables[number] = []
                for method in (*table.rows, *others):
                    own = {run: there for run, there in mine.items() if there.method == method}
                    tables[number] += lines_of(method, own, numbers.get(method, {}))
        return tables

    def measures(self, run: Run | None, column: int) -> dict[str, Stat]:
        """The run's measures; its accuracies are those over images if the study's are."""
        if run is None:
            return dict.fromkeys(MEASURES, Stat())
        here = self.places[run]
        joints = (
            other for other, there in self.places.items()
            if there.method is UB is not here.method and other.settings["oracle_flag"]
            and column in there.columns and (there.protocol, there.shorter) == (here.protocol, here.shorter))
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
                parts.append(
                    title.format(f"Table {number}, {TABLES[number].title}; {label}")
                    + show_rows(self.table(number, label, lines), form))
                for line in lines:
                    details |= {run: self.detail(run, line.name, column) for column, run in line.runs.items()}
            if details:
                uneven = any(run.uneven for run in details)
                names = ("average incremental accuracy", "forgetting", "over joint model")
                measured = [f"{name} {HERE}" for name in (*(OVER_IMAGES if uneven else ()), *names)]
                rows = [["run", "method", "tasks", *measured, "time per repeat", "stored values"]]
                rows += [row if uneven else row[:3] + row[5:] for row in details.values()]
                parts.append(title.format(f"More of these runs; {label}") + show_rows(rows, form))
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
            heading += [f"{study.heading(column)} {HERE}", "repeats", *[paper] * beside]
            heading += ["difference"] * published + [f"average {HERE}", "paper"] * average
        rows = [heading]
        for line in lines:
            row = [line.name]
            for column in study.columns:
                run, there = line.runs.get(column), line.numbers.get(column, Number())
                measures = self.measures(run, column)
                final, incremental = measures["accuracy"], measures["average_incremental_accuracy"]
                row += [show_number(final), show_repeats(run) if run else ""]
                row += [show_number(Stat(there.mean, there.std))] * beside
                row += [show_value(final.mean - there.mean, "+.1f")] * published
                row += [show_number(incremental), show_value(there.average)] * average
            rows.append(row)
        return rows

    def detail(self, run: Run, name: str, column: int) -> list[str]:
        """What the published tables do not have."""
        measures = self.measures(run, column)
        images = (measures["accuracy_over_images"], measures["average_incremental_accuracy_over_images"])
        shown = (*images, measures["average_incremental_accuracy"], measures["forgetting"])
        seconds, stored = measures["seconds"].mean, measures["stored_values"].mean
        return [
            run.name, name, str(len(run.accuracy)), *map(show_number, shown),
            show_number(measures["normalised_accuracy"], ".3f"), "" if isnan(seconds) else duration(seconds),
            show_value(stored, ",.0f")]

    def records(self) -> list[list[str]]:
        """A heading, then one row for each table, line and column with all that is known."""
        known = ["table", "protocol", "method", "tasks", "run", "measured", "repeats", "unfinished"]
        records = [[*known, *csv_columns(MEASURES), "paper", "paper_std", "difference", "paper_std_kind"]]
        lines = [
            (label, number, line, column) for label in self.labels()
            for number, lines in self.tables(label).items() for line in lines
            for column in TABLES[number].study.columns]
        for label, number, line, column in lines:
            run, there = line.runs.get(column), line.numbers.get(column, Number())
            measures = self.measures(run, column)
            here = [run.name, run.kind, str(run.finished), "; ".join(run.unfinished)] if run else [""] * 4
            values = [value for stat in measures.values() for value in stat]
            values += [there.mean, there.std, measures["accuracy"].mean - there.mean]
            kind = "" if isnan(there.std) else TABLES[number].study.deviation
            shown = [show_value(value, ".6f") for value in values]
            records.append([str(number), label, line.name, str(column), *here, *shown, kind])
        return records


def compares(study: Study, label: str) -> bool:
    """Whether published numbers belong beside the runs under a label: those of the protocol at any length."""
    return label == study.name or label.startswith(f"{study.name} at ")


def lines_of(method: Method, runs: dict[Run, Place], numbers: dict[int, Number]) -> list[Line]:
    """The lines of a method: one for each combination of settings, named by where they depart and in what
    they differ."""
    varied = [name for name in differing(list(runs)) if name not in SPLIT]
    kinds = {run.kind for run in runs}
    lines: dict[str, Line] = {}
    for run, there in runs.items():
        differs = [f"{setting} {value_of(run, setting)}" for setting in varied]
        differs += [run.kind] * (len(kinds) > 1)
        name = ", ".join(dict.fromkeys([method.name, *there.own, *differs]))
        if name in lines and not lines[name].runs.keys().isdisjoint(there.columns):
            name = f"{name}, {run.name}"
        lines.setdefault(name, Line(method, name, {}, numbers)).runs.update(dict.fromkeys(there.columns, run))
    return [lines[name] for name in sorted(lines)] or [Line(method, method.name, {}, numbers)]
