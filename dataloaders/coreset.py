"""The coreset: the few training images that a learner may keep (docs/specification.md, "Learners with a coreset")."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from dataloaders.batches import Images, Source


def nearest_to_mean(features: Tensor, count: int) -> Tensor:
    """The ``count`` images whose features [N, D] lie nearest to their mean, the nearest first (E2E)."""
    return (features - features.mean(0)).norm(dim=1).argsort(stable=True)[:count]


def herding(features: Tensor, count: int) -> Tensor:
    """Greedily ``count`` images: each next one brings the mean of those chosen closest to the mean of all the
    features [N, D] (BiC; Welling 2009)."""
    mean, total = features.mean(0), torch.zeros_like(features[0])
    left = torch.ones(len(features), dtype=torch.bool, device=features.device)
    chosen = []
    for number in range(1, min(count, len(features)) + 1):
        distance = (mean - (total + features) / number).norm(dim=1)
        best = torch.where(left, distance, torch.inf).argmin()
        chosen.append(best)
        left[best] = False
        total = total + features[best]
    return torch.stack(chosen) if chosen else features.new_empty(0, dtype=torch.long)


def first_of_each_class(labels: Tensor, count: int) -> Tensor:
    """[N] bool: whether an image is among the first ``count`` of its class, in their order."""
    order = labels.argsort(stable=True)
    _, sizes = labels[order].unique_consecutive(return_counts=True)
    starts = (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    first = torch.empty_like(labels, dtype=torch.bool)
    first[order] = torch.arange(len(labels), device=labels.device) - starts < count
    return first


def shares(memory: int, classes: int) -> list[int]:
    """Images a class: memory // classes, the remainder one each to the latest classes."""
    each, rest = divmod(memory, classes)
    return [each + (label >= classes - rest) for label in range(classes)]


def coreset_size(memory: int, counts: Sequence[int]) -> int:
    """Images in a coreset over classes that have so many images."""
    return sum(map(min, shares(memory, len(counts)), counts)) if counts else 0


class Coreset(nn.Module):
    """At most ``memory`` rows of the training images, class by class in learning order. A module without
    parameters, so that a learner's checkpoint holds it.

    Attributes:
        classes: [class] the rows kept of a class.
    """

    classes: list[Tensor]

    def __init__(self, memory: int):
        super().__init__()
        self.memory = memory
        self.classes = []

    def __len__(self) -> int:
        return sum(map(len, self.classes))

    def images(self, source: Source) -> Images:
        device = source.labels.device
        return Images(source, torch.cat([torch.empty(0, dtype=torch.long, device=device), *(rows.to(device) for rows in self.classes)]))

    def draw(self, data: Images, seen: int, random: torch.Generator) -> None:
        """Choose all anew at random: of each class its share of ``data``, without replacement."""
        order = torch.randperm(len(data), generator=random, device=data.rows.device)
        rows, labels = data.rows[order], data.labels[order]
        self.classes = [rows[labels == label][:share] for label, share in enumerate(shares(self.memory, seen))]

    def rank(self, data: Images, seen: int, features: Callable[[Images], Tensor], choose: Callable[[Tensor, int], Tensor]) -> None:
        """Rank the images of the classes that are new in ``data``; a known class keeps the first of its own list.

        Args:
            features: of images, [N, D].
            choose: nearest_to_mean or herding.
        """
        share = shares(self.memory, seen)
        for label in range(len(self.classes), seen):
            mine = data[(data.labels == label).nonzero().flatten()]
            self.classes.append(mine.rows[choose(features(mine), share[label])])
        self.classes = [rows[:count] for rows, count in zip(self.classes, share)]

    def get_extra_state(self) -> Tensor:
        """[2, N]: row and class of every image."""
        pairs = [torch.stack([rows.cpu(), torch.full((len(rows),), label)]) for label, rows in enumerate(self.classes)]
        return torch.cat([torch.empty(2, 0, dtype=torch.long), *pairs], 1)

    def set_extra_state(self, state: Tensor) -> None:
        rows, labels = state
        self.classes = [rows[labels == label] for label in range(int(labels.max()) + 1)] if len(labels) else []
