"""Figures of tables: accuracy after each task, final accuracy and forgetting, beside published numbers."""

import re
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from utils.reports.figures import save_figure
from utils.reports.paper import METHODS, Number
from utils.reports.runs import Run
from utils.reports.tables import Table

# The colour-blind tell these apart (Okabe and Ito 2008); markers do the rest. Own learners are grey.
COLOURS = ("#000000", "#7F7F7F", "#56B4E9", "#0072B2", "#009E73", "#E69F00", "#CC79A7", "#D55E00")
GREY, MARKERS = "#B0B0B0", "ovXD<>Ph^sdp8H"


def colour(run: Run) -> str:
    return COLOURS[[*METHODS].index(run.method) % len(COLOURS)] if run.method in METHODS else GREY


def curves(table: Table, axes: Axes) -> None:
    """Means with a band of one deviation; hollow marks at the right are published final accuracies."""
    for place, run in enumerate(table.runs):
        mean, deviation = np.array([stat[:2] for stat in run.curve(f"accuracy{table.over}")]).T
        look: dict[str, Any] = {"color": colour(run), "marker": MARKERS[place % len(MARKERS)]}
        x = np.linspace(1, table.tasks, max(2, len(mean)))  # a horizontal line for all classes at once
        axes.plot(x, mean + 0 * x, label=f"{run.method} ({run.name})", **look)
        axes.fill_between(x, mean - deviation, mean + deviation, color=look["color"], alpha=0.2)
        number = table.numbers.get(run.method, Number())
        right = table.tasks * (1.04 + 0.1 * place / len(table.runs))
        axes.errorbar(right, number.mean, number.std, capsize=2, markerfacecolor="white", **look)
    axes.locator_params(axis="x", integer=True)
    axes.set(xlabel="tasks learned", ylabel=f"accuracy{table.over} (%)", ylim=(0, None))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, fontsize=8, frameon=False)


def bars(table: Table, axes: Axes, name: str) -> None:
    """One bar per run with its deviation; below it, hatched, the published final accuracy."""
    numbers = table.numbers if name != "forgetting" else {}
    apart = 0.2 if numbers else 0.0  # from the tick
    for place, run in enumerate(table.runs):
        published = numbers.get(run.method, Number())
        full: dict[str, Any] = {"color": colour(run)}
        hatched = {"color": "white", "edgecolor": colour(run), "hatch": "/////"}
        for offset, mean, deviation, look in (
            (-apart, *run.measures()[name][:2], full), (apart, *published[1:], hatched)):
            bar = axes.barh(place + offset, mean, 0.36, xerr=np.nan_to_num(deviation), **look)
            text = f"({mean:.1f})" if look is hatched and table.departures(run) else f"{mean:.1f}"
            axes.bar_label(bar, ["" if np.isnan(mean) else text], padding=3, fontsize=7)
    axes.set_yticks(range(len(table.runs)), [f"{run.method} ({run.name})" for run in table.runs], fontsize=8)
    axes.set(xlabel=f"{name} (%)", ylim=(len(table.runs) - 0.5, -0.5), xmargin=0.2)


def draw_comparison(tables: Sequence[Table], folder: Path, form: str) -> list[Path]:
    """Draw a figure per table into a folder, as png, svg or pdf, and return their paths."""
    paths = []
    for table in tables:
        figure = Figure(figsize=(15, 5 + 0.2 * len(table.runs)), layout="constrained")
        line, final, forgetting = figure.subplots(1, 3)
        curves(table, line)
        bars(table, final, f"final{table.over}")
        bars(table, forgetting, "forgetting")
        told = "; hollow and hatched: the paper" * bool(table.numbers)
        title = [f"{table.name}, ± std (n-1){told}", *table.notes()]
        figure.suptitle("\n".join(fill(text, 200) for text in title), fontsize=9)
        paths.append(folder / f"{re.sub('[^A-Za-z0-9]+', '-', table.name)}.{form}")
        save_figure(paths[-1], figure)
    return paths
