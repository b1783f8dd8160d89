"""The paper's two tables with what has been measured, or accuracy after each task of some runs side by side.

    python -m utils.reports.tables [OUTPUTS]        tables 1 and 2 out of all runs under OUTPUTS (sh experiments/tables.sh);
                                            with --figures DIR the figures that go with them, too
    python -m utils.reports.tables RUN [RUN ...]    these runs side by side

Accuracies are in percent, over the repeats that have finished their last task, with the population's deviation where
there is more than one. What has not been measured is an empty cell.
"""

import csv
import functools
import io
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dataloaders.orders import order_name
from dataloaders.tasks import split_classes
from learners.published import Method
from utils.errors import Parser, UserError
from utils.files import read_yaml, user_path
from utils.reports.by_task import after_on
from utils.reports.paper import CLASSES, HALF_FIRST, PAPER, PAPER_REPEATS, SPLITS, STUDIES, TABLES, UB, Study
from utils.settings import completed
from utils.startup import finish
from utils.training.first_task import differences
from utils.training.metrics import mean_std
from utils.training.progress import duration
from utils.training.recorded import Code, Recorded, read_recorded

# {(study, learner, whether it has a coreset): its line}
METHODS = {
    (STUDIES[number], method.learner_name, method.memory > 0): method
    for number, (_, methods) in TABLES.items() for method in methods if method is not UB}
MEASURES = (
    "accuracy", "accuracy_over_images", "average_incremental_accuracy", "average_incremental_accuracy_over_images", "forgetting",
    "normalised_accuracy", "seconds", "stored_values")
WHOLE_NUMBERS = ("memory", "first_split_size", "other_split_size", "repeat", "max_task")
OVER_IMAGES = ["final, over images", "average, over images"]
PUBLISHED = PAPER.name
UNKNOWN = (math.nan, math.nan)


# Reading a run


def read_history(path: Path) -> np.ndarray:
    """``history`` of a results file: [after task, repeat]; NaN where the run has not come so far. Raises UserError, naming the file."""
    return history_of(read_yaml(path), 2, path)


def read_matrix(path: Path, code: Code) -> np.ndarray:
    """That of pt.yaml or pt-local.yaml: [after task, on task, repeat]; NaN where the task came later, too. Raises UserError."""
    content = read_yaml(path)
    return after_on(history_of(content, 3, path), content.get("axes"), code, path)


def history_of(content: dict[str, Any], dimensions: int, path: Path) -> np.ndarray:
    """Raises UserError, naming the file."""
    try:
        history = np.array(content["history"], dtype=float)
        if history.ndim != dimensions or not history.size:
            raise ValueError(history.shape)
        return history
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path} holds no numbers by task and repeat under 'history'") from error


def finished(accuracy: np.ndarray) -> int:
    """How many repeats of accuracy [after task, repeat] have finished their last task."""
    return int((~np.isnan(accuracy[-1])).sum())


def differ(accuracy: np.ndarray, over_images: np.ndarray) -> bool:
    """Whether the accuracy over images is another than the mean over tasks anywhere, where both are known."""
    return accuracy.shape == over_images.shape and bool((np.abs(accuracy - over_images) > 1e-6).any())


def unfinished(accuracy: np.ndarray, wanted: int = 0) -> list[str]:
    """Which task each repeat that has not finished is at; the first of those ``wanted`` that has no result yet, too."""
    tasks, done = len(accuracy), (~np.isnan(accuracy)).sum(0).tolist()
    if finished(accuracy) == len(done) < wanted:
        done.append(0)  # a repeat begins when the one before ends
    return [f"task {count + 1}/{tasks}" for count in done if count < tasks]


