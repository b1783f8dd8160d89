"""The data sets by the names that ``--dataset`` takes: uint8 arrays in memory, or, of ImageNet, the paths of its files."""

import fcntl
import hashlib
import ssl
import tarfile
import urllib.error
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import utils.torchvision_cpu  # noqa: F401  (before torchvision)

import numpy as np
import torch
from torchvision import datasets as vision
from tqdm import tqdm

from dataloaders.image_files import decode
from utils.errors import UserError

# torchvision unpacks what it downloads with tarfile's default, which before Python 3.14 lets an archive write anywhere.
if hasattr(tarfile, "data_filter"):
    tarfile.TarFile.extraction_filter = staticmethod(tarfile.data_filter)


class Split(NamedTuple):
    """Images [N, 3, S, S] as uint8, or the paths [N] of their files, and labels [N] as the data set numbers its classes."""

    images: np.ndarray
    labels: np.ndarray


class Data(NamedTuple):
    """A data set; names[k] is what its class k is called."""

    train: Split
    test: Split
    names: tuple[str, ...]


Learned = Callable[[int], Iterable[int]]


class Read(Protocol):
    """Reads a data set from a folder of data sets. Raises UserError.

    Args:
        learned: which classes will be learned, given how many classes there are; others may be left out.
    """

    def __call__(self, root: Path, learned: Learned = range) -> Data: ...


@dataclass(frozen=True)
class Dataset:
    """What is known of a data set before it is read.

    Attributes:
        classes: that can be learned: of ImageNet, 50 of its 1000.
        outputs: of the network; as published, 1000 for ImageNet.
        image_size: side in pixels.
        mean, std: of each channel in [0, 1] (docs/specification.md, "Protocol").
        read: see Read.
        top_k: an image counts as recognised with its class among this many that the network holds likeliest.
    """

    classes: int
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    read: Read
    top_k: int = 1
    outputs: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "outputs", self.outputs or self.classes)


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


@contextmanager
def _one_at_a_time(root: Path) -> Iterator[None]:
    """Of several runs one downloads, the others wait; none has to where the folder cannot be written."""
    with ExitStack() as lock:
        with suppress(OSError):
            root.mkdir(parents=True, exist_ok=True)
            fcntl.lockf(lock.enter_context((root / ".lock").open("w")), fcntl.LOCK_EX)
        yield


def _read_cifar(kind: type[vision.CIFAR10], root: Path) -> Data:
    with _one_at_a_time(root):
        if not _check_files(kind, root):
            try:
                kind(str(root), download=True)
            except (OSError, RuntimeError, urllib.error.URLError, ssl.SSLError, tarfile.TarError) as error:
                reason = getattr(error, "reason", None) or error
                raise UserError(
                    f"--dataroot {root}: {kind.__name__} is not in {root / kind.base_folder} and could not be downloaded ({reason}); "
                    f"put the official 'python version' there or name its folder with --dataroot") from error
            _check_files(kind, root)

    parts = kind(str(root), train=True), kind(str(root), train=False)
    train, test = (Split(np.ascontiguousarray(part.data.transpose(0, 3, 1, 2)), np.asarray(part.targets)) for part in parts)
    return Data(train, test, tuple(parts[0].classes))


def _read_digits(root: Path, learned: Learned = range) -> Data:
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


def _listed(root: Path, folder: Path) -> list[Path]:
    """What a folder holds, by name. Raises UserError."""
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise UserError(
            f"--dataroot {root}: {folder} cannot be read ({error.strerror}); put the official folder there or name another --dataroot") from error


def _class_folders(root: Path, folder: Path) -> list[str]:
    """WNIDs (WordNet's numbers of classes, such as n01443537) with a folder of their own, in alphabetical order."""
    return [path.name for path in _listed(root, folder) if path.is_dir() and not path.name.startswith(".")]


def _pictures(root: Path, folder: Path) -> list[Path]:
    """The JPEG files of a folder, one at least. Raises UserError."""
    found = [path for path in _listed(root, folder) if path.suffix == ".JPEG"]
    if not found:
        raise UserError(f"--dataroot {root}: {folder} has no *.JPEG; unpack that class of the official set into it")
    return found


