"""CIFAR-10 and CIFAR-100 as torchvision checks them (MD5) and downloads them if they are missing."""

import fcntl
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


def read(name: str, root: Path) -> Data:
    """A data set of torchvision as arrays. Raises UserError. Its files are pickles, which could run code, so
    torchvision compares their MD5s before it opens them."""
    from torchvision import datasets

    kind = getattr(datasets, name)
    try:
        with one_at_a_time(root):
            train, test = (kind(str(root), train=part, download=True) for part in (True, False))
    except (OSError, RuntimeError, EOFError, tarfile.TarError) as error:  # RuntimeError: a wrong MD5
        reason = getattr(error, "reason", None) or error
        raise UserError(
            f"--dataroot: {name} is missing or damaged in {root / kind.base_folder} and could not be "
            f"downloaded ({reason}); put the official {kind.filename} into {root}, or delete damaged files "
            "and run again with a network") from error

    def split(part: Any) -> Split:
        return Split(np.ascontiguousarray(part.data.transpose(0, 3, 1, 2)), np.asarray(part.targets))

    return Data(split(train), split(test), tuple(train.classes))


@dataset("CIFAR10", classes=10, image_size=32, mean=(0.49139968, 0.48215841, 0.44653091),
         std=(0.24703223, 0.24348513, 0.26158784))
def read_cifar10(root: Path) -> Data:
    return read("CIFAR10", root)


@dataset("CIFAR100", classes=100, image_size=32, mean=(0.50707516, 0.48654887, 0.44091784),
         std=(0.26733429, 0.25643846, 0.27615047))
def read_cifar100(root: Path) -> Data:
    return read("CIFAR100", root)
