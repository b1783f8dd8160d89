"""Figures that compare the runs of the published tables: one folder per protocol."""

import re
import textwrap
from collections.abc import Callable, Sequence
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from utils.errors import UserError
from utils.reports.figures import save_figure
from utils.reports.paper import TABLES, UB
from utils.reports.paper_tables import Line, PaperTables
from utils.reports.runs import Run, Stat

# Colours that the colour-blind tell apart (Okabe and Ito 2008) and markers; no table has two that are alike.
STYLES = {
    "NormalNN": ("#7F7F7F", "o"), "LWF": ("#56B4E9", "v"), "LWF_MC": ("#0072B2", "^"),
    "Generative_Replay": ("#009E73", "D"), "DeepInversionGenBN": ("#E69F00", "<"), "RFD": ("#17A589", "8"),
    "DeepInversionLWF": ("#CC79A7", ">"), "AlwaysBeDreaming": ("#D55E00", "P"), "RDFCIL": ("#8C564B", "d"),
    "ETE": ("#009E73", "X"), "BIC": ("#0072B2", "h"), "CwD": ("#9467BD", "H"),
}
GREY = "#B0B0B0"  # learners without published numbers
OTHER_MARKERS, DASHES = "p*sd<>^v", ("-", "--", ":", "-.")


class Panel:
    """The lines of one table and column that have something to show, and how each looks."""

    def __init__(self, tables: PaperTables, number: int, column: int, lines: Sequence[Line]):
        self.tables, self.column, self.lines, self.study = tables, column, lines, TABLES[number].study
        self.title = f"{TABLES[number].title}, {self.study.heading(column)}"
        others = [line for line in lines if line.method not in TABLES[number].rows]
        self.styles: dict[str, dict[str, Any]] = {}
        for line in lines:
            colour, marker = STYLES.get(line.method.learner, (GREY, ""))
            if line.method is UB:
                colour, marker = "#000000", "*"
            if line in others:
                colour, marker = GREY, OTHER_MARKERS[others.index(line) % len(OTHER_MARKERS)]
            same = [other for other in lines if other.method == line.method]
            self.styles[line.name] = {
                "color": colour, "marker": marker, "linestyle": DASHES[same.index(line) % len(DASHES)]}

    def measured(self, line: Line, name: str) -> Stat:
        return self.tables.measures(line.runs.get(self.column), self.column)[name]

    def published(self, line: Line) -> tuple[float, float] | None:
        number = line.numbers.get(self.column)
        return (number.mean, 0 if isnan(number.std) else number.std) if number else None


def curves(panel: Panel, axes: Axes) -> None:
    """Mean accuracy after each task with a band of one deviation; hollow marks at the right are published
    final accuracies."""
    last = len(panel.study.sizes(panel.column))
    for place, line in enumerate(panel.lines):
        style, run = panel.styles[line.name], line.runs.get(panel.column)
        if run:
            history = run.results["over_images" if panel.study.over_images else "accuracy"]
            whole = history[:, np.isfinite(history[-1])]
            stats = [Stat.of(row) for row in (whole if whole.size else history)]
            mean = np.array([stat.mean for stat in stats])
            deviation = np.nan_to_num([stat.sample for stat in stats])
            finished = f"{run.finished} repeat{'s' * (run.finished > 1)}"
            repeats = finished if run.finished else run.unfinished[0]
            label = "\n".join(textwrap.wrap(f"{line.name} ({repeats})", 34))
            if len(run.accuracy) == 1:  # all classes at once
                axes.axhline(mean[0], color=style["color"], linestyle="--", linewidth=1.2, label=label)
            else:
                x = np.arange(1, len(mean) + 1)
                axes.plot(x, mean, label=label, linewidth=1.6, markersize=5, **style)
                axes.fill_between(
                    x, mean - deviation, mean + deviation, color=style["color"], alpha=0.2, linewidth=0)
        if number := panel.published(line):
            strip = last + 0.3 + 0.08 * last * (place + 1) / len(panel.lines)
            alone = None if run else f"{line.name} (paper alone)"
            hollow = {**style, "linestyle": "none", "markerfacecolor": "white"}
            axes.errorbar(strip, *number, label=alone, markersize=7, capsize=2, **hollow)
    axes.set_xlim(0.7, 1.12 * last + 0.5)
    axes.set_xticks(range(1, last + 1, 1 if last <= 11 else 5))
    axes.set_xlabel("tasks learned")
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, fontsize=8, frameon=False)