def _lines(root: Path, path: Path) -> list[str]:
    """The lines of a text file that are not empty. Raises UserError."""
    try:
        return [line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    except OSError as error:
        raise UserError(f"--dataroot {root}: {path} cannot be read ({error.strerror}); put the official file there") from error


def _decoded(paths: list[Path], side: int) -> np.ndarray:
    """Images [N, 3, side, side] uint8 of files. Raises UserError."""
    images = np.empty((len(paths), 3, side, side), np.uint8)

    def fill(place: int) -> None:
        image = decode(paths[place])
        if image.size != (side, side):
            raise UserError(
                f"--dataroot: {paths[place]} is {image.width} x {image.height} pixels, not {side} x {side}; put the official file in its place")
        images[place] = np.asarray(image).transpose(2, 0, 1)

    with ThreadPoolExecutor() as pool:
        for _ in tqdm(pool.map(fill, range(len(paths))), "decoding images", len(paths), leave=False, disable=None):
            pass
    return images


def _read_tinyimagenet(root: Path, learned: Learned = range) -> Data:
    """TinyImageNet as its archive unpacks: tiny-imagenet-200/train/WNID/images/*.JPEG, and val/images/ with
    val/val_annotations.txt, the published test set. Classes are numbered by WNID; words.txt, where present, names them."""
    folder = root / "tiny-imagenet-200"
    wnids = _class_folders(root, folder / "train")
    if len(wnids) != 200:
        raise UserError(f"--dataroot {root}: {folder / 'train'} has {len(wnids)} class folders, not the 200 of the official set")
    train = [_pictures(root, folder / "train" / wnid / "images") for wnid in wnids]

    number = {wnid: label for label, wnid in enumerate(wnids)}
    annotations = folder / "val" / "val_annotations.txt"
    test, labels = [], []
    for line in _lines(root, annotations):
        name, wnid, *_ = [*line.split("\t"), ""]
        if wnid not in number:
            raise UserError(
                f"--dataroot {root}: {annotations} has a line without a class of the training set ({line[:40]!r}); "
                "put the official file in its place")
        test.append(folder / "val" / "images" / name)
        labels.append(number[wnid])
    for label in set(number.values()) - set(labels):
        raise UserError(f"--dataroot {root}: {annotations} has no image of class {wnids[label]}; put the official file in its place")

    words = folder / "words.txt"
    word_of = dict(line.split("\t", 1) for line in _lines(root, words) if "\t" in line) if words.is_file() else {}
    return Data(
        Split(_decoded([path for paths in train for path in paths], 64), np.repeat(np.arange(200), [len(paths) for paths in train])),
        Split(_decoded(test, 64), np.array(labels)),
        tuple(word_of.get(wnid, wnid).split(",")[0] for wnid in wnids))


def _read_imagenet(root: Path, learned: Learned = range) -> Data:
    """ImageNet as paths of files: ilsvrc/train/WNID/*.JPEG, and ilsvrc/val/WNID/*.JPEG, the published test set.

    Classes are numbered by WNID among the folders of train and val together, normally all 1000. Only folders of
    classes to be learned are looked into. A copy with fewer folders is taken to hold the first classes of the
    order, so that one with the 50 classes of the published runs alone gives the same tasks as the whole
    (``class_order``); which classes they are can't be seen from it.
    """
    folder = root / "ilsvrc"
    wnids = sorted({*_class_folders(root, folder / "train"), *_class_folders(root, folder / "val")})
    if len(wnids) > 1000:
        raise UserError(f"--dataroot {root}: {folder} has {len(wnids)} class folders, more than ImageNet's 1000; take out those that are none")
    labels = sorted(learned(len(wnids)))

    def split(part: str) -> Split:
        found = [_pictures(root, folder / part / wnids[label]) for label in labels]
        return Split(np.array([str(path) for paths in found for path in paths]), np.repeat(labels, [len(paths) for paths in found]))

    return Data(split("train"), split("val"), tuple(wnids))


DATASETS: dict[str, Dataset] = {
    "CIFAR10": Dataset(
        10, 32, (0.49139968, 0.48215841, 0.44653091), (0.24703223, 0.24348513, 0.26158784),
        lambda root, learned=range: _read_cifar(vision.CIFAR10, root)),
    "CIFAR100": Dataset(
        100, 32, (0.50707516, 0.48654887, 0.44091784), (0.26733429, 0.25643846, 0.27615047),
        lambda root, learned=range: _read_cifar(vision.CIFAR100, root)),
    "TinyImageNet": Dataset(200, 64, (0.4389, 0.4114, 0.3682), (0.2402, 0.2350, 0.2268), _read_tinyimagenet),
    "ImageNet": Dataset(50, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), _read_imagenet, top_k=5, outputs=1000),
    "Digits": Dataset(10, 32, (0.3053,) * 3, (0.3228,) * 3, _read_digits),
}
