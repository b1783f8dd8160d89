"""Labelled images as rows of a source, and batches of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from dataloaders.augmentation import augment, shift_and_flip
from utils.streams import Streams


class Pixels:
    """Turns pixels from 0 to 255 into what a network sees: scaled to [0, 1], then normalised by the mean and
    deviation of each channel. For ``normalised_first`` see Transforms (dataloaders/transforms.py)."""

    def __init__(
        self, mean: tuple[float, ...], std: tuple[float, ...], device: torch.device | str = "cpu",
        normalised_first: bool = False, memory_format: torch.memory_format = torch.channels_last,
    ):
        self.normalised_first = normalised_first
        self.memory_format = memory_format
        self.mean = torch.tensor(mean, device=device).view(1, -1, 1, 1)
        self.std = torch.tensor(std, device=device).view(1, -1, 1, 1)

    def normalise(self, images: Tensor) -> Tensor:
        images = (images / 255 - self.mean) / self.std
        return images.to(torch.get_default_dtype(), memory_format=self.memory_format)

    def augmented(self, images: Tensor, random: torch.Generator) -> Tensor:
        if not self.normalised_first:
            return self.normalise(augment(images, random))
        return shift_and_flip(self.normalise(images), random).contiguous(memory_format=self.memory_format)

    def denormalise(self, images: Tensor) -> Tensor:
        """Back to [0, 1], for pictures."""
        return (images * self.std + self.mean).clamp(0, 1)


class Source(Protocol):
    """Where images come from: InMemory, or ImageFiles on disk (dataloaders/image_files.py).

    Attributes:
        labels: [N] int64 on the device, places in the class order.
        evaluation_batch: images per batch when nothing is learned.
    """

    labels: Tensor
    pixels: Pixels
    evaluation_batch: int

    def fetch(self, rows: Sequence[Tensor], random: torch.Generator | None) -> Iterator[Tensor]:
        """For each tensor of rows, the argument of ``images``. Host code, which a GPU need not wait for."""
        ...

    def images(self, fetched: Tensor, random: torch.Generator | None) -> Tensor:
        """What a network sees [B, 3, S, S]. Device code only, so that a CUDA graph can hold it. Images are
        augmented, here or in ``fetch``, if ``random`` is given."""
        ...


@dataclass
class InMemory:
    """A source on the device: images [N, 3, S, S] uint8."""

    stored: Tensor
    labels: Tensor
    pixels: Pixels
    evaluation_batch: int = 500

    def fetch(self, rows: Sequence[Tensor], random: torch.Generator | None) -> Iterator[Tensor]:
        return iter(rows)

    def images(self, fetched: Tensor, random: torch.Generator | None) -> Tensor:
        images = self.stored[fetched]
        return self.pixels.augmented(images, random) if random else self.pixels.normalise(images)


@dataclass(frozen=True)
class Images:
    """A labelled set: rows [N] of a source. A row that occurs twice is an image that counts twice."""

    source: Source
    rows: Tensor

    @classmethod
    def all_of(cls, source: Source) -> "Images":
        return cls(source, torch.arange(len(source.labels), device=source.labels.device))

    @property
    def labels(self) -> Tensor:
        """[N] int64, places in the class order."""
        return self.source.labels[self.rows]

    @property
    def pixels(self) -> Pixels:
        return self.source.pixels

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, chosen: Tensor | slice) -> "Images":
        return Images(self.source, self.rows[chosen])

    def __add__(self, other: "Images") -> "Images":
        """Both sets, which must have the same source."""
        return Images(self.source, torch.cat([self.rows, other.rows]))

    def fetch(self, size: int, random: torch.Generator | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """The arguments of ``load`` for batches of ``size`` images, in order."""
        rows = self.rows.split(size)
        return zip(self.source.fetch(rows, random), rows)

    def load(
        self, fetched: Tensor, rows: Tensor, random: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """(images [B, 3, S, S], labels [B]), augmented if ``random`` is given."""
        return self.source.images(fetched, random), self.source.labels[rows]

    def in_order(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of every image once, without augmentation, for evaluation."""
        for fetched in self.fetch(self.source.evaluation_batch):
            yield self.load(*fetched)


@dataclass
class ShuffledBatches:
    """Epochs of training batches (images, labels), shuffled and augmented. An incomplete last batch is
    dropped; a set smaller than a batch is one batch (BiC's held-out images of TinyImageNet and ImageNet).
    ``choose`` returns the images; it is called late and once, since the coreset may change until then."""

    choose: Callable[[], Images]
    batch_size: int
    augmented: bool
    streams: Streams

    @cached_property
    def data(self) -> Images:
        return self.choose()

    @property
    def random(self) -> torch.Generator | None:
        return self.streams.augmentation if self.augmented else None

    def steps(self, epoch: int) -> int:
        return max(len(self.data) // self.batch_size, min(len(self.data), 1))

    def starts(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.data), generator=self.streams.order, device=self.data.rows.device)
        size = min(self.batch_size, len(order))
        return self.data[order[: size * self.steps(epoch)]].fetch(size, self.random)

    def load(self, start: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        fetched, rows = start
        return self.data.load(fetched, rows, self.random)


@dataclass(frozen=True)
class Iterations:
    """Steps without data, such as a generator's, cut into rounds for the log and the checkpoints."""

    total: int
    round: int = 250

    @property
    def rounds(self) -> int:
        return -(-self.total // self.round)

    def steps(self, epoch: int) -> int:
        return min(self.round, self.total - epoch * self.round)

    def starts(self, epoch: int) -> Iterator[tuple[()]]:
        return iter([()] * self.steps(epoch))

    def load(self, start: Sequence[Tensor]) -> tuple[()]:
        return ()
