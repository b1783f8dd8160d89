"""What papers draw to compare methods, out of the tables of utils/reports/paper_tables.py: a set of figures a protocol, and the paper's
numbers beside the published one, at its own length or a shorter one."""

import math
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from learners.published import Method
from utils.errors import UserError
from utils.reports.figures import save_figure
from utils.reports.paper import STUDIES, TABLES, UB
from utils.reports.paper_tables import Line, PaperTables
from utils.reports.runs import Run
from utils.training.metrics import mean_std

# Colours that the colour-blind tell apart (Okabe and Ito 2008), and a marker each. Two share a colour where no panel has both.
STYLES = {
    "NormalNN": ("#7F7F7F", "o"), "LWF": ("#56B4E9", "v"), "LWF_MC": ("#0072B2", "^"), "Generative_Replay": ("#009E73", "D"),
    "DeepInversionGenBN": ("#E69F00", "<"), "DeepInversionLWF": ("#CC79A7", ">"), "AlwaysBeDreaming": ("#D55E00", "P"),
    "ETE": ("#009E73", "X"), "BIC": ("#0072B2", "h"), "RDFCIL": ("#8C564B", "d"), "CwD": ("#9467BD", "H"), "RFD": ("#17A589", "8"),
}
OTHER_STYLE = ("#7F7F7F", "p")  # of a learner that the paper has not
DASHES = ("-", "--", ":", "-.")  # several lines of one method, which differ in its own settings
PAPER_NAME = "the paper"


def colour_marker(method: Method) -> tuple[str, str]:
    if method is UB:
        return "#000000", "*"
    colour, marker = STYLES.get(method.learner_name, OTHER_STYLE)
    return colour, {"o": "s", "v": "p"}.get(marker, marker) if method.memory else marker


def wrap_title(figure: Figure, text: str) -> None:
    """Over the figure, in lines no wider than it is; the layout engine makes room."""
    figure.suptitle("\n".join(textwrap.wrap(text, int(12.4 * figure.get_figwidth()))), fontsize=10)


def draw_comparison(tables: PaperTables, folder: Path) -> list[Path]:
    """Draw every figure into a folder a protocol, and return their paths.

    Raises UserError where no run has finished a task, or the folder cannot be written.
    """
    paths: list[Path] = []
    for label in tables.labels():
        protocol = ProtocolFigures(tables, label)
        if not protocol.runs:
            continue
        name = short = re.sub(r"[^A-Za-z0-9._]+", "-", label)[:100].strip("-")
        while any(path.parent.name == name for path in paths):
            name = f"{short}-{len(paths)}"
        for kind, figure in protocol.figures():
            path = folder / name / f"{kind}.png"
            try:
                save_figure(path, figure)
            except OSError as error:
                raise UserError(f"--figures {folder}: {error.filename or path} cannot be written ({error.strerror}); name another folder") from error
            paths.append(path)
    if not paths:
        raise UserError("--figures: no run of the paper's methods has finished a task yet; there is nothing to draw")
    return paths


