"""What a run looks like, through matplotlib: its dreams beside real images, its accuracies, its losses."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from dataloaders.batches import Images
from utils.files import replacing

PICTURED = 20  # images a class that the teacher is shown; the surest are in the picture
ROWS = 20  # classes in a picture
COLUMNS = 8
DOTS_PER_INCH = 150


def save_figure(path: Path, figure: Figure) -> None:
    """As PNG."""
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=DOTS_PER_INCH)


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
        dreams: in batches [B, 3, S, S], as networks see them.
    """
    confidence, labels = torch.cat([teach(some) for some in dreams]).softmax(1).max(1)
    return Gallery(denormalise(torch.cat(dreams)), labels, torch.ones_like(labels, dtype=torch.bool), confidence)


def real_seen(teach: Callable[[Tensor], Tensor], tests: Sequence[Images], classes: Sequence[int]) -> Gallery:
    """The first of each class's test images, under that class."""
    chosen = [test[(test.labels == label).nonzero().flatten()[:PICTURED]] for label in classes for test in tests]
    batches = [batch for some in chosen for batch in some.in_order()]
    labels = torch.cat([y for _, y in batches])
    likely = torch.cat([teach(x) for x, _ in batches]).softmax(1)
    images = torch.cat([tests[0].pixels.denormalise(x) for x, _ in batches])
    return Gallery(images, labels, likely.argmax(1) == labels, likely.gather(1, labels[:, None])[:, 0])


def pictured_classes(labels: Tensor) -> list[int]:
    """The classes that occur, or ROWS of them at equal distances in the class order: early and late tasks alike."""
    classes = labels.unique().tolist()
    return [classes[k] for k in np.linspace(0, len(classes) - 1, min(ROWS, len(classes))).round().astype(int)]


def dreams_figure(dreams: Gallery, real: Gallery, names: Sequence[str], title: str) -> Figure:
    """A row a class that the teacher sees in the dreams: on the left dreams, on the right real images of the class, of
    either those that the teacher is surest of, from left to right.

    Args:
        names: of the classes.
    """
    classes, side = pictured_classes(dreams.labels), dreams.images.shape[-1] + 2
    figure = Figure(figsize=(0.42 * 2 * COLUMNS + 2.9, 0.42 * len(classes) + 1.1), layout="compressed")
    left, right = figure.subplots(1, 2)
    galleries = (left, dreams, "dreams, by the class that the teacher sees"), (right, real, "real test images of that class, for this picture only")
    for axes, gallery, heading in galleries:
        canvas, captions = np.full((len(classes) * side, COLUMNS * side, 3), 255, np.uint8), []
        for row, label in enumerate(classes):
            mine = (gallery.labels == label).nonzero().flatten()
            for column, index in enumerate(mine[gallery.confidence[mine].argsort(descending=True)][:COLUMNS].tolist()):
                pixels = (gallery.images[index] * 255).round().byte().permute(1, 2, 0).cpu().numpy()
                canvas[row * side : (row + 1) * side - 2, column * side : (column + 1) * side - 2] = pixels
            sure = f"{100 * gallery.confidence[mine].mean().item():.0f} % sure"
            captions.append(
                f"{names[label]}\n{len(mine)} seen, {sure}" if gallery is dreams
                else f"{int(gallery.right[mine].sum())} of {len(mine)} right\n{sure}")
        axes.imshow(canvas, interpolation="nearest")
        axes.set_title(heading, fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([(row + 0.5) * side - 1 for row in range(len(classes))], captions, fontsize=7)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    right.yaxis.tick_right()
    count = len(dreams.labels.unique())
    figure.suptitle(title if count == len(classes) else f"{title} ({len(classes)} of {count} classes)", fontsize=10)
    return figure


# Accuracies


def accuracy_figure(rows: Sequence[Sequence[float]], tasks: int, title: str) -> Figure:
    """Heat map of the accuracy in percent after each task (down) on each task (across), and their mean.

    Args:
        rows: [after task][on task], of the tasks done so far.
        tasks: of the whole run.
    """
    matrix = np.full((tasks, tasks + 2), np.nan)  # an empty column between the tasks and their mean
    for after, row in enumerate(rows):
        matrix[after, : len(row)] = row
        matrix[after, -1] = np.mean(row)
    size = min(max(0.5 * tasks, 2.4), 7.5)
    figure = Figure(figsize=(size + 1.6 + size / tasks, size + 1), layout="compressed")
    axes = figure.subplots()
    image = axes.imshow(matrix, cmap="cividis", vmin=0, vmax=100)
    for (after, on), value in np.ndenumerate(matrix):
        if not np.isnan(value):
            colour, size = "white" if value < 55 else "black", 8 if tasks <= 10 else 6.5
            axes.text(on, after, f"{value:.0f}", ha="center", va="center", fontsize=size, color=colour)
    numbers = [str(task + 1) for task in range(tasks)]
    axes.set_xticks([*range(tasks), tasks + 1], [*numbers, "mean"], fontsize=8)
    axes.set_yticks(range(tasks), numbers, fontsize=8)
    axes.set_xlabel("on task", fontsize=9)
    axes.set_ylabel("after task", fontsize=9)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.9)
    bar.set_label("accuracy (%)", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    figure.suptitle(title, fontsize=10)
    return figure


# Losses


def loss_records(metrics: Path, repeat: int) -> list[dict[str, Any]]:
    """The records of epochs in metrics.jsonl of a repeat, which is counted from 1 there."""
    records = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    return [record for record in records if record["repeat"] == repeat and "losses" in record]


def losses_figure(records: Sequence[dict[str, Any]], title: str) -> Figure:
    """A panel a loss, by name, a row of panels a stage: its mean over each epoch, one task after the other."""
    panels: dict[str, dict[str, tuple[list[int], list[float]]]] = {}  # {stage: {loss: (epochs, values)}}
    epochs: dict[str, int] = {}  # of the stage so far
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
    width = max(map(len, panels.values()))
    figure = Figure(figsize=(max(2.6 * width, 4.5), 2.1 * len(panels) + 0.5), layout="constrained")
    grid = figure.subplots(len(panels), width, squeeze=False)
    for line, (stage, losses) in zip(grid, panels.items()):
        for axes, (name, (x, y)) in zip(line, losses.items()):
            axes.plot(x, y, color="#0072B2", linewidth=1.2, marker="." if epochs[stage] <= 40 else None, markersize=4)
            axes.set_title(f"{stage}: {name}", fontsize=9)
            step = -(-len(starts[stage]) // 10)
            for start, _ in starts[stage]:
                axes.axvline(start - 0.5, color="#BBBBBB", linewidth=0.6, zorder=0)
            axes.set_xticks([start - 0.5 for start, _ in starts[stage][::step]], [str(task) for _, task in starts[stage][::step]])
            axes.set_xlim(0.5, epochs[stage] + 0.5)
            axes.tick_params(labelsize=7)
            axes.set_xlabel("beginning of task", fontsize=7)
            axes.spines[["top", "right"]].set_visible(False)
        for axes in line[len(losses) :]:
            axes.set_visible(False)
    figure.suptitle(title, fontsize=10)
    return figure
