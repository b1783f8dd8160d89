"""The data sets by the names that ``--dataset`` takes: uint8 arrays in memory, or, of ImageNet, the paths of its files.

Each is a file of dataloaders/sets with a registered function; a new one is a new file there (docs/your-own-data.md).
"""

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

__all__ = ["DATASETS", "Data", "Dataset", "Split", "class_count", "read_data"]


def class_count(settings: Settings) -> int:
    """How many classes the run's data set lets it learn."""
    return len(settings.imagenet_classes) or DATASETS[settings.dataset].classes


def read_data(settings: Settings) -> Data:
    """The run's data set. Raises UserError where it is missing, incomplete or not what its file in dataloaders/sets says."""
    known = DATASETS[settings.dataset]
    data = known.read(Path(settings.dataroot), *(getattr(settings, option) for option in known.options))
    where, classes = f"--dataset {settings.dataset}", class_count(settings)
    if len(data.names) != classes:
        raise UserError(f"{where}: {len(data.names)} classes were read, but it is registered with classes={classes}; make the two agree")
    for part, split in (("training", data.train), ("test", data.test)):
        images, shape = split.images, (3, known.image_size, known.image_size)
        if images.dtype.kind != "U" and (images.dtype != np.uint8 or images.shape[1:] != shape):
            raise UserError(f"{where}: its {part} images are {images.dtype} {list(images.shape)}, not uint8 [N, {', '.join(map(str, shape))}]")
        missing = np.flatnonzero(np.bincount(split.labels, minlength=classes)[:classes] == 0)
        if len(images) != len(split.labels) or len(missing):
            named = f" of class {data.names[missing[0]]}" if len(missing) else " for some labels"
            raise UserError(f"{where}: has no {part} image{named}; every class needs one")
    return data
