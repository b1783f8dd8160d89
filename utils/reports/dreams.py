"""A run's dreams beside real images of the classes that the teacher sees in them."""

import copy
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

from dataloaders.batches import Images
from utils.files import on_cpu
from utils.training.state import RunState

PICTURED = 20  # images per class that the teacher sees; the picture has the surest
ROWS, COLUMNS = 20, 8  # of a picture: classes, and images of each


class Gallery(NamedTuple):
    """Images [N, 3, S, S] in [0, 1], the class of each [N], and the teacher's probability of it [N]."""

    images: Tensor
    labels: Tensor
    sure: Tensor


@torch.no_grad()
def look(
    teach: Callable[[Tensor], Tensor], denormalise: Callable[[Tensor], Tensor], batches: Iterable[Tensor],
    labels: Tensor | None = None,
) -> Gallery:
    """Let a teacher, which gives logits for the old classes, look at batches of images [B, 3, S, S]. Without
    ``labels`` [N], they are the classes that it sees."""
    images, logits = zip(*((denormalise(x), teach(x)) for x in batches))
    probabilities = torch.cat(logits).softmax(1)
    labels = probabilities.argmax(1) if labels is None else labels
    return Gallery(*on_cpu([torch.cat(images), labels, probabilities.gather(1, labels[:, None])[:, 0]]))


def pictured_classes(labels: Tensor) -> list[int]:
    """Return the classes that occur, or ROWS of them at equal distances in the class order."""
    classes = labels.unique()
    return classes[torch.linspace(0, len(classes) - 1, min(ROWS, len(classes))).round().long()].tolist()


def draw_dreams(run: RunState, kind: str) -> Figure:
    """Draw what the model of the earlier tasks dreams; the random streams stay as they were.

    Args:
        kind: names the real images.
    """
    learner, task = run.learner.eval(), run.task
    denormalise = task.test.pixels.denormalise
    kept = copy.deepcopy(run.streams.state_dict())
    # Batches of one class's worth: all dreams of 224 x 224 pixels at once fill a GPU.
    dreams = look(learner.teach, denormalise, (learner.dream(PICTURED) for _ in range(task.old)))
    run.streams.load_state_dict(kept)

    tests = functools.reduce(Images.__add__, [past.test for past in run.tasks[: task.index]])
    of_class = [(tests.labels == label).nonzero().flatten() for label in pictured_classes(dreams.labels)]
    chosen = tests[torch.cat([rows[:PICTURED] for rows in of_class])]
    real = look(learner.teach, denormalise, (x for x, _ in chosen.in_order()), chosen.labels)
    title = f"{run.settings.learner_name}: dreamed after task {task.index} of {len(run.tasks)}"
    return dreams_figure(dreams, real, task.names, title, kind)


def dreams_figure(
    dreams: Gallery, real: Gallery, names: Sequence[str], title: str, kind: str = "test images",
) -> Figure:
    """Draw one row per class that the teacher sees: dreams on the left, real images of the class, named by
    ``kind``, on the right, the surest first. ``names`` are the classes'."""
    classes, size = pictured_classes(dreams.labels), dreams.images.shape[-1]
    side = size + size // 16 + 1  # with the gap between two images
    figure = Figure(figsize=(9.5, 0.42 * len(classes) + 1.2), layout="compressed")
    left, right = figure.subplots(1, 2)
    left.set_title("dreams, by the class that the teacher sees", fontsize=9)
    right.set_title(f"real {kind} of that class, only for this picture", fontsize=9)
    for axes, gallery, word in ((left, dreams, "dreams"), (right, real, "images")):
        canvas = torch.full((len(classes), COLUMNS, side, side, 3), 255, dtype=torch.uint8)
        captions = []
        for row, label in zip(canvas, classes):
            sure = gallery.sure[gallery.labels == label]
            shown = gallery.images[gallery.labels == label][sure.argsort(descending=True)[:COLUMNS]]
            row[: len(shown), :size, :size] = (shown * 255).round().permute(0, 2, 3, 1)
            name = f"{names[label].split(',')[0]}\n" if gallery is dreams else ""  # ImageNet's have several
            captions.append(f"{name}{len(sure)} {word}, {100 * sure.mean():.0f} % sure")
        axes.imshow(canvas.transpose(1, 2).reshape(len(classes) * side, COLUMNS * side, 3).numpy())
        axes.set_xticks([])
        axes.set_yticks([row * side + size / 2 for row in range(len(classes))], captions, fontsize=7)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    right.yaxis.tick_right()
    dreamed = len(dreams.labels.unique())
    figure.suptitle(title + f" ({len(classes)} of {dreamed} classes)" * (dreamed > len(classes)))
    return figure
