"""Which task's classes test images are taken for when a run has learned its last task."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from utils.reports.figures import axes_at, set_title


def by_task(confusion: Tensor, ranges: Sequence[range]) -> np.ndarray:
    """Percent of the test images of each task (down) that are called a class of each task (across).

    Args:
        confusion: [classes, classes] images of a class (row) that are called each class (column).
        ranges: the classes of every task.
    """
    starts = [classes.start for classes in ranges]
    counts = np.add.reduceat(np.add.reduceat(confusion.numpy(), starts, 0), starts, 1)
    return 100 * counts / counts.sum(1, keepdims=True)


def right_by_task(confusion: Tensor, ranges: Sequence[range]) -> np.ndarray:
    """Percent of the test images of each task that are called their own class (top-1)."""
    starts = [classes.start for classes in ranges]
    return 100 * np.add.reduceat(confusion.diagonal().numpy(), starts) / np.add.reduceat(confusion.sum(1).numpy(), starts)


def confusion_figure(confusion: Tensor, ranges: Sequence[range], title: str) -> Figure:
    """Heat map of ``by_task``, and beside it, apart, ``right_by_task``."""
    tasks = len(ranges)
    matrix = np.full((tasks, tasks + 2), np.nan)  # an empty column between the tasks and what is right
    matrix[:, :tasks], matrix[:, -1] = by_task(confusion, ranges), right_by_task(confusion, ranges)
    cell = max(0.46 if tasks <= 10 else 0.35, 3 / (tasks + 2))
    width, height = cell * (tasks + 2), cell * tasks
    figure = Figure(figsize=(width + 1.6, height + 1.35))
    axes = axes_at(figure, 0.6, 0.7, width, height)
    image = axes.imshow(matrix, cmap="viridis", vmin=0, vmax=100)
    for (of, called), value in np.ndenumerate(matrix):
        if not np.isnan(value):
            colour, size = "white" if value < 60 else "black", 8 if tasks <= 10 else 6.5
            axes.text(called, of, f"{value:.0f}", ha="center", va="center", fontsize=size, color=colour)
    numbers = [str(task + 1) for task in range(tasks)]
    axes.set_xticks([*range(tasks), tasks + 1], [*numbers, "right"], fontsize=8)
    axes.set_yticks(range(tasks), numbers, fontsize=8)
    axes.set_xlabel("called a class of task; right: called its own class", fontsize=9)
    axes.set_ylabel("test images of task", fontsize=9)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, cax=axes_at(figure, width + 0.75, 0.7, 0.15, height))
    bar.set_label("test images (%)", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    set_title(figure, title)
    return figure
