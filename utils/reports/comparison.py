"""Figures of tables: accuracy after each task; final accuracy and forgetting; published numbers beside them."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from utils.errors import UserError
from utils.reports.figures import save_figure, set_title
from utils.reports.paper import METHODS
from utils.reports.places import Row, Table

# The colour-blind tell these apart (Okabe and Ito 2008). Own learners are grey.
COLOURS = ("#000000", "#7F7F7F", "#56B4E9", "#0072B2", "#009E73", "#E69F00", "#CC79A7", "#D55E00")
GREY, MARKERS, DASHES = "#B0B0B0", "*ovXD<>Ph^sdp8H", ("-", "--", ":", "-.")


def style(table: Table, row: Row) -> dict[str, Any]:
    """Colour and marker of the method; its runs differ in their dashes."""
    names = list(dict.fromkeys([*METHODS, *(other.method for other in table.rows)]))
    place, same = names.index(row.method), [other for other in table.rows if other.method == row.method]
    colour = COLOURS[place % len(COLOURS)] if row.method in METHODS else GREY
    dashes = DASHES[same.index(row) % len(DASHES)]
    return {"color": colour, "marker": MARKERS[place % len(MARKERS)], "linestyle": dashes}


def label(table: Table, row: Row) -> str:
    repeats = f" ({row.run.measures['final'].count} repeats)" if row.run else " (published)"
    return table.label(row) + repeats + "\nnot at the published settings" * bool(row.departures)


def curves(table: Table, axes: Axes) -> None:
    """Means with a band of one deviation; hollow marks at the right are published final accuracies."""
    tasks, over_images = table.tasks, bool(table.study and table.study.over_images)
    for place, row in enumerate(table.rows):
        look, text = style(table, row), label(table, row)
        if row.run:
            curve = row.run.curve("accuracy over images" if over_images else "accuracy")
            mean, deviation = np.array([stat[:2] for stat in curve]).T
            x = np.arange(1, len(mean) + 1)
            if len(mean) < tasks:  # all classes at once
                axes.axhline(mean[0], color=look["color"], linestyle="--", label=text)
            else:
                axes.plot(x, mean, label=text, markersize=5, **look)
                axes.fill_between(x, mean - deviation, mean + deviation, color=look["color"], alpha=0.2, linewidth=0)
        if row.number:
            hollow = {**look, "linestyle": "none", "markerfacecolor": "white", "capsize": 2}
            right = tasks + 0.3 + 0.1 * tasks * place / len(table.rows)
            axes.errorbar(right, *np.nan_to_num(row.number[:2]), label=None if row.run else text, **hollow)
    axes.set_xlabel("tasks learned")
    axes.set_ylabel(f"{table.kind}{' over images' * over_images} (%)")
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, fontsize=8, frameon=False)


def bars(table: Table, axes: Axes, name: str) -> None:
    """One bar per row with its deviation; below it, hatched, the published final accuracy."""
    for place, row in enumerate(table.rows):
        colour = style(table, row)["color"]
        stat = row.run.measures[name] if row.run else ()
        published = row.number if name.startswith("final") else None
        hatched = {"color": "white", "edgecolor": colour, "hatch": "/////"}
        for number, offset, look in ((stat, -0.2, {"color": colour}), (published, 0.2, hatched)):
            if number and not np.isnan(number[0]):
                value, deviation = np.nan_to_num(number[:2])
                axes.barh(place + offset, value, 0.36, xerr=deviation, **look)
                axes.annotate(
                    f"{value:.1f}", (max(value, 0) + deviation, place + offset), (3, 0),
                    textcoords="offset points", va="center", fontsize=7)
    axes.set_yticks(range(len(table.rows)), [label(table, row) for row in table.rows], fontsize=8)
    axes.set_xlabel(f"{name} (%)")
    axes.margins(x=0.2)


def draw_comparison(tables: Sequence[Table], folder: Path, form: str) -> list[Path]:
    """Draw two figures per table into a folder, as png, svg or pdf, and return their paths."""
    paths = []
    for table in tables:
        line = Figure(figsize=(6.5, 5.5), layout="constrained")
        curves(table, line.subplots())
        bar = Figure(figsize=(10, 2 + 0.45 * len(table.rows)), layout="constrained")
        final, forgetting = bar.subplots(1, 2, sharey=True)
        over_images = table.study and table.study.over_images
        bars(table, final, "final over images" if over_images else "final")
        bars(table, forgetting, "forgetting")
        final.invert_yaxis()
        for kind, figure in (("accuracy", line), ("bars", bar)):
            set_title(figure, f"{table.name}. ± is the sample's deviation (n-1) over repeats; hollow: {table.study.name}")
            for axes in figure.axes:
                axes.grid(color="#E5E5E5", linewidth=0.7)
                axes.set_axisbelow(True)
            paths.append(folder / f"{re.sub('[^A-Za-z0-9]+', '-', table.name)}-{kind}.{form}")
            try:
                save_figure(paths[-1], figure)
            except OSError as error:
                raise UserError(f"--figures {folder}: {paths[-1]} cannot be written ({error.strerror})") from error
    return paths
