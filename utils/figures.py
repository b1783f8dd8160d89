"""Pictures of a run, as PNG through matplotlib."""

from pathlib import Path

import matplotlib
import torch
from torch import Tensor

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

from utils.files import replacing  # noqa: E402

ROWS = 20
COLUMNS = 10


def draw_dreams(path: Path, images: Tensor, labels: Tensor, confidence: Tensor, names: tuple[str, ...], title: str) -> None:
    """A grid of dreams, a row a class that the teacher sees in them, the surest first.

    Args:
        images: [N, 3, S, S] in [0, 1]. labels, confidence: [N], what the teacher sees and how surely.
        names: of the classes.
    """
    classes = labels.unique().tolist()[:ROWS]
    side = images.shape[-1]
    figure, axes = plt.subplots(len(classes), 1, figsize=(0.55 * COLUMNS + 1.6, 0.55 * len(classes) + 0.6), squeeze=False)
    for label, axis in zip(classes, axes[:, 0]):
        mine = torch.nonzero(labels == label).flatten()
        best = mine[confidence[mine].argsort(descending=True)][:COLUMNS]
        strip = torch.ones(3, side, COLUMNS * (side + 2))
        for place, index in enumerate(best.tolist()):
            strip[:, :, place * (side + 2) : place * (side + 2) + side] = images[index].cpu()
        axis.imshow(strip.permute(1, 2, 0).numpy(), interpolation="nearest")
        sure = 100 * confidence[mine].mean().item()
        axis.set_ylabel(f"{names[label]}\n{len(mine)} seen, {sure:.0f} %", rotation=0, ha="right", va="center", fontsize=7)
        axis.set_xticks([])
        axis.set_yticks([])
        for spine in axis.spines.values():
            spine.set_visible(False)
    figure.suptitle(title, fontsize=10)
    figure.tight_layout(pad=0.4)
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=150)
    plt.close(figure)
