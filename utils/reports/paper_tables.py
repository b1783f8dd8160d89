"""The paper's two tables with the runs that belong in them; where there are runs of R-DFCIL's protocol, its two as well."""

import math
from dataclasses import dataclass
from pathlib import Path

from learners.published import Method
from utils.errors import UserError
from utils.reports.forms import show_number, show_repeats, show_rows, show_title, show_value
from utils.reports.paper import PAPER, PAPER_REPEATS, STUDIES, TABLES
from utils.reports.runs import MEASURES, PUBLISHED, UNKNOWN, Run, read_run, runs_under
from utils.training.progress import duration
from utils.training.recorded import Code

OVER_IMAGES = ["final, over images", "average, over images"]


@dataclass
class Line:
    """A line of a table: the runs and the paper's numbers by split. Its name holds where it departs from its method's settings."""

    method: Method
    name: str
    runs: dict[int, Run]
    numbers: dict[int, tuple[float, float]]


class PaperTables:
    """The tables with the runs under a folder, found by what they hold. Raises UserError where there is no such folder.

    Attributes:
        cells: {(label, method, own, split): of its runs the one with the most finished repeats}; label and own: see Run.
        joints: {(protocol, split): the run with every task's joint model}, of the paper's study.
        warnings: a line each on what cannot be read, is in no table or is there twice.
    """

    def __init__(self, outputs: Path):
        if not outputs.is_dir():
            raise UserError(f"{outputs.absolute()}: there is no such folder; name the one that holds the runs")
        self.cells: dict[tuple[str, Method, tuple[str, ...], int], Run] = {}
        self.joints: dict[tuple[tuple[str, ...], int], Run] = {}
        self.warnings: list[str] = []
        runs, elsewhere = [], []
        for folder in runs_under(outputs):
            name = str(folder.relative_to(outputs))
            try:
                run = read_run(folder, name, self.warnings)
            except UserError as error:
                self.warnings.append(str(error))
                continue
            if run:
                runs.append(run)
            else:
                elsewhere.append(name)
        if not runs and not elsewhere and not self.warnings:
            self.warnings.append(f"{outputs.absolute()}: holds no runs, so the tables show the paper's numbers alone")
        if elsewhere:
            self.warnings.append(
                f"in no table for their data set, split or learner: {', '.join(elsewhere)}; name such a run itself to see its accuracy")
        for run in sorted(runs, key=lambda run: (-run.finished, run.joint)):
            self.add(run)

    def add(self, run: Run) -> None:
        """A run into those of its cells that are still free."""
        if run.joint:
            self.joints.setdefault((run.protocol, run.tasks), run)
        shown = {split: self.cells.setdefault((run.label, run.method, run.own, split), run) for split in run.splits}
        for other in dict.fromkeys(shown.values()):
            if other is not run:
                splits = ", ".join(str(split) for split in shown if shown[split] is other)
                self.warnings.append(
                    f"{run.method.name}, {splits} tasks: {other.name} ({other.finished} finished) is shown, {run.name} ({run.finished}) is not")

    def labels(self) -> list[str]:
        """The protocols, the published one first."""
        return list(dict.fromkeys([PUBLISHED, *(label for label, *_ in self.cells)]))

    def tables(self, label: str) -> dict[int, list[Line]]:
        """The lines of each table under a protocol: the paper's two for the published one, else those that add a run."""
        rows: dict[tuple[Method, tuple[str, ...]], dict[int, Run]] = {}
        for (of, method, own, split), run in self.cells.items():
            if of == label:
                rows.setdefault((method, own), {})[split] = run
        tables: dict[int, list[Line]] = {}
        left = {method for method, _ in rows}
        for number, (_, methods) in TABLES.items():
            study = STUDIES[number]
            if label == PUBLISHED == study.name or left.intersection(methods):
                left.difference_update(methods)
                tables[number] = [
                    Line(method, ", ".join((method.name, *own)), rows.get((method, own), {}), method.numbers if study.compares(label) else {})
                    for method in methods for own in sorted(own for one, own in rows if one is method) or [()]]
        return tables

    def measures(self, run: Run | None) -> dict[str, tuple[float, float]]:
        """The run's, beside the joint model of its protocol and split."""
        joint = self.joints.get((run.protocol, run.tasks)) if run and run.study is PAPER else None
        return run.measures(joint) if run else dict.fromkeys(MEASURES, UNKNOWN)

    def show(self, form: str = "text") -> str:
        """The tables as ``text``, ``markdown`` or ``csv``; the last is one long table of every method and split."""
        if form == "csv":
            return show_rows(self.records(), form)
        parts: list[str] = []
        for label in self.labels():
            details: dict[Run, str] = {}
            for number, lines in self.tables(label).items():
                study = STUDIES[number]
                here, published = ["", "repeats"], label == study.name
                paper = ["paper", "difference"] if published else ["paper, full length"] if study.compares(label) else []
                average = ["average", "paper"] if published and study is not PAPER else []
                measure = f"final accuracy{' over images' * study.over_images} (%)"
                rows = [[measure, *(head or study.heading(split) for split in study.columns for head in (*here, *paper, *average))]]
                for line in lines:
                    row = [line.name]
                    for split in study.columns:
                        run, number_there = line.runs.get(split), line.numbers.get(split, UNKNOWN)
                        number_here = self.measures(run)["accuracy"]
                        row += [show_number(*number_here, run.finished), show_repeats(run.finished, run.unfinished)] if run else ["", ""]
                        if paper:
                            row += [show_number(*number_there, PAPER_REPEATS), show_value(number_here[0] - number_there[0], "+.1f")][: len(paper)]
                        if average:
                            mean, std = self.measures(run)["average_incremental_accuracy"]
                            row += [show_number(mean, std, run.finished if run else 0), show_value(line.method.averages.get(split, math.nan), ".1f")]
                        if run:
                            details[run] = line.name
                    rows.append(row)
                parts.append(show_title(f"Table {number}, {TABLES[number][0]}; {label}", form) + show_rows(rows, form))
            if details:
                measured = ["average incremental accuracy", "forgetting", "over joint model", "time a repeat", "stored values"]
                uneven = any(run.uneven for run in details)
                heading = ["run", "method", "tasks", *(OVER_IMAGES * uneven), *measured]
                rows = [self.detail(run, name, uneven) for run, name in details.items()]
                parts.append(show_title(f"More of these runs; {label}", form) + show_rows([heading, *rows], form))
        return "\n\n".join(parts)

    def detail(self, run: Run, name: str, uneven: bool) -> list[str]:
        """What the paper's tables don't have, of a run; over images, too, where any of the runs has ``uneven`` tasks."""
        measures = self.measures(run)
        images = [measures[name] for name in ("accuracy_over_images", "average_incremental_accuracy_over_images")]
        seconds, stored = measures["seconds"][0], measures["stored_values"][0]
        return [
            run.name + " (2021 code)" * (run.code is Code.PUBLISHED), name, str(len(run.accuracy)),
            *(show_number(*pair, run.finished) for pair in images[: 2 * uneven]),
            show_number(*measures["average_incremental_accuracy"], run.finished), show_number(*measures["forgetting"], run.finished),
            show_number(*measures["normalised_accuracy"], run.finished, ".3f"),
            "" if math.isnan(seconds) else duration(seconds), show_value(stored, ",.0f")]

    def records(self) -> list[list[str]]:
        """A heading, then a line for every table, method and split with all that is known."""
        measured = [f"{name}{part}" for name in MEASURES for part in ("", "_std")]
        records = [["table", "protocol", "method", "tasks", "run", "repeats", "unfinished", *measured, "paper", "paper_std", "difference"]]
        for label in self.labels():
            for number, lines in self.tables(label).items():
                for line in lines:
                    for split in STUDIES[number].columns:
                        run, paper = line.runs.get(split), line.numbers.get(split, UNKNOWN)
                        measures = self.measures(run)
                        values = [value for pair in (*measures.values(), paper) for value in pair] + [measures["accuracy"][0] - paper[0]]
                        found = [run.name, str(run.finished), "; ".join(run.unfinished)] if run else ["", "", ""]
                        records.append([str(number), label, line.name, str(split), *found, *(show_value(value, ".6f") for value in values)])
        return records
