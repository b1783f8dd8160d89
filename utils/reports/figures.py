"""The figures that a run draws while it is under way: dreams beside real images, accuracies, confusion,
losses."""

import json
from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from utils.files import replacing

DOTS_PER_INCH = 150


def save_figure(path: Path, figure: Figure) -> None:
    """Write a PNG file; a lower compression level takes half the time. A $ in the name of a folder or a class
    is a dollar, in this figure alone: a program that imports us may have formulas in its own."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)
        text.set_usetex(False)  # which needs LaTeX
    with replacing(path) as partial, rc_context({"text.usetex": False}):
        figure.savefig(partial, format="png", dpi=DOTS_PER_INCH, pil_kwargs={"compress_level": 3})


def axes_at(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at a place in inches, ``top`` below the figure's edge; faster than a layout engine."""
    across, down = figure.get_size_inches()
    return figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))


def set_title(figure: Figure, text: str) -> None:
    lines = [part for line in text.splitlines() for part in wrap(line, int(12 * figure.get_figwidth()))]
    figure.suptitle("\n".join(lines), y=1 - 0.1 / figure.get_figheight(), va="top", fontsize=10)


# Accuracies and confusion


def heat_map(
    matrix: np.ndarray, last: str, across: str, down: str, unit: str, title: str,
) -> tuple[Figure, Axes]:
    """Percentages by task (down) and task (across) with one column apart; white where a cell is NaN.

    Args:
        matrix: [tasks, tasks + 2]; the last column but one is empty.
        last: name of the last column.
        across, down, unit: labels of the axes and of the colour bar.
    """
    tasks = len(matrix)
    cell = max(0.46 if tasks <= 10 else 0.35, 3 / (tasks + 2))
    width, height = cell * (tasks + 2), cell * tasks
    figure = Figure(figsize=(width + 1.6, height + 1.25))
    axes = axes_at(figure, 0.6, 0.6, width, height)
    image = axes.imshow(matrix, cmap="viridis", vmin=0, vmax=100)
    for (row, column), value in np.ndenumerate(matrix):
        if not np.isnan(value):
            colour, size = "white" if value < 60 else "black", 8 if tasks <= 10 else 6.5
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=size, color=colour)
    numbers = [str(task + 1) for task in range(tasks)]
    axes.set_xticks([*range(tasks), tasks + 1], [*numbers, last], fontsize=8)
    axes.set_yticks(range(tasks), numbers, fontsize=8)
    axes.set_xlabel(across, fontsize=9)
    axes.set_ylabel(down, fontsize=9)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, cax=axes_at(figure, width + 0.75, 0.6, 0.15, height))
    bar.set_label(unit, fontsize=9)
    bar.ax.tick_params(labelsize=8)
    set_title(figure, title)
    return figure, axes


def accuracy_figure(
    rows: Sequence[Sequence[float]], tasks: int, title: str, kind: str = "accuracy",
) -> Figure:
    """Heat map of the accuracy in percent after each task (down) on each task (across), and their mean.

    Args:
        rows: [after task][on task], of the tasks learned so far.
        tasks: of the whole run.
    """
    matrix = np.full((tasks, tasks + 2), np.nan)
    for after, row in enumerate(rows):
        matrix[after, : len(row)] = row
        matrix[after, -1] = np.mean(row)
    figure, axes = heat_map(matrix, "mean", "on task", "after task", f"{kind} (%)", title)
    to_come = np.ma.masked_equal(np.column_stack([np.tri(tasks), np.zeros(tasks), np.ones(tasks)]), 0)
    axes.imshow(to_come, cmap=ListedColormap(["#F0F0F0"]), zorder=-1)
    return figure


def confusion_figure(
    confusion: Tensor, ranges: Sequence[range], title: str, images: str = "test images",
) -> Figure:
    """Heat map of the percentage of each task's images (down) that are called a class of each task (across)
    and, apart, their own class.

    Args:
        confusion: [classes, classes] images of a class (row) that are called each class (column).
        ranges: the classes of each task.
    """
    tasks, starts = len(ranges), [classes.start for classes in ranges]
    counts = np.add.reduceat(np.add.reduceat(confusion.numpy(), starts, 0), starts, 1)
    matrix = np.full((tasks, tasks + 2), np.nan)
    matrix[:, :tasks] = 100 * counts / counts.sum(1, keepdims=True)
    matrix[:, -1] = 100 * np.add.reduceat(confusion.diagonal().numpy(), starts) / counts.sum(1)
    across = "called a class of task; right: called its own class"
    return heat_map(matrix, "right", across, f"{images} of task", f"{images} (%)", title)[0]


# Losses


def loss_records(metrics: Path, repeat: int) -> list[dict[str, Any]]:
    """The records of epochs in metrics.jsonl of a repeat, counted from 1 as there."""
    records = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    return [record for record in records if record["repeat"] == repeat and "losses" in record]


def losses_figure(records: Sequence[dict[str, Any]], title: str) -> Figure:
    """One panel per loss, one row of panels per stage: the mean over each epoch, task after task."""
    panels: dict[str, dict[str, tuple[list[int], list[float]]]] = {}  # {stage: {loss: (epochs, values)}}
    epochs: dict[str, int] = {}  # {stage: epochs so far}
    starts: dict[str, list[tuple[int, int]]] = {}  # {stage: [(first epoch, task)]}
    for record in records:
        stage = record["stage"]
        epochs[stage] = epochs.get(stage, 0) + 1
        if not starts.get(stage) or starts[stage][-1][1] != record["task"]:
            starts.setdefault(stage, []).append((epochs[stage], record["task"]))
        for name, value in record["losses"].items():
            x, y = panels.setdefault(stage, {}).setdefault(name, ([], []))
            if x and x[-1] < starts[stage][-1][0]:  # no line from one task to the next
                x.append(epochs[stage] - 1)
                y.append(np.nan)
            x.append(epochs[stage])
            y.append(value)
    columns, few = max(map(len, panels.values())), max(epochs.values()) <= 40
    width = max(2.05, 4.0 / columns)
    figure = Figure(figsize=((width + 0.65) * columns, 2.05 * len(panels) + 0.2))
    for row, (stage, losses) in enumerate(panels.items()):
        first = [start - 0.5 for start, _ in starts[stage]]
        centres = [(start + end) / 2 for start, end in zip(first, [*first[1:], epochs[stage] + 0.5])]
        step = -(-len(first) // 10)
        for column, (name, (x, y)) in enumerate(losses.items()):
            axes = axes_at(figure, (width + 0.65) * column + 0.55, 2.05 * row + 0.6, width, 1.4)
            axes.plot(
                x, y, color="#0072B2", linewidth=1.2 if few else 0.8, marker="." if few else None,
                markersize=4)
            axes.vlines(
                first[1:], 0, 1, transform=axes.get_xaxis_transform(), color="#BBBBBB", linewidth=0.6,
                zorder=0)
            axes.set_title(f"{stage}: {name}", fontsize=9)
            axes.set_xticks(centres[::step], [str(task) for _, task in starts[stage][::step]])
            axes.set_xlim(0.5, epochs[stage] + 0.5)
            axes.set_xlabel("task", fontsize=7, labelpad=1)
            axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
            axes.yaxis.set_major_formatter(lambda tick, _: f"{tick:.6g}")  # no factor over the title
            axes.tick_params(labelsize=7)
            axes.tick_params(axis="x", length=0)
            axes.spines[["top", "right"]].set_visible(False)
    set_title(figure, title)
    return figure
