"""What a data set is: facts that are registered before it is read, then its images and labels."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from utils.errors import UserError


class Split(NamedTuple):
    """Images [N, 3, S, S] uint8, or the paths [N] of their files, and labels [N] from 0."""

    images: np.ndarray
    labels: np.ndarray


class Data(NamedTuple):
    """A data set that has been read. ``names[k]`` is the name of class k; ``notes`` are lines for the log."""

    train: Split
    test: Split
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """What is known of a data set before it is read.

    Attributes:
        classes: number of classes.
        image_size: side of an image in pixels, unless ``--image_size`` scales it.
        mean, std: of each channel, for pixels from 0 to 1 (docs/specification.md, "Protocol").
        read: reads it from the folder ``--dataroot`` and the values of ``options``. Raises UserError.
        top_k: an image counts as recognised if its class is among the k most likely ones.
        outputs: of the network; 0 stands for one per class.
        options: names of the settings that ``read`` takes after the folder.
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
        """The unit of its accuracies."""
        return "%" if self.top_k == 1 else f"% (top-{self.top_k})"


class Datasets(dict[str, Dataset]):
    """The registered data sets by the name that ``--dataset`` takes, which may also be ``folder:PATH``."""

    def __missing__(self, name: str) -> Dataset:
        from dataloaders.image_folder import FOLDER, PREFIX

        if name.startswith(PREFIX):
            return FOLDER
        raise KeyError(name)


DATASETS = Datasets()


def dataset(name: str, **facts: Any) -> Callable[[Callable[..., Data]], Callable[..., Data]]:
    """Register the decorated function as the one that reads the data set ``name``.

    Args:
        facts: attributes of Dataset other than ``read``.
    """

    def register(read: Callable[..., Data]) -> Callable[..., Data]:
        if name in DATASETS:
            raise UserError(f"there is already a data set called {name}; choose another name")
        DATASETS[name] = Dataset(read=read, **facts)
        return read

    return register
