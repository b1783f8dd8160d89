"""CIFAR-10 and CIFAR-100, checked against the official MD5s and downloaded where they are missing."""

import hashlib
import tarfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dataloaders.base import Data, Split, dataset
from utils.errors import UserError
from utils.locks import Heartbeat, Locked, lock_file

if TYPE_CHECKING:
    from torchvision import datasets as vision

# torchvision unpacks what it downloads with tarfile's default, which before Python 3.14 lets an archive write anywhere.
if hasattr(tarfile, "data_filter"):
    tarfile.TarFile.extraction_filter = staticmethod(tarfile.data_filter)


def has_md5(root: Path, path: Path, md5: str) -> bool:
    """Whether a file is the official one. Raises UserError where it cannot be read."""
    try:
        return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() == md5
    except OSError as error:
        raise UserError(f"--dataroot {root}: {path} cannot be read ({error.strerror})") from error


def check_files(kind: "type[vision.CIFAR10]", root: Path) -> tuple[list[Path], dict[Path, str]]:
    """(files that are missing, those that are not the official ones and the MD5 that they should have). Raises UserError where one cannot be
    read. The files are pickles, which could run code, so they are compared before they are opened."""
    official = {root / kind.base_folder / name: md5 for name, md5 in (
        *kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"]))}
    missing = [path for path in official if not path.is_file()]
    return missing, {path: md5 for path, md5 in official.items() if path not in missing and not has_md5(root, path, md5)}


def started(heartbeat: Heartbeat) -> bool:
    """Whether this process has the folder now, rather than another one."""
    try:
        heartbeat.start()
    except Locked:
        return False
    return True


@contextmanager
def one_at_a_time(root: Path) -> Iterator[None]:
    """Of several runs one downloads, the others wait; none has to where the folder cannot be written."""
    with ExitStack() as lock:
        with suppress(OSError):
            root.mkdir(parents=True, exist_ok=True)
            if lock_file(lock.enter_context((root / ".lock").open("w")), wait=True):  # the file system has none
                heartbeat = Heartbeat(root / ".heartbeat")
                while not started(heartbeat):
                    time.sleep(1)
                lock.callback(heartbeat.stop)
        yield


def download(kind: "type[vision.CIFAR10]", root: Path) -> None:
    """Unpack the archive that lies under ``root``, or download it; a damaged one is downloaded again. Raises UserError."""
    try:
        kind(str(root), download=True)
    except (OSError, RuntimeError, EOFError, tarfile.TarError) as error:  # RuntimeError: torchvision's own check of the archive
        reason, archive = getattr(error, "reason", None) or error, root / kind.filename
        if archive.is_file() and not has_md5(root, archive, kind.tgz_md5):
            raise UserError(
                f"--dataroot {root}: {archive} is cut off or damaged ({archive.stat().st_size:,} bytes, and its MD5 is not {kind.tgz_md5}), "
                f"and could not be downloaded again ({reason}); delete it and put the whole archive there, or run again with a network") from error
        raise UserError(
            f"--dataroot {root}: {kind.__name__} is not in {root / kind.base_folder} and could not be unpacked or downloaded ({reason}); "
            f"put the official 'python version' there or name its folder with --dataroot") from error


def read(name: str, root: Path) -> Data:
    from torchvision import datasets as vision

    kind: type[vision.CIFAR10] = getattr(vision, name)
    archive = root / kind.filename
    with one_at_a_time(root):
        missing, others = check_files(kind, root)
        # Beside a whole archive they are what is left of its unpacking, which was cut off.
        if missing and not others or others and archive.is_file() and has_md5(root, archive, kind.tgz_md5):
            download(kind, root)
            _, others = check_files(kind, root)
        if others:
            path, md5 = next(iter(others.items()))
            raise UserError(f"--dataroot {root}: {path} is not the official file (its MD5 is not {md5}); delete it and run again to download it")
    parts = kind(str(root), train=True), kind(str(root), train=False)
    train, test = (Split(np.ascontiguousarray(part.data.transpose(0, 3, 1, 2)), np.asarray(part.targets)) for part in parts)
    return Data(train, test, tuple(parts[0].classes))


@dataset("CIFAR10", classes=10, image_size=32, mean=(0.49139968, 0.48215841, 0.44653091), std=(0.24703223, 0.24348513, 0.26158784))
def read_cifar10(root: Path) -> Data:
    return read("CIFAR10", root)


@dataset("CIFAR100", classes=100, image_size=32, mean=(0.50707516, 0.48654887, 0.44091784), std=(0.26733429, 0.25643846, 0.27615047))
def read_cifar100(root: Path) -> Data:
    return read("CIFAR100", root)
