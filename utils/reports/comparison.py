"""Figures of tables: accuracy after each task, final accuracy and forgetting, beside published numbers."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from utils.reports.figures import save_figure, set_title
from utils.reports.paper import METHODS

if TYPE_CHECKING:
    from utils.reports.tables import Table

# The colour-blind tell these apart (Okabe and Ito 2008); markers do the rest. Own learners are grey.
COLOURS = ("#000000", "#7F7F7F", "#56B4E9", "#0072B2", "#009E73", "#E69F00", "#CC79A7", "#D55E00")
GREY, MARKERS = "#B0B0B0", "ovXD<>Ph^sdp8H"


def styles(table: "Table") -> list[tuple[str, str, str]]:
    """Label, colour and marker of each run; of a method with several, the label has the run's name."""
    known, methods = [*METHODS], [run.method for run in table.runs]
    return [
        (method if methods.count(method) == 1 else f"{method} ({run.name})",
         COLOURS[known.index(method) % len(COLOURS)] if method in known else GREY, MARKERS[place % len(MARKERS)])
        for place, (run, method) in enumerate(zip(table.runs, methods))]


def curves(table: "Table", axes: Axes) -> None:
    """Means with a band of one deviation; hollow marks at the right are published final accuracies."""
    for place, (run, (label, colour, marker)) in enumerate(zip(table.runs, styles(table))):
        mean, deviation = np.array([stat[:2] for stat in run.curve(f"accuracy{table.over}")]).T
        look: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 5}
        if len(mean) < table.tasks:  # all classes at once
            axes.axhline(mean[0], linestyle="--", label=label, color=colour)
        else:
            x = np.arange(1, table.tasks + 1)
            axes.plot(x, mean, label=label, **look)
            axes.fill_between(x, mean - deviation, mean + deviation, color=colour, alpha=0.2, linewidth=0)
        if number := table.numbers.get(run.method):
            right = table.tasks * (1.04 + 0.1 * place / len(table.runs))
            axes.errorbar(right, *np.nan_to_num(number[:2]), capsize=2, markerfacecolor="white", **look)
    axes.set_xlabel("tasks learned")
    axes.set_ylabel(f"accuracy{table.over} (%)")
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, fontsize=8, frameon=False)


def bars(table: "Table", axes: Axes, name: str) -> None:
    """One bar per run with its deviation; below it, hatched, the published final accuracy."""
    for place, (run, (_, colour, _)) in enumerate(zip(table.runs, styles(table))):
        published = table.numbers.get(run.method) if name != "forgetting" else None
        hatched = {"color": "white", "edgecolor": colour, "hatch": "/////"}
        for (value, deviation, *_), offset, look in (
            (run.measures()[name], -0.2, {"color": colour}), (published or (np.nan, 0), 0.2, hatched)):
            bar = axes.barh(place + offset, value, 0.36, xerr=np.nan_to_num(deviation), **look)
            axes.bar_label(bar, ["" if np.isnan(value) else f"{value:.1f}"], padding=3, fontsize=7)
    axes.set_yticks(range(len(table.runs)), [label for label, _, _ in styles(table)], fontsize=8)
    axes.set_ylim(len(table.runs) - 0.5, -0.5)
    axes.set_xlabel(f"{name} (%)")
    axes.margins(x=0.2)


def draw_comparison(tables: Sequence["Table"], folder: Path, form: str) -> list[Path]:
    """Draw two figures per table into a folder, as png, svg or pdf, and return their paths."""
    paths = []
    for table in tables:
        line = Figure(figsize=(6.5, 5.5), layout="constrained")
        curves(table, line.subplots())
        bar = Figure(figsize=(10, 1.5 + 0.45 * len(table.runs)), layout="constrained")
        for axes, name in zip(bar.subplots(1, 2, sharey=True), (f"final{table.over}", "forgetting")):
            bars(table, axes, name)
        for kind, figure in (("accuracy", line), ("bars", bar)):
            set_title(figure, "\n".join([f"{table.name}, ± std (n-1)", *table.notes()]))
            paths.append(folder / f"{re.sub('[^A-Za-z0-9]+', '-', table.name)}-{kind}.{form}")
            save_figure(paths[-1], figure)
    return paths
