"""The data sets by the names that ``--dataset`` takes: uint8 arrays in memory, or, of ImageNet, the paths of its files.

Each is a file of dataloaders/sets with a registered function; a new one is a new file there (docs/your-own-data.md).
"""

import hashlib
import importlib
import pkgutil
from pathlib import Path

import numpy as np

from dataloaders import sets
from dataloaders.base import DATASETS, Data, Dataset, Split
from utils.errors import UserError
from utils.settings import Settings

for _file in pkgutil.iter_modules(sets.__path__):
    importlib.import_module(f"{sets.__name__}.{_file.name}")

__all__ = ["DATASETS", "Data", "Dataset", "Split", "checksum", "class_count", "read_data"]


def class_count(settings: Settings) -> int:
    """How many classes the run's data set lets it learn."""
    return len(settings.imagenet_classes) or DATASETS[settings.dataset].classes


def checksum(settings: Settings, data: Data) -> str:
    """Of what a run takes from its data set: images in memory or the names of their files, labels, classes, mean and deviation."""
    known = DATASETS[settings.dataset]
    found = hashlib.sha256(repr((known.mean, known.std, data.names)).encode())
    for images, labels in (data.train, data.test):
        if images.dtype.kind == "U":  # without the folders above part, class and file: those may be moved
            images = np.frombuffer("\n".join("/".join(path.split("/")[-3:]) for path in images).encode(errors="surrogateescape"), np.uint8)
        for array in (images, labels.astype(np.int64)):
            found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def read_data(settings: Settings) -> Data:
    """The run's data set. Raises UserError where it is missing, incomplete or not what its file in dataloaders/sets says."""
    known = DATASETS[settings.dataset]
    data = known.read(Path(settings.dataroot), *(getattr(settings, option) for option in known.options))
    where, classes = f"--dataset {settings.dataset}", class_count(settings)
    if not isinstance(data, Data) or not all(isinstance(split, Split) for split in (data.train, data.test)):
        raise UserError(f"{where}: what reads it must return Data(train, test, names) with two Splits (dataloaders/base.py)")
    if len(data.names) != classes:
        raise UserError(f"{where}: {len(data.names)} classes were read, but it is registered with classes={classes}; make the two agree")
    for part, split in (("training", data.train), ("test", data.test)):
        images, labels, shape = split.images, split.labels, (3, known.image_size, known.image_size)
        if not isinstance(images, np.ndarray) or not isinstance(labels, np.ndarray):
            kinds = f"{type(images).__name__} and {type(labels).__name__}"
            raise UserError(f"{where}: its {part} images and labels are {kinds}, not NumPy arrays; make arrays of them")
        if images.dtype.kind != "U" and (images.dtype != np.uint8 or images.shape[1:] != shape):
            raise UserError(f"{where}: its {part} images are {images.dtype} {list(images.shape)}, not uint8 [N, {', '.join(map(str, shape))}]")
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            raise UserError(f"{where}: its {part} labels are {labels.dtype} {list(labels.shape)}, not whole numbers [N]")
        if len(outside := labels[(labels < 0) | (labels >= classes)]):
            raise UserError(f"{where}: has a {part} label {outside[0]}; number the {classes} classes from 0 to {classes - 1}")
        if len(images) != len(labels):
            raise UserError(f"{where}: has {len(images)} {part} images but {len(labels)} labels; each image needs one")
        if len(missing := np.flatnonzero(np.bincount(labels, minlength=classes) == 0)):
            raise UserError(f"{where}: has no {part} image of class {data.names[missing[0]]}; every class needs one")
    return data
