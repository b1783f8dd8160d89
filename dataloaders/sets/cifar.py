"""CIFAR-10 and CIFAR-100, checked against the official MD5s and downloaded if they are missing."""

import fcntl
import hashlib
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from dataloaders.base import Data, Split, dataset
from utils.errors import UserError


def has_md5(path: Path, md5: str) -> bool:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() == md5


@contextmanager
def one_at_a_time(root: Path) -> Iterator[None]:
    """Of several runs that start together one downloads and the others wait, if the file system has locks."""
    with ExitStack() as opened:
        with suppress(OSError):
            root.mkdir(parents=True, exist_ok=True)
            fcntl.lockf(opened.enter_context((root / ".lock").open("w")), fcntl.LOCK_EX)
        yield


def download(kind: Any, root: Path) -> None:
    """Unpack the archive in ``root``, or download it if it is missing or damaged. Raises UserError."""
    try:
        kind(str(root), download=True)
    except (OSError, RuntimeError, EOFError, tarfile.TarError) as error:  # RuntimeError: torchvision's check
        reason, archive = getattr(error, "reason", None) or error, root / kind.filename
        if archive.is_file() and not has_md5(archive, kind.tgz_md5):
            raise UserError(
                f"--dataroot: {archive} is cut off or damaged ({archive.stat().st_size:,} bytes, MD5 not "
                f"{kind.tgz_md5}) and could not be downloaded again ({reason}); replace it with the official "
                "archive, or delete it and run again with a network") from error
        raise UserError(
            f"--dataroot: {kind.__name__} is not in {root / kind.base_folder} and could not be unpacked or "
            f"downloaded ({reason}); put the official 'python version' there") from error


def check(kind: Any, root: Path) -> None:
    """Make sure that all official files are there. Raises UserError.

    They are pickles, which could run code when loaded, so their MD5s are compared before they are opened.
    """
    folder, archive = root / kind.base_folder, root / kind.filename
    files = (*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"]))
    official = {folder / name: md5 for name, md5 in files}
    missing = [path for path in official if not path.is_file()]
    wrong = [path for path in official if path not in missing and not has_md5(path, official[path])]
    # Wrong files next to an intact archive are what an interrupted unpacking left.
    if missing and not wrong or wrong and archive.is_file() and has_md5(archive, kind.tgz_md5):
        download(kind, root)
        wrong = [path for path in official if not has_md5(path, official[path])]
    if wrong:
        raise UserError(f"--dataroot: {wrong[0]} is not the official file (its MD5 is not "
                        f"{official[wrong[0]]}); delete it and run again to download it")


def read(name: str, root: Path) -> Data:
    """A data set of torchvision as arrays. Raises UserError."""
    from torchvision import datasets

    kind = getattr(datasets, name)
    try:
        with one_at_a_time(root):
            check(kind, root)
        train, test = kind(str(root), train=True), kind(str(root), train=False)
    except OSError as error:
        raise UserError(f"--dataroot: {error.filename} cannot be read ({error.strerror})") from error

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
