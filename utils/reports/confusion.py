"""Which task's classes test images are taken for when a run has learned its last task."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from utils.reports.figures import heat_map


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
    matrix = np.full((tasks, tasks + 2), np.nan)
    matrix[:, :tasks], matrix[:, -1] = by_task(confusion, ranges), right_by_task(confusion, ranges)
    across = "called a class of task; right: called its own class"
    figure, _ = heat_map(matrix, "right", across, "test images of task", "test images (%)", title)
    return figure