@dataclass(eq=False)
class Run:
    """A run of one of the methods of the tables.

    Attributes:
        name: its folder, seen from the one that was searched.
        study: whose tables it belongs into.
        protocol: where it departs from the study's protocol, as "setting value".
        own: where it departs from its method's own published settings.
        tasks: its column, the tasks of its split; 1 for UB on all classes at once.
        joint: every task has its joint model, trained on all classes so far (``--oracle_flag``).
        repeat: how many repeats are wanted.
        accuracy: [after task, repeat], over all test images where the study's is.
        matrix: [after task, on task, repeat]; None where it is missing, as with the next two.
        seconds, memory: [task, repeat].
        code: that computed it. Of the published code, seconds and memory mean other things and are left out.
        over_images: [after task, repeat] accuracy over all test images of the classes seen; None of runs from before it was measured.
    """

    name: str
    method: Method
    protocol: tuple[str, ...]
    own: tuple[str, ...]
    tasks: int
    joint: bool
    repeat: int
    accuracy: np.ndarray
    matrix: np.ndarray | None
    seconds: np.ndarray | None
    memory: np.ndarray | None
    code: Code
    over_images: np.ndarray | None = None
    study: Study = PAPER

    @property
    def uneven(self) -> bool:
        """Whether the accuracy over images is another than the mean over tasks."""
        return self.over_images is not None and differ(self.accuracy, self.over_images)

    @property
    def label(self) -> str:
        """The protocol, as the tables name it."""
        if not self.protocol and not self.own:
            return self.study.name
        changed = f"scaled down or changed: {', '.join(self.protocol) or 'settings of methods'}"
        return changed if self.study is PAPER else f"{self.study.name}, {changed}"

    @property
    def finished(self) -> int:
        return finished(self.accuracy)

    @property
    def unfinished(self) -> list[str]:
        return unfinished(self.accuracy, self.repeat)

    @property
    def splits(self) -> tuple[int, ...]:
        """The columns it belongs to."""
        return SPLITS if self.tasks == 1 else (self.tasks,)

    def measures(self, joint: "Run | None") -> dict[str, tuple[float, float]]:
        """(mean, std) of the MEASURES over finished repeats; NaN where unknown.

        accuracy: after the last task, the mean over tasks. accuracy_over_images: over all test images.
        average_incremental_accuracy, average_incremental_accuracy_over_images: mean over tasks of either after each.
        forgetting: mean over all tasks but the last of the best accuracy on it at any earlier time less that after the
            last task (Chaudhry et al. 2018).
        normalised_accuracy: mean over tasks of the accuracy after each over the joint model's of the same repeat.
        seconds: of training a repeat.
        stored_values: parameters and coreset after the last task.
        """
        each = {"accuracy": self.accuracy[-1], "average_incremental_accuracy": self.accuracy.mean(0)}
        if self.over_images is not None:
            each |= {"accuracy_over_images": self.over_images[-1], "average_incremental_accuracy_over_images": self.over_images.mean(0)}
        if self.matrix is not None and len(self.matrix) > 1:
            best = np.fmax.reduce(self.matrix[:-1, :-1])  # passes over the NaN of times before the task
            each["forgetting"] = (best - self.matrix[-1, :-1]).mean(0)
        if joint and self.method is not UB:
            both = min(self.accuracy.shape[1], joint.accuracy.shape[1])
            with np.errstate(divide="ignore", invalid="ignore"):
                each["normalised_accuracy"] = (self.accuracy[:, :both] / joint.accuracy[:, :both]).mean(0)
        if self.seconds is not None:
            each["seconds"] = self.seconds.sum(0)
        if self.memory is not None:
            each["stored_values"] = self.memory[-1]
        # The NaN of tasks that a repeat has not come to run through every sum and mean, and leave it out here.
        known = {name: [value for value in values.tolist() if math.isfinite(value)] for name, values in each.items()}
        return {name: mean_std(known.get(name, [])) for name in MEASURES}


def departures(settings: dict[str, Any], published: dict[str, Any]) -> tuple[str, ...]:
    """The settings that are not as published, as "setting value"."""
    shown = {name: settings[name] if isinstance(settings[name], list) else [settings[name]] for name in published}
    if shown.get("class_order"):
        shown["class_order"] = [order_name(shown["class_order"])]
    return tuple(f"{name} {' '.join(map(str, shown[name]))}" for name in published if settings[name] != published[name])


