"""Data sets of torchvision, which downloads and checks them. One line registers another: sets/mnist.py."""

import fcntl
import inspect
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from dataloaders.base import Data, Split, dataset
from utils.errors import UserError


@contextmanager
def one_at_a_time(root: Path) -> Iterator[None]:
    """Let one of several starting runs download while the others wait, if locks work."""
    with ExitStack() as opened:
        with suppress(OSError):
            root.mkdir(parents=True, exist_ok=True)
            fcntl.lockf(opened.enter_context((root / ".lock").open("w")), fcntl.LOCK_EX)
        yield


def split_of(part: Any, side: int) -> Split:
    """The images of a torchvision data set, scaled to ``side`` if they differ, and their labels."""
    stored = getattr(part, "data", None)
    if isinstance(stored, np.ndarray) and stored.shape[1:] == (side, side, 3):  # CIFAR's, in a moment
        return Split(np.ascontiguousarray(stored.transpose(0, 3, 1, 2)), np.asarray(part.targets))
    pairs = [(image.convert("RGB").resize((side, side)), label) for image, label in part]
    images, labels = zip(*((np.asarray(image).transpose(2, 0, 1), label) for image, label in pairs))
    return Split(np.stack(images), np.array(labels))


def from_torchvision(name: str, classes: int, image_size: int, **facts: Any) -> None:
    """Register ``torchvision.datasets.NAME``, a class with ``train=True`` or ``split="train"`` and "test".

    Args:
        facts: other attributes of Dataset.
    """

    @dataset(name, classes=classes, image_size=image_size, **facts)
    def read(root: Path) -> Data:
        """Raises UserError. Files may be pickles, which could run code, so torchvision compares their MD5s
        before it opens them."""
        from torchvision import datasets

        make = getattr(datasets, name)
        takes = inspect.signature(make).parameters
        chosen = [{"train": train} if "train" in takes else {"split": "train" if train else "test"}
                  for train in (True, False)]
        try:
            with one_at_a_time(root):
                train, test = (make(str(root), download=True, **part) for part in chosen)
        except (OSError, RuntimeError, EOFError, tarfile.TarError) as error:  # RuntimeError: a wrong MD5
            folder, reason = root / getattr(make, "base_folder", ""), getattr(error, "reason", None) or error
            raise UserError(
                f"--dataroot: {name} is missing or damaged in {folder} and was not downloaded ({reason}); "
                f"put the official {getattr(make, 'filename', 'files')} into {root}, or delete damaged files "
                "and run again with a network") from error
        names = getattr(train, "classes", range(classes))
        return Data(split_of(train, image_size), split_of(test, image_size), tuple(map(str, names)))
