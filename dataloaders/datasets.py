"""The data sets that ``--dataset`` names. Each is a file in dataloaders/sets (docs/your-own-data.md)."""

import hashlib
import logging
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from dataloaders import sets
from dataloaders.base import DATASETS, Data, Dataset, Split
from utils.discovery import import_files
from utils.errors import UserError
from utils.settings import Settings

__all__ = ["DATASETS", "Data", "Dataset", "Split", "checksum", "class_count", "image_side", "read_data"]

for _line in import_files(sets.__name__, sets.__path__).values():
    logging.getLogger(__name__).warning("left out: %s", _line)


def class_count(settings: Settings) -> int:
    """The number of classes that the run can learn."""
    return len(settings.imagenet_classes) or settings.classes or DATASETS[settings.dataset].classes


def image_side(settings: Settings) -> int:
    """The side in pixels of the images that the networks see."""
    return settings.image_size or DATASETS[settings.dataset].image_size


def checksum(settings: Settings, data: Data) -> str:
    """A digest of everything a run takes from its data set. Files on disk count by class and name, wherever
    they lie. ``--validation`` does not change it."""
    known = DATASETS[settings.dataset]
    digest = hashlib.sha256(repr((known.mean, known.std, data.names)).encode())
    for images, labels in (data.train, data.test):
        if images.dtype.kind == "U":
            paths = "\n".join("/".join(path.split("/")[-3:]) for path in images)  # part, class and file
            images = np.frombuffer(paths.encode(errors="surrogateescape"), np.uint8)
        for array in (images, labels.astype(np.int64)):
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def read_data(settings: Settings) -> Data:
    """The run's data set. Raises UserError if it is missing, incomplete or not as registered."""
    known, classes, side = DATASETS[settings.dataset], class_count(settings), image_side(settings)
    data = known.read(Path(settings.dataroot), *(getattr(settings, option) for option in known.options))
    if fault := _fault(known.image_size or side, data, classes):
        raise UserError(f"--dataset {settings.dataset}: {fault}")
    if settings.image_size and data.train.images.dtype.kind == "U":
        raise UserError(f"--image_size: {settings.dataset} is cut to {known.image_size} pixels; leave it out")
    return data._replace(train=scaled(data.train, side), test=scaled(data.test, side))


def scaled(split: Split, side: int) -> Split:
    """The images in memory at side x side pixels, each the mean of the area that it covers."""
    if split.images.dtype != np.uint8 or split.images.shape[-1] == side:
        return split
    parts = [F.interpolate(part.float(), (side, side), mode="area").round().byte()
             for part in torch.from_numpy(split.images).split(1000)]
    return split._replace(images=torch.cat(parts).numpy())


def _fault(side: int, data: Data, classes: int) -> str:
    """What is wrong with the result of a data set's function; empty if nothing is."""
    if not isinstance(data, Data) or not all(isinstance(a, np.ndarray) for a in (*data.train, *data.test)):
        return "its function must return Data(train, test, names), two Splits of NumPy arrays and names"
    if len(data.names) != classes:
        return f"{len(data.names)} classes were read, not {classes} as registered; make them agree"
    for part, (images, labels) in (("training", data.train), ("test", data.test)):
        shape = (3, side, side)
        if images.dtype.kind != "U" and (images.dtype != np.uint8 or images.shape[1:] != shape):
            return f"the {part} images are {images.dtype} {images.shape}, not uint8 (N, {str(shape)[1:]}"
        if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
            return f"the {part} labels are {labels.dtype} {labels.shape}, not {len(images)} whole numbers"
        if len(outside := labels[(labels < 0) | (labels >= classes)]):
            return f"there is a {part} label {outside[0]}; number the classes from 0 to {classes - 1}"
        if len(missing := np.setdiff1d(np.arange(classes), labels)):
            return f"there is no {part} image of class {data.names[missing[0]]}; every class needs one"
    return ""
