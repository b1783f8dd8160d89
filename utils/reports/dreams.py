"""A run's dreams beside real images of the classes that the teacher sees in them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from dataloaders.batches import Images
from utils.files import on_cpu
from utils.reports.figures import DOTS_PER_INCH, axes_at, set_title

PICTURED = 20  # images per class that the teacher sees; the picture has the surest
ROWS = 20  # classes in a picture
COLUMNS = 8
SIDE = 64  # side of an image in a picture, in dots
NAME = 24  # letters of a class's name


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


def dreams_seen(
    teach: Callable[[Tensor], Tensor], dreams: list[Tensor], denormalise: Callable[[Tensor], Tensor],
) -> Gallery:
    """Dreams under the class that the teacher sees in them.

    Args:
        teach: images to the teacher's logits for the old classes.
        dreams: batches [B, 3, S, S], as networks see them.
    """
    confidence, labels = torch.cat([teach(batch) for batch in dreams]).softmax(1).max(1)
    return Gallery(
        denormalise(torch.cat(dreams)), labels, torch.ones_like(labels, dtype=torch.bool), confidence)


def real_seen(teach: Callable[[Tensor], Tensor], tests: Sequence[Images], classes: Sequence[int]) -> Gallery:
    """The first test images of each class, under that class."""
    chosen = [
        test[(test.labels == label).nonzero().flatten()[:PICTURED]] for label in classes for test in tests]
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


def dreams_figure(
    dreams: Gallery, real: Gallery, names: Sequence[str], title: str, images: str = "test images",
) -> Figure:
    """One row per class that the teacher sees: dreams on the left, real images of the class on the right, the
    surest first.

    Args:
        names: of the classes.
    """
    dreams, real = on_cpu((dreams, real))
    classes, size = pictured_classes(dreams.labels), min(dreams.images.shape[-1], SIDE)
    side = size + max(size // 16, 1)  # with the gap between two images
    cell = side / size * SIDE / DOTS_PER_INCH
    width, height = COLUMNS * cell, len(classes) * cell
    figure = Figure(figsize=(2 * width + 2.5, height + 0.75))
    left, right = (axes_at(figure, across, 0.65, width, height) for across in (1.55, width + 1.65))
    left.set_title("dreams, by the class that the teacher sees", fontsize=9)
    right.set_title(f"real {images} of that class, for this picture only", fontsize=9)
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
    part = f" ({len(classes)} of the {count} classes dreamed)" * (count > len(classes))
    set_title(figure, title + part)
    return figure
