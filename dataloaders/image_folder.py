"""``--dataset folder:PATH``: images sorted into class folders (docs/your-own-data.md)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dataloaders.base import DATASETS, Data, Dataset, Split
from dataloaders.folders import SUFFIXES, decoded, entries, pictures, some, subfolders
from utils.errors import UserError, did_you_mean
from utils.files import expand
from utils.settings import Settings

PREFIX = "folder:"


def path_of(dataset: Path | str) -> Path:
    return Path(str(dataset).removeprefix(PREFIX))


def in_class_order(names: Sequence[str]) -> list[str]:
    """Class folders sorted by number if all names are whole numbers (so 9 comes before 10), else by name."""
    if all(name.isascii() and name.isdigit() for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


def parts_of(folder: Path) -> tuple[Path, Path | None]:
    """The folders with the class folders of the training images and, if there are any, of the test images:
    ``train`` and ``test`` or ``val``, or the folder itself. Raises UserError."""
    inner = {path.name: path for path in subfolders(folder)}
    if "train" not in inner:
        return folder, None
    return inner["train"], inner.get("test") or inner.get("val")


def class_folders(folder: Path | str) -> list[str]:
    """The names of the classes of a folder, or of a ``folder:PATH``, in order. Raises UserError."""
    train, test = parts_of(path_of(folder))
    names, others = ({path.name for path in subfolders(part)} for part in (train, test or train))
    if not names:
        raise UserError(f"{train} has no class folders; put the images of each class into a folder "
                        "named after it")
    if differing := sorted(names ^ others):
        raise UserError(f"{train} and {test} need the same class folders; only one of them has "
                        f"{some(differing)}")
    return in_class_order([*names])


def divided(images: Split, share: float) -> tuple[Split, Split]:
    """(training, test) images, the latter a share of each class, chosen at random but always the same."""
    test, random = np.zeros(len(images.labels), bool), np.random.RandomState(0)
    for label in np.unique(images.labels):
        rows = random.permutation(np.flatnonzero(images.labels == label))
        test[rows[: max(1, round(share * len(rows)))]] = True
    return Split(images.images[~test], images.labels[~test]), Split(images.images[test], images.labels[test])


def image_folder(folder: Path, side: int, test_share: float = 0.0) -> Data:
    """Read FOLDER/train/CLASS/*.jpg and FOLDER/test/CLASS/*.jpg (or val, .jpeg, .png), or only FOLDER/CLASS,
    as images of side x side pixels: the shorter side is scaled, then the middle is cut out. Raises UserError.

    Args:
        test_share: of the images of each class to test on if there is no folder of test images.
    """
    (train, test), names, ignored = parts_of(folder), class_folders(folder), list[Path]()
    if bool(test_share) == bool(test):
        found = f"{test} has test images; leave it out" if test else f"{folder} has no test images; give 0.2"
        raise UserError(f"--test_share {test_share:g}: {found}")

    def read(part: Path) -> Split:
        paths = [pictures(part / name) for name in names]
        for name, used in zip(names, paths):
            ignored.extend({*entries(part / name)} - {*used})
        images = decoded([path for of_class in paths for path in of_class], side, resize=True)
        return Split(images, np.repeat(np.arange(len(names)), [*map(len, paths)]))

    parts = (read(train), read(test)) if test else divided(read(train), test_share)
    note = f"{folder}: ignored {len(ignored)} files that are empty or not {', '.join(SUFFIXES)}: "
    return Data(*parts, tuple(names), (note + some(sorted(ignored)),) if ignored else ())


# The facts that no flag gives. Images are normalised like ImageNet's.
FOLDER = Dataset(
    classes=0, image_size=0, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),
    options=("dataset", "image_size", "test_share", "classes"),
    read=lambda root, dataset, side, share, classes: image_folder(path_of(dataset), side, share))


def dataset_name(given: Any, others: Mapping[str, Any], where: str) -> str:
    """The value of ``--dataset``. Raises UserError, beginning with ``where``."""
    name = str(given)
    if name.startswith(PREFIX):
        return PREFIX + expand(name.removeprefix(PREFIX), where)
    if name not in DATASETS:
        raise UserError(f"{where}: {name!r} is not one of {', '.join(DATASETS)}, {PREFIX}PATH"
                        f"{did_you_mean(name, DATASETS)}")
    return name


def check_folder(settings: Settings) -> None:
    """Fill in the number of classes if the data set is a folder. Raises UserError."""
    if settings.dataset.startswith(PREFIX):
        if not settings.image_size:
            raise UserError("--image_size: name the side in pixels of the images of a folder, such as 32")
        settings.classes = settings.classes or len(class_folders(settings.dataset))
