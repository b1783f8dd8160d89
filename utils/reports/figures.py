"""The figures that a run draws while it is under way: dreams beside real images, accuracies, confusion, losses."""

import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor
from torch.nn import functional as F

from dataloaders.batches import Images
from dataloaders.datasets import DATASETS
from learners import Stage
from utils.files import on_cpu, replacing
from utils.reports.runs import accuracy_kind
from utils.training.folder import RunFolder
from utils.training.listeners import Listener
from utils.training.measures import Measures
from utils.training.state import RunState

PICTURED = 20  # images per class that the teacher sees; the picture has the surest
ROWS = 20  # classes in a picture
COLUMNS = 8
SIDE = 64  # side of an image in a picture, in dots
NAME = 24  # letters of a class's name
DOTS_PER_INCH = 150

matplotlib.rcParams["text.parse_math"] = False  # a $ in a folder's or a class's name is a dollar


def save_figure(path: Path, figure: Figure) -> None:
    """Write a PNG file; a lower compression level takes half the time."""
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=DOTS_PER_INCH, pil_kwargs={"compress_level": 3})


def axes_at(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at a place in inches, ``top`` below the figure's edge; faster than a layout engine."""
    across, down = figure.get_size_inches()
    return figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))


def set_title(figure: Figure, text: str) -> None:
    figure.suptitle(text, y=1 - 0.1 / figure.get_figheight(), va="top", fontsize=10)


# Dreams


class Gallery(NamedTuple):
    """Images by class, and what a teacher sees in them.

    Attributes:
        images: [N, 3, S, S] in [0, 1].
        labels: [N], the class that an image is shown under.
        right: [N], whether the teacher sees that class.
        confidence: [N], the teacher's probability of that class.
    """

    images: Tensor
    labels: Tensor
    right: Tensor
    confidence: Tensor


def dreams_seen(teach: Callable[[Tensor], Tensor], dreams: list[Tensor], denormalise: Callable[[Tensor], Tensor]) -> Gallery:
    """Dreams under the class that the teacher sees in them.

    Args:
        teach: images to the teacher's logits for the old classes.
        dreams: batches [B, 3, S, S], as networks see them.
    """
    confidence, labels = torch.cat([teach(batch) for batch in dreams]).softmax(1).max(1)
    return Gallery(denormalise(torch.cat(dreams)), labels, torch.ones_like(labels, dtype=torch.bool), confidence)


def real_seen(teach: Callable[[Tensor], Tensor], tests: Sequence[Images], classes: Sequence[int]) -> Gallery:
    """The first test images of each class, under that class."""
    chosen = [test[(test.labels == label).nonzero().flatten()[:PICTURED]] for label in classes for test in tests]
    batches = [batch for images in chosen for batch in images.in_order()]
    labels = torch.cat([y for _, y in batches])
    likely = torch.cat([teach(x) for x, _ in batches]).softmax(1)
    images = torch.cat([tests[0].pixels.denormalise(x) for x, _ in batches])
    return Gallery(images, labels, likely.argmax(1) == labels, likely.gather(1, labels[:, None])[:, 0])


def pictured_classes(labels: Tensor) -> list[int]:
    """The classes that occur, or ROWS of them at equal distances in the class order."""
    classes = labels.unique().tolist()
    return [classes[k] for k in np.linspace(0, len(classes) - 1, min(ROWS, len(classes))).round().astype(int)]


def short_name(name: str) -> str:
    """The first of ImageNet's names for a class, cut to fit beside its row."""
    first = name.split(",")[0]
    return first if len(first) <= NAME else f"{first[: NAME - 1]}…"