class ProtocolFigures:
    """The lines of the tables under one protocol, and their figures.

    Attributes:
        studies: whose tables these are.
        lines: {number of the table: its lines with a run or, of the published protocol, the paper's number}.
        runs: that have finished a task.
        splits: that have a run of their own.
        repeats: how many every run has finished; None where they differ.
        paper: what its numbers are called.
    """

    def __init__(self, tables: PaperTables, label: str):
        self.tables = tables
        found = tables.tables(label)
        self.studies = studies = list(dict.fromkeys(STUDIES[number] for number in found))
        self.paper = PAPER_NAME if label in {study.name for study in studies} else f"{PAPER_NAME}, full length"
        self.title = f"{' and '.join(dict.fromkeys(study.data for study in studies))}, {label}"
        self.columns = list(dict.fromkeys(column for study in studies for column in study.columns))
        self.runs = {run for lines in found.values() for line in lines for run in line.runs.values() if np.isfinite(run.accuracy).any()}
        self.lines = {
            number: kept for number, lines in found.items()
            if (kept := [line for line in lines if line.numbers or self.runs.intersection(line.runs.values())])}
        self.splits = [split for split in self.columns if any(run.tasks == split for run in self.runs)]
        counts = {run.finished for run in self.runs}
        self.repeats = counts.pop() if len(counts) == 1 else None
        if self.repeats:
            self.title += f"; mean ± deviation of {self.repeats} repeats" if self.repeats > 1 else "; one repeat"

    def figures(self) -> Iterator[tuple[str, Figure]]:
        """(what it shows, the figure); none that would be empty."""
        for split in self.splits:
            yield f"accuracy-{split}-tasks", self.accuracy_after_each_task(split)
        if self.known("accuracy"):
            yield "final-accuracy", self.bars("accuracy", "final accuracy (%)")
        if self.known("forgetting"):
            yield "forgetting", self.bars("forgetting", "forgetting (points of accuracy)")
        if self.known("accuracy", "stored_values"):
            yield "accuracy-against-memory", self.accuracy_against_memory()

    def known(self, *measures: str) -> bool:
        return any(self.measured(line, *measures) for lines in self.lines.values() for line in lines)

    def measured(self, line: Line, *measures: str) -> bool:
        """Whether a run of the line has all of these."""
        return any(all(not math.isnan(self.tables.measures(run)[name][0]) for name in measures) for run in line.runs.values())

    def shown(self, number: int, line: Line) -> str:
        """A line's name; with the method's own settings where several lines of the table differ in them."""
        alone = sum(line.method is other.method for other in self.lines[number]) == 1
        return line.method.name if alone else "\n".join(textwrap.wrap(line.name, 28))

    def progress(self, run: Run) -> str:
        """What the title does not say of a run: its repeats, or what it is at."""
        if run.finished == self.repeats:
            return ""
        return f" ({run.finished} repeat{'s' * (run.finished > 1)})" if run.finished else f" ({run.unfinished[0]})"

    def dashes(self, number: int, line: Line) -> str:
        same = [other for other in self.lines[number] if other.method is line.method]
        return DASHES[same.index(line) % len(DASHES)]

    def panels(self, split: int) -> dict[int, list[Line]]:
        """Of each table the lines that have something to show in a split."""
        kept = {
            number: [line for line in lines if split in line.numbers or line.runs.get(split) in self.runs]
            for number, lines in self.lines.items()}
        return {number: lines for number, lines in kept.items() if any(line.runs.get(split) in self.runs for line in lines)}

    def accuracy_after_each_task(self, split: int) -> Figure:
        """A panel a table, a line a method with a band of one deviation over repeats; the paper's final numbers at the right."""
        panels = self.panels(split)
        figure = Figure(figsize=(5.2 * len(panels) + 0.4, 5.4), layout="constrained")
        row = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (number, lines) in zip(row, panels.items()):
            last = STUDIES[number].tasks(split)
            strip = max(0.9, 0.18 * last)  # right of the last task, for the paper
            papers = [line for line in lines if split in line.numbers]
            for line in lines:
                run, (colour, marker) = line.runs.get(split), colour_marker(line.method)
                if run in self.runs:
                    name = self.shown(number, line) + self.progress(run)
                    draw_curve(axes, run, name, split, color=colour, marker=marker, linestyle=self.dashes(number, line))
                if line in papers:
                    mean, std = line.numbers[split]
                    place = last + 0.3 + strip * (papers.index(line) + 1) / (len(papers) + 1)
                    axes.errorbar(place, mean, std, color=colour, marker=marker, markerfacecolor="white", markersize=7, capsize=2, linestyle="none")
            ticks = list(range(1, last + 1)) if last <= 11 else [1, *range(5, last + 1, 5)]
            axes.set_xlim(0.7 if last <= 11 else 0.3, last + 0.3)
            if papers:
                axes.axvspan(last + 0.3, last + 0.3 + strip, color="#F2F2F2", zorder=0)
                axes.set_xlim(axes.get_xlim()[0], last + 0.3 + strip)
                said = self.paper.replace(", ", "\n")
                axes.text(last + 0.3 + strip / 2, 0.99, said, transform=axes.get_xaxis_transform(), ha="center", va="top", fontsize=9)
            axes.set_xticks(ticks)
            axes.set_title(f"{TABLES[number][0]}, {STUDIES[number].heading(split)}", fontsize=10)
            axes.set_xlabel("tasks learned")
            axes.set_ylim(bottom=0)
            axes.grid(axis="y", color="#E5E5E5", linewidth=0.7)
            axes.set_axisbelow(True)
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, fontsize=8, frameon=False)
        row[0].set_ylim(top=1.08 * row[0].get_ylim()[1])  # the paper's name stands above its marks
        row[0].set_ylabel("accuracy on all classes so far (%)")
        wrap_title(figure, self.title)
        return figure

    def bars(self, measure: str, heading: str) -> Figure:
        """A row a method, a column a split, a panel a table; final accuracies beside the paper's."""
        paper = measure == "accuracy"
        splits = self.splits or self.columns[:1]
        lines = {number: [line for line in lines if (paper and line.numbers) or self.measured(line, measure)] for number, lines in self.lines.items()}
        lines = {number: kept for number, kept in lines.items() if any(self.measured(line, measure) for line in kept)}
        height = [len(kept) for kept in lines.values()]
        figure = Figure(figsize=(2.7 * len(splits) + 2.2, 0.42 * sum(height) + 0.8 * len(height) + 1.0), layout="constrained")
        grid = figure.subplots(len(height), len(splits), sharex=True, sharey="row", squeeze=False, height_ratios=height)
        drawn_paper = False
        for row, (number, kept) in zip(grid, lines.items()):
            for axes, split in zip(row, splits):
                for place, line in enumerate(kept):
                    colour, _ = colour_marker(line.method)
                    numbers = line.numbers.get(split) if paper else None
                    here = self.tables.measures(line.runs.get(split))[measure]
                    offset, thick = (0.2, 0.36) if paper and any(line.numbers for line in kept) else (0.0, 0.6)
                    draw_bar(axes, place - offset, here, thick, color=colour)
                    if numbers:
                        draw_bar(axes, place + offset, numbers, thick, color="white", edgecolor=colour, hatch="/////")
                        drawn_paper = True
                axes.set_title(f"{TABLES[number][0]}, {STUDIES[number].heading(split)}", fontsize=9)
                axes.set_yticks(range(len(kept)), [self.shown(number, line) for line in kept], fontsize=8)
                axes.tick_params(axis="x", labelsize=8)
                axes.tick_params(axis="y", length=0)
                axes.margins(x=0.2)
                axes.spines[["top", "right"]].set_visible(False)
                axes.axvline(0, color="black", linewidth=0.8)
            row[0].set_ylim(len(kept) - 0.5, -0.5)
        for axes in grid[-1]:
            axes.set_xlabel(heading, fontsize=9)
        if drawn_paper:
            handles = [Patch(color="#555555", label="here"), Patch(facecolor="white", edgecolor="#555555", hatch="/////", label=self.paper)]
            figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
        wrap_title(figure, self.title)
        return figure

    def accuracy_against_memory(self) -> Figure:
        """A panel a data set and split: final accuracy over what a method stores between tasks, the paper's number at the same place."""
        splits = self.splits or self.columns[:1]
        panels = dict.fromkeys((STUDIES[number], split) for number in self.lines for split in splits if number in self.panels(split))
        figure = Figure(figsize=(3.2 * len(panels) + 2.4, 4.2), layout="constrained")
        row = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
        handles: dict[str, Any] = {}
        for axes, (study, split) in zip(row, panels):
            for number, lines in self.lines.items():
                for line in lines if STUDIES[number] is study else ():
                    measures, (colour, marker) = self.tables.measures(line.runs.get(split)), colour_marker(line.method)
                    (mean, std), stored = measures["accuracy"], measures["stored_values"][0] / 1e6
                    if math.isnan(mean) or math.isnan(stored):
                        continue
                    style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 7, "linestyle": "none"}
                    axes.errorbar(stored, mean, std or None, capsize=2, **style)
                    handles.setdefault(self.shown(number, line), Line2D([], [], label=self.shown(number, line), **style))
                    if split in line.numbers:
                        mean, std = line.numbers[split]
                        hollow = {**style, "markersize": 12, "markerfacecolor": "none"}  # around the other where they agree
                        axes.errorbar(stored, mean, std, capsize=4, **hollow)
                        handles[PAPER_NAME] = Line2D(
                            [], [], label=f"hollow: {self.paper}", color="#555555", marker="o", markersize=10, markerfacecolor="none",
                            linestyle="none")
            axes.set_xscale("log")
            axes.margins(x=0.15)
            axes.set_title(f"{study.data}, {study.heading(split)}" if len(self.studies) > 1 else study.heading(split), fontsize=10)
            axes.grid(color="#E5E5E5", linewidth=0.7)
            axes.set_axisbelow(True)
            axes.spines[["top", "right"]].set_visible(False)
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.xaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:g}"[-1] in "25" else "")
            axes.tick_params(which="both", labelsize=8, length=3, pad=3)
        row[0].set_ylim(bottom=0)
        row[0].set_ylabel("final accuracy (%)", fontsize=9)
        handles.update({PAPER_NAME: handles.pop(PAPER_NAME)} if PAPER_NAME in handles else {})  # last
        figure.legend(handles=list(handles.values()), loc="outside right center", fontsize=8, frameon=False)
        stored_values = "stored between tasks (millions of values): parameters of model and generator, the coreset's pixels"
        figure.supxlabel("\n".join(textwrap.wrap(stored_values, int(13 * figure.get_figwidth()))), fontsize=9)
        wrap_title(figure, self.title)
        return figure