def bars(name: str) -> Callable[[Panel, Axes], None]:
    """One bar per line with its deviation; below it, hatched, the published final accuracy."""
    def draw(panel: Panel, axes: Axes) -> None:
        for place, line in enumerate(panel.lines):
            colour = panel.styles[line.name]["color"]
            published = panel.published(line) if name == "accuracy" else None
            mean, deviation, _ = panel.measured(line, name)
            hatched = {"color": "white", "edgecolor": colour, "hatch": "/////"}
            for value, error, offset, style in (
                (mean, deviation, -0.2, {"color": colour}), (*(published or (np.nan, 0)), 0.2, hatched)):
                if not isnan(value):
                    error = 0 if isnan(error) else error
                    axes.barh(
                        place + offset, value, 0.36, xerr=error or None,
                        error_kw={"linewidth": 0.9, "capsize": 1.5}, **style)
                    axes.annotate(
                        f"{value:.1f}", (max(value, 0) + error, place + offset), (3, 0),
                        textcoords="offset points", va="center", fontsize=7)
        names = ["\n".join(textwrap.wrap(line.name, 34)) for line in panel.lines]
        axes.set_yticks(range(len(names)), names, fontsize=8)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.margins(x=0.2)

    return draw


# {name: (what draws a panel, label of its values, the measure that a line needs)}
FIGURES: dict[str, tuple[Callable[[Panel, Axes], None], str, str]] = {
    "accuracy": (curves, "{} on all classes so far (%)", ""),
    "final-accuracy": (bars("accuracy"), "final {} (%)", "accuracy"),
    "forgetting": (bars("forgetting"), "forgetting (points of {})", "forgetting"),
}


def figure_of(tables: PaperTables, label: str, column: int, kind: str) -> Figure | None:
    """One panel per table under a protocol and column; None if it would be empty."""
    draw, values, measure = FIGURES[kind]
    panels = []
    for number, lines in tables.tables(label).items():
        panel = Panel(tables, number, column, lines)
        has = {
            line.name: begun(line.runs.get(column)) and not (measure and isnan(panel.measured(line,
            measure).mean)) for line in lines}
        paper = column if kind in ("accuracy", "final-accuracy") else None
        shown = [line for line in lines if has[line.name] or paper in line.numbers]
        if any(has.values()):
            panels.append(Panel(tables, number, column, shown))
    if not panels:
        return None
    lying = kind in ("final-accuracy", "forgetting")
    height = 1.9 + 0.45 * max(len(panel.lines) for panel in panels) if lying else 5.4
    figure = Figure(figsize=(5.4 * len(panels) + 0.4, height), layout="constrained")
    kinds = sorted({run.kind for panel in panels for line in panel.lines for run in line.runs.values()})
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels):
        draw(panel, axes)
        axes.set_title(panel.title, fontsize=10)
        text = values.format(" and ".join(kinds))
        (axes.set_xlabel if lying else axes.set_ylabel)(text, fontsize=9)
        axes.grid(color="#E5E5E5", linewidth=0.7)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    study = panels[0].study
    title = f"{study.dataset}, {label}. ± is the sample's deviation (n-1) over repeats"
    if kind != "forgetting" and any(panel.published(line) for panel in panels for line in panel.lines):
        full = ", at full length" * (label != study.name)
        title += f"; {'hatched' if lying else 'hollow'}: the paper{full}, ± {study.deviation}"
    figure.suptitle("\n".join(textwrap.wrap(title, int(12 * figure.get_figwidth()))), fontsize=10)
    return figure


def begun(run: Run | None) -> bool:
    return run is not None and bool(np.isfinite(run.accuracy).any())


def draw_comparison(tables: PaperTables, folder: Path) -> list[Path]:
    """Draw every figure into one folder per protocol, and return their paths.

    Raises UserError if there is nothing to draw or a figure cannot be written.
    """
    paths: list[Path] = []
    names: list[str] = []
    for label in tables.labels():
        name = re.sub(r"[^A-Za-z0-9._]+", "-", label)[:100].strip("-")
        names.append(name if name not in names else f"{name}-{len(names)}")
        columns = [column for number in tables.tables(label) for column in TABLES[number].study.columns]
        places = [there for there in tables.places.values() if there.label == label]
        alone = [there.columns[0] for there in places if len(there.columns) == 1]
        for column in dict.fromkeys(alone or columns[:1]):
            for kind in FIGURES:
                if figure := figure_of(tables, label, column, kind):
                    paths.append(folder / names[-1] / f"{kind}-{column}-tasks.png")
                    try:
                        save_figure(paths[-1], figure)
                    except OSError as error:
                        problem = f"{paths[-1]} cannot be written ({error.strerror})"
                        raise UserError(f"--figures {folder}: {problem}; name another folder") from error
    if not paths:
        raise UserError("--figures: no run of the tables has finished a task yet; there is nothing to draw")
    return paths
