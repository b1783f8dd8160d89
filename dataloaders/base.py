"""What a data set is to the rest: images and labels once it is read, a few facts before."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Split(NamedTuple):
    """Images [N, 3, S, S] as uint8, or the paths [N] of their files, and labels [N] as the data set numbers its classes."""

    images: np.ndarray
    labels: np.ndarray


class Data(NamedTuple):
    """A data set; names[k] is what its class k is called. ``notes`` are lines for the log, on what was ignored or is missing."""

    train: Split
    test: Split
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """What is known of a data set before it is read.

    Attributes:
        classes: that can be learned; of ImageNet 50, unless ``--imagenet_classes`` names others.
        outputs: of the network; as published, 1000 for ImageNet.
        image_size: side in pixels.
        mean, std: of each channel in [0, 1] (docs/specification.md, "Protocol").
        read: from the folder ``--dataroot`` and the values of ``options``. Raises UserError.
        top_k: an image counts as recognised with its class among this many that the network holds likeliest.
        options: the settings that ``read`` takes after the folder.
        in_learning_order: ``read`` numbers the classes in the order in which every repeat learns them.
    """

    classes: int
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    read: Callable[..., Data]
    top_k: int = 1
    outputs: int = 0
    options: tuple[str, ...] = ()
    in_learning_order: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "outputs", self.outputs or self.classes)

    @property
    def percent(self) -> str:
        """The unit of its accuracies, as people read it."""
        return "%" if self.top_k == 1 else f"% (top-{self.top_k})"


# By the name that --dataset takes; the files of dataloaders/sets fill it.
DATASETS: dict[str, Dataset] = {}


def dataset(
    name: str,
    *,
    classes: int,
    image_size: int,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    top_k: int = 1,
    outputs: int = 0,
    options: tuple[str, ...] = (),
    in_learning_order: bool = False,
) -> Callable[[Callable[..., Data]], Callable[..., Data]]:
    """Registers the function below it as what reads the data set ``name``; see Dataset for the rest."""

    def register(read: Callable[..., Data]) -> Callable[..., Data]:
        if name in DATASETS:
            raise ValueError(f"two data sets are called {name}")
        DATASETS[name] = Dataset(classes, image_size, mean, std, read, top_k, outputs, options, in_learning_order)
        return read

    return register