def same_first_task(source: Path, mine: Recorded) -> bool:
    """Whether the run in ``source`` learned its first task as this one would have."""
    try:
        return not mine.settings["load_any"] and not differences(read_recorded(source), mine)
    except UserError:
        return False


def own_departures(recorded: Recorded, own: dict[str, Any]) -> tuple[str, ...]:
    """Where a run departs from its method's own published settings, or from what the method is now."""
    changed = departures(recorded.settings, own)
    if recorded.code is Code.EARLIER and recorded.settings["learner_name"] == "AlwaysBeDreaming":
        changed += ("first task over the seen outputs alone",)
    return changed


def equal_tasks(settings: dict[str, Any], path: Path) -> int:
    """Into how many tasks of equal size a run splits all classes, where a column of the tables has so many, or 1; else 0."""
    sizes = settings["task_sizes"]
    if not isinstance(sizes, list) or any(type(size) is not int or size < 1 for size in sizes):
        raise UserError(f"{path}: task_sizes {sizes!r} is not a list of whole numbers above 0")
    if not sizes and min(settings["first_split_size"], settings["other_split_size"]) < 1:
        raise UserError(f"{path}: first_split_size and other_split_size must be above 0")
    ranges = split_classes(CLASSES, settings["first_split_size"], settings["other_split_size"], sizes=sizes)
    equal = {len(new) for new in ranges} == {CLASSES // len(ranges)} and ranges[-1].stop == CLASSES
    return len(ranges) if equal and len(ranges) in (1, *SPLITS) else 0


def half_first(settings: dict[str, Any]) -> tuple[Study, int] | None:
    """The study and the column of a run that learns half of its classes first; None where it is none."""
    for study in HALF_FIRST.values():
        if settings["dataset"] == study.protocol["dataset"] and not settings["task_sizes"]:
            split = (settings["first_split_size"], settings["other_split_size"])
            for column, sizes in study.columns.items():
                if split == sizes:
                    return study, column
    return None


def read_run(folder: Path, name: str, warnings: list[str]) -> Run | None:
    """The run in ``folder``; None where it has no place in the paper's tables. Results that cannot be read are missing
    and named in ``warnings``. Raises UserError where args.yaml cannot be read."""
    path, recorded = folder / "args.yaml", read_recorded(folder)
    settings = recorded.settings

    def need(*names: str) -> None:
        for name in names:
            if name not in settings:
                raise UserError(f"{path} lacks {name}; was it written to its end?")
            if name in WHOLE_NUMBERS and type(settings[name]) is not int:
                raise UserError(f"{path}: {name} {settings[name]!r} is not a whole number")

    need("dataset", "learner_name", "memory", "first_split_size", "other_split_size", "oracle_flag", "repeat")
    joint = settings["oracle_flag"] is True
    study, tasks = half_first(settings) or (PAPER, equal_tasks(settings, path))
    method = METHODS.get((study, str(settings["learner_name"]), settings["memory"] > 0))
    if study is PAPER and settings["learner_name"] == UB.learner_name and not settings["memory"] and (joint or tasks == 1):
        method = UB
    if settings["dataset"] != study.protocol["dataset"] or method is None or not tasks or (tasks == 1 and method is not UB):
        return None
    own = {"memory": method.memory, **method.settings}
    protocol = {name: value for name, value in study.protocol.items() if name not in own}
    need(*protocol, *own, "load_model_dir", "log_dir")
    changed, source = departures({**settings, "DW": recorded.weighs}, protocol), settings["load_model_dir"]
    # From the one run to the other as when they ran, wherever they lie now.
    if source and not same_first_task(folder / os.path.relpath(str(source), str(settings["log_dir"])), recorded):
        changed += (f"load_model_dir {source}" + " (load_any 1)" * bool(settings["load_any"]),)
    whole = tasks if study is PAPER else tasks + 1
    length = min(whole, settings["max_task"]) if settings["max_task"] > 0 else whole

    def history(part: str, read: Callable[[Path], np.ndarray] = read_history) -> np.ndarray | None:
        if not (folder / part).exists():
            return None
        try:
            values = read(folder / part)
            if any(size != length for size in values.shape[:-1]):
                raise UserError(f"{folder / part} is not about {length} tasks, as args.yaml is")
            return values
        except UserError as error:
            warnings.append(str(error))
            return None

    accuracy, over = history("results-acc/global.yaml"), history("results-acc/over-images.yaml")
    shown = over if study.over_images else accuracy
    matrix = history("results-acc/pt.yaml", functools.partial(read_matrix, code=recorded.code))
    seconds, memory = (None if recorded.code is Code.PUBLISHED else history(f"results-{part}/global.yaml") for part in ("time", "mem"))
    return Run(
        name, method, changed, own_departures(recorded, own), tasks, joint, settings["repeat"],
        np.empty((length, 0)) if shown is None else shown, matrix, seconds, memory, recorded.code, over, study)


# The paper's tables


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
        cells: {(label, method, own, split): of its runs the one with the most finished repeats}.
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
        for path in sorted(outputs.rglob("args.yaml")):
            if len(path.parents) > 2 and (path.parents[2] / "args.yaml").exists():
                continue  # a repeat of that run, under way side by side with others (utils/sweeps/parallel.py)
            name = str(path.parent.relative_to(outputs))
            try:
                run = read_run(path.parent, name, self.warnings)
            except UserError as error:
                self.warnings.append(str(error))
                continue
            if run:
                runs.append(run)
            else:
                elsewhere.append(name)
        if elsewhere:
            self.warnings.append(f"in no table for their data set, split or learner: {', '.join(elsewhere)}")
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
                    Line(method, ", ".join((method.name, *own)), rows.get((method, own), {}), method.numbers if label == study.name else {})
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
                here, paper = ["", "repeats"], ["paper", "difference"] if label == study.name else []
                average = ["average", "paper"] if paper and study is not PAPER else []
                measure = f"final accuracy{' over images' * study.over_images} (%)"
                rows = [[measure, *(head or study.heading(split) for split in study.columns for head in (*here, *paper, *average))]]
                for line in lines:
                    row = [line.name]
                    for split in study.columns:
                        run, number_there = line.runs.get(split), line.numbers.get(split, UNKNOWN)
                        number_here = self.measures(run)["accuracy"]
                        row += [show_number(*number_here, run.finished), show_repeats(run.finished, run.unfinished)] if run else ["", ""]
                        if paper:
                            row += [show_number(*number_there, PAPER_REPEATS), show_value(number_here[0] - number_there[0], "+.1f")]
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


# Runs side by side


def data_remarks(run: Path) -> list[str]:
    """Where a run's data are not those that its data set's name stands for."""
    path = run / "args.yaml"
    settings = completed(read_yaml(path) if path.is_file() else {})
    own = settings["imagenet_classes"]
    return ["incomplete data"] * bool(settings["incomplete_data"]) + [f"{len(own)} named classes"] * bool(own)


def accuracy_table(runs: list[Path], form: str = "text") -> str:
    """A line a run: mean accuracy after each task over its repeats, then over finished ones the final and the average incremental accuracy,
    mean ± population std. Accuracies are means over tasks; those over images stand beside them where they differ, and in CSV. Raises UserError."""
    histories = {run: (read_history(run / "results-acc" / "global.yaml"), over_images(run)) for run in runs}
    tasks = max(len(history) for history, _ in histories.values())
    shown = form == "csv" or any(differ(*both) for both in histories.values())
    after_each = [str(task + 1) for task in range(tasks)]
    rows = [["accuracy (%) after task", *after_each, "final", "average", *(OVER_IMAGES * shown), "repeats"]]
    for run, (history, images) in histories.items():
        after = [show_value(mean_std([value for value in row if not math.isnan(value)])[0], ".1f") for row in history.tolist()]
        each = [history[-1], history.mean(0), *([images[-1], images.mean(0)] if shown else [])]
        ends = [show_number(*mean_std(known), len(known)) for known in ([value for value in row.tolist() if not math.isnan(value)] for row in each)]
        name = ", ".join([run.name, *data_remarks(run)])
        rows.append([name, *after, *[""] * (tasks - len(after)), *ends, show_repeats(finished(history), unfinished(history))])
    return show_rows(rows, form)


def over_images(run: Path) -> np.ndarray:
    """[after task, repeat] accuracy over all test images; one NaN of runs from before it was measured. Raises UserError."""
    path = run / "results-acc" / "over-images.yaml"
    return read_history(path) if path.exists() else np.full((1, 1), math.nan)


# Forms


def show_value(value: float, form: str) -> str:
    return "" if math.isnan(value) else f"{value:{form}}"


def show_number(mean: float, std: float, repeats: int, form: str = ".1f") -> str:
    """Mean ± deviation; one repeat has no deviation."""
    return show_value(mean, form) if math.isnan(mean) or math.isnan(std) or repeats == 1 else f"{mean:{form}} ± {std:{form}}"


def show_repeats(done: int, places: list[str]) -> str:
    """As ``2``, or ``2 + 1 unfinished (task 3/5)``."""
    return f"{done} + {len(places)} unfinished ({', '.join(places)})" if places else str(done)


def show_title(title: str, form: str) -> str:
    return f"### {title}\n\n" if form == "markdown" else f"{title}\n\n"


def show_rows(rows: list[list[str]], form: str) -> str:
    """A heading and lines as aligned ``text``, ``markdown`` or ``csv``."""
    if form == "csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        return text.getvalue().rstrip("\n")
    if form == "markdown":
        escaped = [[cell.replace("|", r"\|") for cell in row] for row in rows]
        head, *lines = [f"| {' | '.join(row)} |" for row in escaped]
        return "\n".join([head, "|" + " --- |" * len(rows[0]), *lines])
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(cell.rjust(width) if place else cell.ljust(width) for place, (cell, width) in enumerate(zip(row, widths))) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def is_run(folder: Path) -> bool:
    return (folder / "args.yaml").is_file() or (folder / "results-acc").is_dir()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser(
        prog="utils.reports.tables", description="The paper's tables with what has been measured, or runs side by side.", allow_abbrev=False)
    parser.add_argument(
        "folders", nargs="*", type=user_path, default=[Path("outputs")], metavar="FOLDER",
        help="one folder that holds runs, at any depth: tables 1 and 2 of the paper; runs themselves: accuracy after each task, side by side; "
             "default: outputs")
    forms = parser.add_mutually_exclusive_group()
    for form in ("markdown", "csv"):
        forms.add_argument(f"--{form}", dest="form", action="store_const", const=form, default="text", help=f"print as {form}")
    parser.add_argument(
        "--figures", type=user_path, metavar="DIR",
        help="draw accuracy after each task, final accuracy against the paper's, forgetting and accuracy against memory into a folder")
    try:
        given = parser.parse_args(arguments)
        if len(given.folders) > 1 or is_run(given.folders[0]):
            if given.figures:
                raise UserError(f"--figures {given.figures}: they go with the paper's tables; name one folder that holds runs")
            print(accuracy_table(given.folders, given.form))
        else:
            tables = PaperTables(given.folders[0])
            for warning in tables.warnings:
                print(f"utils.reports.tables: {warning}", file=sys.stderr)
            print(tables.show(given.form))
            if given.figures:
                from utils.reports.comparison_figures import draw_comparison  # and matplotlib, for which tables need not wait

                for path in draw_comparison(tables, given.figures):
                    print(f"utils.reports.tables: drawn: {path}", file=sys.stderr)
    except UserError as error:
        print(f"utils.reports.tables: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(finish("utils.reports.tables", main()))
