"""The coreset: the few training images that a learner may keep (docs/specification.md, "Learners with a
coreset")."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from dataloaders.batches import Images, Source
from utils.files import on_cpu


def nearest_to_mean(features: Tensor, count: int) -> Tensor:
    """Indices of ``count`` images whose features [N, D] are nearest to their mean, nearest first (E2E)."""
    return (features - features.mean(0)).norm(dim=1).argsort(stable=True)[:count]


def herding(features: Tensor, count: int) -> Tensor:
    """Indices of ``count`` images, chosen greedily: each brings the mean of those chosen closest to the mean
    of all features [N, D] (BiC; Welling 2009)."""
    mean, total = features.mean(0), torch.zeros_like(features[0])
    left = torch.ones(len(features), dtype=torch.bool, device=features.device)
    chosen = []
    for number in range(1, min(count, len(features)) + 1):
        distance = (mean - (total + features) / number).norm(dim=1)
        best = torch.where(left, distance, torch.inf).argmin(0, keepdim=True)  # on the GPU: no wait
        chosen.append(best)
        left.index_fill_(0, best, False)
        total = total + features[best].squeeze(0)
    return torch.cat(chosen) if chosen else features.new_empty(0, dtype=torch.long)


def rank_in_class(labels: Tensor) -> Tensor:
    """[N] int64: how many images of the same class come before each image."""
    order = labels.argsort(stable=True)
    _, sizes = labels[order].unique_consecutive(return_counts=True)
    starts = (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(labels), device=labels.device) - starts
    return rank


def shares(memory: int, counts: Sequence[int]) -> list[int]:
    """The number of images kept of each class: memory // classes, or all of its ``counts`` if it has fewer.
    The remainder goes, one image each, to the latest classes that have more."""
    if not counts:
        return []
    each, rest = divmod(memory, len(counts))
    kept = [min(count, each) for count in counts]
    for label in [label for label, count in enumerate(counts) if count > each][::-1][:rest]:
        kept[label] += 1
    return kept


class Coreset(nn.Module):
    """At most ``memory`` rows of the training images. It is a module, so that a learner's state holds it.

    Attributes:
        classes: the rows kept of each class, in learned order, in the CPU's memory.
    """

    classes: list[Tensor]

    def __init__(self, memory: int):
        super().__init__()
        self.memory = memory
        self.classes = []

    def __len__(self) -> int:
        return sum(map(len, self.classes))

    def images(self, source: Source) -> Images:
        rows = torch.cat([torch.empty(0, dtype=torch.long), *self.classes])
        return Images(source, rows.to(source.labels.device))

    def draw(self, data: Images, seen: int, random: torch.Generator) -> None:
        """Choose all images anew, at random without replacement: of each class its share of ``data``."""
        order = torch.randperm(len(data), generator=random, device=data.rows.device)
        rows, labels = data.rows[order], data.labels[order]
        by_class = [rows[labels == label] for label in range(seen)]
        kept = shares(self.memory, [len(each) for each in by_class])
        self.classes = on_cpu([each[:count] for each, count in zip(by_class, kept)])

    def rank(
        self, data: Images, seen: int, features: Callable[[Images], Tensor],
        choose: Callable[[Tensor, int], Tensor],
    ) -> None:
        """Rank the images of classes that are new in ``data`` by their features [N, D]; a known class keeps
        the first of its list. ``choose`` is nearest_to_mean or herding."""
        new = [data[(data.labels == label).nonzero().flatten()] for label in range(len(self.classes), seen)]
        kept = shares(self.memory, [*map(len, self.classes), *map(len, new)])
        ranked = zip(new, kept[len(self.classes):])
        self.classes += [images.rows[choose(features(images), count)] for images, count in ranked]
        self.classes = on_cpu([rows[:count] for rows, count in zip(self.classes, kept)])

    def get_extra_state(self) -> Tensor:
        """[2, N]: row and class of every image."""
        pairs = [torch.stack([rows, torch.full_like(rows, label)]) for label, rows in enumerate(self.classes)]
        return torch.cat([torch.empty(2, 0, dtype=torch.long), *pairs], 1)

    def set_extra_state(self, state: Tensor) -> None:
        rows, labels = state
        count = int(labels.max()) + 1 if len(labels) else 0
        self.classes = [rows[labels == label] for label in range(count)]
