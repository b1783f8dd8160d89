"""Heat maps of accuracies and confusion, curves of losses, and the writing of any figure to a file."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.text import Text
from torch import Tensor

from utils.files import replacing


def save_figure(path: Path, figure: Figure) -> None:
    """Write a PNG, SVG or PDF file, whatever a host program has set about formulas: a $ in the name of a
    folder or a class is a dollar, and LaTeX is not needed."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)
        text.set_usetex(False)
    form = path.suffix[1:]
    more: dict[str, Any] = {"pil_kwargs": {"compress_level": 3}} if form == "png" else {}  # half the time
    with replacing(path) as partial, rc_context({"text.usetex": False}):
        figure.savefig(partial, format=form, dpi=150, **more)


def heat_map(matrix: np.ndarray, last: str, across: str, down: str, unit: str, title: str) -> Figure:
    """Draw percentages by task (down) and task (across), with one column apart; NaN stays white.

    Args:
        matrix: [tasks, tasks + 1].
        last: name of the last column.
        across, down, unit: labels of the axes and of the colour bar.
    """
    tasks = len(matrix)
    numbers = [str(task) for task in range(1, tasks + 1)]
    figure = Figure(figsize=(max(0.4 * tasks + 3, 5), max(0.4 * tasks + 1.5, 3)), layout="constrained")
    axes = figure.subplots()
    cells = np.insert(matrix, tasks, np.nan, axis=1)  # a gap before the last column
    image = axes.imshow(cells, vmin=0, vmax=100)
    for (row, column), value in np.ndenumerate(cells):
        if not np.isnan(value):
            colour = "white" if value < 60 else "black"
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks([*range(tasks), tasks + 1], [*numbers, last])
    axes.set_yticks(range(tasks), numbers)
    axes.set(xlabel=across, ylabel=down)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, label=unit)
    figure.suptitle(title)
    return figure


def accuracy_figure(
    rows: Sequence[Sequence[float]], tasks: int, title: str, kind: str = "accuracy",
) -> Figure:
    """Draw the accuracy in percent after each task (down) on each task (across), and their mean.

    Args:
        rows: [after task][on task], of the tasks learned so far.
        tasks: of the whole run.
        kind: names the accuracy.
    """
    matrix = np.full((tasks, tasks + 1), np.nan)
    for after, row in enumerate(rows):
        matrix[after, : len(row)] = row
        matrix[after, -1] = np.mean(row)
    return heat_map(matrix, "mean", "on task", "after task", f"{kind} (%)", title)


def confusion_figure(confusion: Tensor, starts: Sequence[int], title: str, images: str) -> Figure:
    """Draw the percentage of each task's images (down) that are called a class of each task (across) and,
    apart, their own class.

    Args:
        confusion: [classes, classes] images of a class (row) that are called each class (column).
        starts: the first class of each task.
        images: names the images.
    """
    called = np.add.reduceat(np.add.reduceat(confusion.numpy(), starts, 0), starts, 1)
    right = np.add.reduceat(confusion.diagonal().numpy(), starts)
    matrix = 100 * np.column_stack([called, right]) / called.sum(1, keepdims=True)
    return heat_map(matrix, "right", "called a class of task", f"{images} of task", f"{images} (%)", title)


def losses_figure(records: Sequence[dict[str, Any]], title: str) -> Figure:
    """Draw the mean of each loss over each epoch, task after task: a row of panels per stage."""
    # {stage: {loss: {task: [(epochs of the stage so far, value)]}}}
    stages: dict[str, dict[str, dict[int, list[tuple[int, float]]]]] = {}
    epochs: Counter[str] = Counter()
    for record in records:
        epochs[record["stage"]] += 1
        losses = stages.setdefault(record["stage"], {})
        for name, value in record["losses"].items():
            points = losses.setdefault(name, {}).setdefault(record["task"], [])
            points.append((epochs[record["stage"]], value))
    columns = max(map(len, stages.values()))
    figure = Figure(figsize=(max(2.8 * columns, 5), 2.2 * len(stages) + 0.4), layout="constrained")
    grid = figure.subplots(len(stages), columns, squeeze=False)
    for row, (stage, losses) in zip(grid, stages.items()):
        for axes, (name, tasks) in zip(row, losses.items()):
            for points in tasks.values():
                axes.plot(*zip(*points), color="tab:blue", marker="." if epochs[stage] < 50 else "")
            begins = {points[0][0]: task for task, points in tasks.items()}
            step = 1 + len(begins) // 15
            axes.set_xticks([*begins][::step], [*begins.values()][::step])
            axes.grid(axis="x")
            axes.yaxis.set_major_formatter("{x:.4g}")  # without a power of ten beside the title
            axes.tick_params(labelsize=8)
            axes.set_xlabel("task", fontsize=8)
            axes.set_title(f"{stage}: {name}", fontsize=9)
        for axes in row[len(losses) :]:
            axes.set_axis_off()
    figure.suptitle(title)
    return figure
