"""The figures that a run draws while it is under way, and the writing of any figure to a file."""

from collections.abc import Callable, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.text import Text
from torch import Tensor

from utils.files import replacing
from utils.reports.dreams import draw_dreams
from utils.training.listeners import Listener
from utils.training.log import read_records
from utils.training.results import percent
from utils.training.state import RunState


class RunFigures(Listener):
    """Draws PNG files into ``log_dir/figures``.

    Args:
        drawn: receives each figure too: its name, the figure, and after how many tasks it was drawn.
    """

    def __init__(self, drawn: Callable[[str, Figure, int], None] | None = None):
        self.drawn = drawn

    def stage_ended(self, run: RunState) -> None:
        """Draw what the model of the earlier tasks dreams."""
        if run.stage.dreams:
            done = run.task.index
            self.draw(run, f"dreams-after-task-{done}", draw_dreams(run, images_of(run)), done)

    def task_ended(self, run: RunState) -> None:
        """Draw the accuracies and losses of the repeat so far, over the figures of the task before."""
        repeat, done, count = run.place.repeat, run.task.index + 1, len(run.tasks)
        title = f"{run.settings.learner_name}: repeat {repeat + 1}, after task {done} of {count}"
        figure = accuracy_figure(run.results.matrix[repeat], count, title, percent(run.settings))
        self.draw(run, "accuracy", figure, done)
        if done == count:
            starts = [task.old for task in run.tasks]
            figure = confusion_figure(run.results.confusion[repeat], starts, title, images_of(run))
            self.draw(run, "confusion", figure, done)
        epochs = [record for record in read_records(run.log.folder, repeat + 1) if "losses" in record]
        if epochs:
            self.draw(run, "losses", losses_figure(epochs, title), done)

    def draw(self, run: RunState, name: str, figure: Figure, tasks: int) -> None:
        save_figure(run.log.folder / "figures" / f"repeat-{run.place.repeat + 1}" / f"{name}.png", figure)
        if self.drawn:
            self.drawn(name, figure, tasks)


def images_of(run: RunState) -> str:
    return "validation images" if run.settings.validation else "test images"


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
    """Draw percentages [tasks, tasks + 1] by task (down) and task (across), with the last column apart; NaN
    stays white."""
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


def accuracy_figure(rows: Sequence[Sequence[float]], tasks: int, title: str, unit: str = "%") -> Figure:
    """Draw accuracies [after task][on task] so far, and the mean after each task. ``tasks`` is how many the
    whole run has, ``unit`` that of the accuracies."""
    matrix = np.full((tasks, tasks + 1), np.nan)
    for after, row in enumerate(rows):
        matrix[after, : len(row)] = row
        matrix[after, -1] = np.mean(row)
    return heat_map(matrix, "mean", "on task", "after task", f"accuracy in {unit}", title)


def confusion_figure(confusion: Tensor, starts: Sequence[int], title: str, images: str) -> Figure:
    """Draw the percentage of each task's images (down) that are called a class of each task (across) and,
    apart, their own class.

    Args:
        confusion: [classes, classes] images of a class (row) that are called each class (column).
        starts: the first class of each task. images: names the images.
    """
    called = np.add.reduceat(np.add.reduceat(confusion.numpy(), starts, 0), starts, 1)
    right = np.add.reduceat(confusion.diagonal().numpy(), starts)
    matrix = 100 * np.column_stack([called, right]) / called.sum(1, keepdims=True)
    return heat_map(matrix, "right", "called a class of task", f"{images} of task", f"{images} (%)", title)


def losses_figure(records: Sequence[dict[str, Any]], title: str) -> Figure:
    """Draw the mean of each loss over each epoch, task after task: a row of panels per stage."""
    stages: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        stages.setdefault(record["stage"], []).append(record)
    rows = [[*dict.fromkeys(f"{stage}: {name}" for epoch in epochs for name in epoch["losses"])]
            for stage, epochs in stages.items()]
    columns = max(map(len, rows))
    panels: list[Any] = [row + ["."] * (columns - len(row)) for row in rows]
    figure = Figure(figsize=(max(2.8 * columns, 5), 2.2 * len(stages) + 0.4), layout="constrained")
    for panel, axes in figure.subplot_mosaic(panels).items():
        stage, name = panel.split(": ")
        begins = {}
        points = [(epoch["task"], number, epoch["losses"][name])
                  for number, epoch in enumerate(stages[stage], 1) if name in epoch["losses"]]
        for task, group in groupby(points, itemgetter(0)):
            _, numbers, values = zip(*group)
            axes.plot(numbers, values, color="tab:blue", marker="." if len(stages[stage]) < 50 else "")
            begins[numbers[0]] = task
        step = 1 + len(begins) // 15
        axes.set_xticks([*begins][::step], [*begins.values()][::step])
        axes.grid(axis="x")
        axes.yaxis.set_major_formatter("{x:.4g}")  # without a power of ten beside the title
        axes.tick_params(labelsize=8)
        axes.set_xlabel("task", fontsize=8)
        axes.set_title(panel, fontsize=9)
    figure.suptitle(title)
    return figure
