"""The data sets by the names that ``--dataset`` takes, read whole into memory as uint8 arrays."""

import hashlib
import ssl
import tarfile
import urllib.error
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

import utils.torchvision_cpu  # noqa: F401  (before torchvision)
from torchvision import datasets as vision

from utils.errors import UserError


# torchvision unpacks what it downloads with tarfile's default, which before Python 3.14 lets an archive write anywhere.
if hasattr(tarfile, "data_filter"):
    tarfile.TarFile.extraction_filter = staticmethod(tarfile.data_filter)


class Split(NamedTuple):
    """Images [N, 3, S, S] as uint8 and their labels [N] as the data set numbers its classes."""

    images: np.ndarray
    labels: np.ndarray


class Data(NamedTuple):
    """A data set in memory; names[k] is what its class k is called."""

    train: Split
    test: Split
    names: tuple[str, ...]


@dataclass(frozen=True)
class Dataset:
    """What is known of a data set before it is read.

    Attributes:
        image_size: side in pixels.
        mean, std: of each channel in [0, 1] (METHODS.md, "Protocol").
        read: reads it from a folder of data sets. Raises UserError.
    """

    classes: int
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    read: Callable[[Path], Data]


def _check_files(kind: type[vision.CIFAR10], root: Path) -> bool:
    """Whether all files lie under ``root``. Raises UserError for one whose MD5 is not the official one:
    the files are pickles, which could run code, so they are compared before they are opened."""
    folder = root / kind.base_folder
    official = [*kind.train_list, *kind.test_list, [kind.meta["filename"], kind.meta["md5"]]]
    found = [(folder / name, md5) for name, md5 in official if (folder / name).is_file()]
    for path, md5 in found:
        try:
            if hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() != md5:
                raise UserError(f"--dataroot {root}: {path} is not the official file (its MD5 is not {md5}); delete it and run again to download it")
        except OSError as error:
            raise UserError(f"--dataroot {root}: {path} cannot be read ({error.strerror})") from error
    return len(found) == len(official)


def _read_cifar(kind: type[vision.CIFAR10], root: Path) -> Data:
    if not _check_files(kind, root):
        try:
            kind(str(root), download=True)
        except (OSError, RuntimeError, urllib.error.URLError, ssl.SSLError, tarfile.TarError) as error:
            reason = getattr(error, "reason", None) or error
            raise UserError(
                f"--dataroot {root}: {kind.__name__} is not in {root / kind.base_folder} and could not be downloaded ({reason}); "
                f"put the official 'python version' there or name its folder with --dataroot") from error
        _check_files(kind, root)

    train, test = kind(str(root), train=True), kind(str(root), train=False)
    splits = [Split(np.ascontiguousarray(part.data.transpose(0, 3, 1, 2)), np.asarray(part.targets)) for part in (train, test)]
    return Data(*splits, tuple(train.classes))


def _read_digits(root: Path) -> Data:
    """scikit-learn's bundled handwritten digits: 1,797 real images, 8 x 8 pixels of 17 greys, enlarged to
    32 x 32 in three equal channels. The last fifth of each class is the test set."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    small = torch.from_numpy(digits.images).float().unsqueeze(1) * (255 / 16)
    large = torch.nn.functional.interpolate(small, size=(32, 32), mode="bilinear").round().to(torch.uint8)
    images, labels = large.expand(-1, 3, -1, -1).numpy(), digits.target
    test = np.zeros(len(labels), bool)
    for digit in range(10):
        places = np.flatnonzero(labels == digit)
        test[places[len(places) * 4 // 5:]] = True
    return Data(Split(images[~test], labels[~test]), Split(images[test], labels[test]), tuple("0123456789"))


DATASETS = {
    "CIFAR10": Dataset(
        10, 32, (0.49139968, 0.48215841, 0.44653091), (0.24703223, 0.24348513, 0.26158784),
        lambda root: _read_cifar(vision.CIFAR10, root)),
    "CIFAR100": Dataset(
        100, 32, (0.50707516, 0.48654887, 0.44091784), (0.26733429, 0.25643846, 0.27615047),
        lambda root: _read_cifar(vision.CIFAR100, root)),
    "Digits": Dataset(10, 32, (0.3053,) * 3, (0.3228,) * 3, _read_digits),
}