def draw_curve(axes: Axes, run: Run, name: str, split: int, **style: Any) -> None:
    """Mean accuracy after each task and a band of one deviation: over the finished repeats or, before there is one, over all.
    A model that learned all classes at once is a line across."""
    finished = run.accuracy[:, ~np.isnan(run.accuracy[-1])]
    values = finished if finished.size else run.accuracy
    mean, std = np.array([mean_std(row[~np.isnan(row)].tolist()) for row in values]).T
    if run.tasks == 1:
        axes.axhline(mean[0], color=style["color"], linestyle="--", linewidth=1.2, label=f"{name}, at once")
        axes.axhspan(mean[0] - std[0], mean[0] + std[0], color=style["color"], alpha=0.15, linewidth=0)
        return
    x = np.arange(1, len(mean) + 1)
    axes.plot(x, mean, label=name, linewidth=1.6, markersize=5 if split <= 10 else 4, **style)
    axes.fill_between(x, mean - std, mean + std, color=style["color"], alpha=0.2, linewidth=0)


def draw_bar(axes: Axes, place: float, number: tuple[float, float], thick: float, **style: Any) -> None:
    """A lying bar with its deviation and its value; none where it is not known."""
    mean, std = number[0], 0 if math.isnan(number[1]) else number[1]
    if math.isnan(mean):
        return
    axes.barh(place, mean, thick, xerr=std or None, error_kw={"linewidth": 0.9, "capsize": 1.5}, **style)
    value = axes.annotate(f"{mean:.1f}", (max(mean, 0) + std, place), (3, 0), textcoords="offset points", va="center", fontsize=7)
    value.set_in_layout(False)  # it lies within the panel; measuring so many texts takes long