def dreams_figure(dreams: Gallery, real: Gallery, names: Sequence[str], title: str) -> Figure:
    """One row per class that the teacher sees: dreams on the left, real images of the class on the right, the surest first.

    Args:
        names: of the classes.
    """
    dreams, real = on_cpu((dreams, real))
    classes, size = pictured_classes(dreams.labels), min(dreams.images.shape[-1], SIDE)
    side = size + max(size // 16, 1)  # with the gap between two images
    cell = side / size * SIDE / DOTS_PER_INCH
    width, height = COLUMNS * cell, len(classes) * cell
    figure = Figure(figsize=(2 * width + 2.5, height + 0.75))
    left, right = axes_at(figure, 1.55, 0.65, width, height), axes_at(figure, width + 1.65, 0.65, width, height)
    left.set_title("dreams, by the class that the teacher sees", fontsize=9)
    right.set_title("real test images of that class, for this picture only", fontsize=9)
    for axes, gallery in ((left, dreams), (right, real)):
        canvas, captions = np.full((len(classes) * side, COLUMNS * side, 3), 255, np.uint8), []
        for row, label in enumerate(classes):
            mine = (gallery.labels == label).nonzero().flatten()
            shown = gallery.images[mine[gallery.confidence[mine].argsort(descending=True)][:COLUMNS]]
            if shown.shape[-1] > size:
                shown = F.interpolate(shown, size, mode="bilinear", antialias=True)
            for column, pixels in enumerate((shown * 255).round().byte().permute(0, 2, 3, 1).numpy()):
                canvas[row * side : row * side + size, column * side : column * side + size] = pixels
            sure = f"{100 * gallery.confidence[mine].mean().item():.0f} % sure"
            captions.append(
                f"{short_name(names[label])}\n{len(mine)} seen, {sure}" if gallery is dreams
                else f"{int(gallery.right[mine].sum())} of {len(mine)} right\n{sure}")
        axes.imshow(canvas, interpolation="nearest")
        axes.set_xticks([])
        axes.set_yticks([row * side + size / 2 - 0.5 for row in range(len(classes))], captions, fontsize=7)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    right.yaxis.tick_right()
    count = len(dreams.labels.unique())
    set_title(figure, title if count == len(classes) else f"{title} ({len(classes)} of the {count} classes dreamed)")
    return figure


# Accuracies and confusion


def heat_map(matrix: np.ndarray, last: str, across: str, down: str, unit: str, title: str) -> tuple[Figure, Axes]:
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


def accuracy_figure(rows: Sequence[Sequence[float]], tasks: int, title: str, kind: str = "accuracy") -> Figure:
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


def confusion_figure(confusion: Tensor, ranges: Sequence[range], title: str, images: str = "test images") -> Figure:
    """Heat map of the percentage of each task's images (down) that are called a class of each task (across) and, apart,
    their own class.

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
            axes.plot(x, y, color="#0072B2", linewidth=1.2 if few else 0.8, marker="." if few else None, markersize=4)
            axes.vlines(first[1:], 0, 1, transform=axes.get_xaxis_transform(), color="#BBBBBB", linewidth=0.6, zorder=0)
            axes.set_title(f"{stage}: {name}", fontsize=9)
            axes.set_xticks(centres[::step], [str(task) for _, task in starts[stage][::step]])
            axes.set_xlim(0.5, epochs[stage] + 0.5)
            axes.set_xlabel("task", fontsize=7, labelpad=1)
            axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
            axes.yaxis.set_major_formatter(lambda tick, _: f"{tick:.6g}")  # no factor above the axis, where the title is
            axes.tick_params(labelsize=7)
            axes.tick_params(axis="x", length=0)
            axes.spines[["top", "right"]].set_visible(False)
    set_title(figure, title)
    return figure


# While a run is under way


class RunFigures(Listener):
    """Draws PNG files into ``log_dir/figures``.

    Args:
        drawn: receives each figure too: its name, the figure, and after how many tasks it was drawn.
    """

    def __init__(self, folder: RunFolder, drawn: Callable[[str, Figure, int], None] | None = None):
        self.folder = folder
        self.drawn = drawn

    @torch.no_grad()
    def stage_ended(self, run: RunState, stage: Stage) -> None:
        """Draw what the model of the earlier tasks dreams; the random streams stay as they were."""
        if not stage.dreams:
            return
        learner, task, count = run.learner.eval(), run.task, len(run.tasks)
        kept = copy.deepcopy(run.streams.state_dict())
        # One class's worth at a time: all dreams of 224 x 224 pixels at once fill a GPU.
        dreams = dreams_seen(learner.teach, [learner.dream(PICTURED) for _ in range(task.old)], task.test.pixels.denormalise)
        run.streams.load_state_dict(kept)
        real = real_seen(learner.teach, [past.test for past in run.tasks[: task.index]], pictured_classes(dreams.labels))
        title = f"{run.settings.learner_name}: dreamed after task {task.index} of {count}"
        self.draw(run, f"dreams-after-task-{task.index}", dreams_figure(dreams, real, task.names, title), task.index)

    def task_ended(self, run: RunState, measures: Measures) -> None:
        """Draw the accuracies and losses of the repeat so far, over the figures of the task before."""
        repeat, done, count = run.place.repeat, run.task.index + 1, len(run.tasks)
        known, held_out = DATASETS[run.settings.dataset], run.settings.validation
        after = f"{run.settings.learner_name}: repeat {repeat + 1}, after task {done} of {count}"
        kind = accuracy_kind(known.top_k, held_out)
        title = f"{after}\n{'validation ' * held_out}accuracy {run.results.latest(repeat, known.percent)}"
        rows = run.results.matrix[repeat]
        self.draw(run, "accuracy", accuracy_figure(rows, count, title, kind), done)
        if len(rows) == count:
            ranges = [range(task.old, task.seen) for task in run.tasks]
            images = f"{'validation' if held_out else 'test'} images"
            self.draw(run, "confusion", confusion_figure(run.results.confusion[repeat], ranges, after, images), done)
        if records := loss_records(self.folder.path / "metrics.jsonl", repeat + 1):
            self.draw(run, "losses", losses_figure(records, after), done)

    def draw(self, run: RunState, name: str, figure: Figure, tasks: int) -> None:
        save_figure(self.folder.path / "figures" / f"repeat-{run.place.repeat + 1}" / f"{name}.png", figure)
        if self.drawn:
            self.drawn(name, figure, tasks)
