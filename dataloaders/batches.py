"""Data that fits in memory, kept on the device as uint8 and served in batches by tensor code alone."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dataloaders.augmentation import augment
from utils.streams import Streams


class Pixels:
    """Turns 0..255 into what a network sees: [0, 1], then, where mean and std are given, normalised.

    Args:
        mean, std: of each channel in [0, 1].
    """

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], device: torch.device | str = "cpu"):
        self.mean = torch.tensor(mean, device=device).view(1, -1, 1, 1)
        self.std = torch.tensor(std, device=device).view(1, -1, 1, 1)

    def normalise(self, images: Tensor) -> Tensor:
        images = (images / 255 - self.mean) / self.std
        return images.to(torch.get_default_dtype(), memory_format=torch.channels_last)

    def denormalise(self, images: Tensor) -> Tensor:
        """Back to [0, 1], for pictures."""
        return (images * self.std + self.mean).clamp(0, 1)


@dataclass(frozen=True)
class Images:
    """A labelled set on the device: images [N, 3, S, S] uint8, labels [N] int64 (places of the class order)."""

    images: Tensor
    labels: Tensor
    pixels: Pixels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: Tensor) -> "Images":
        return Images(self.images[chosen], self.labels[chosen], self.pixels)

    def in_order(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Every image once, not augmented, for evaluation."""
        for images, labels in zip(self.images.split(batch_size), self.labels.split(batch_size)):
            yield self.pixels.normalise(images), labels


@dataclass(frozen=True)
class ShuffledBatches:
    """Epochs of training batches (images, labels): shuffled, augmented, the last incomplete batch dropped."""

    data: Images
    batch_size: int
    augmented: bool
    streams: Streams

    def steps(self, epoch: int) -> int:
        return len(self.data) // self.batch_size

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        device = self.data.images.device
        order = torch.randperm(len(self.data), generator=self.streams.order, device=device)
        for chosen in order.split(self.batch_size)[: self.steps(epoch)]:
            images = self.data.images[chosen]
            images = augment(images, self.streams.augmentation) if self.augmented else images
            yield self.data.pixels.normalise(images), self.data.labels[chosen]


@dataclass(frozen=True)
class Iterations:
    """Steps that need no data, such as the generator's, cut into rounds for the log and the checkpoints."""

    total: int
    round: int = 250

    @property
    def rounds(self) -> int:
        return -(-self.total // self.round)

    def steps(self, epoch: int) -> int:
        return min(self.round, self.total - epoch * self.round)

    def epoch(self, epoch: int) -> Iterator[tuple[()]]:
        for _ in range(self.steps(epoch)):
            yield ()
