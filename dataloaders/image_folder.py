"""A folder of images, sorted into class folders, as a data set (docs/your-own-data.md).

    python -m dataloaders.image_folder FOLDER SIDE        prints the facts to register it with
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dataloaders.base import Data, Split
from dataloaders.folders import SUFFIXES, decoded, entries, pictures, some, subfolders
from utils.errors import Parser, UserError, run_main
from utils.files import user_path


def in_class_order(names: Sequence[str]) -> list[str]:
    """Class folders sorted by number if all names are whole numbers (so 9 comes before 10), else by name."""
    if all(name.isascii() and name.isdigit() for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


def image_folder(folder: Path, side: int, train: str = "train", test: str = "test") -> Data:
    """Images FOLDER/train/CLASS/*.jpg and FOLDER/test/CLASS/*.jpg (or .jpeg, .png), resized and cropped to
    side x side pixels, in memory. Classes are numbered as ``in_class_order`` sorts them. Raises UserError.

    Args:
        train, test: names of the two parts' folders.
    """
    names, others = ([path.name for path in subfolders(folder / part)] for part in (train, test))
    if differing := sorted({*names}.symmetric_difference(others)):
        raise UserError(f"--dataroot: {folder} needs the same class folders in {train} and {test}; "
                        f"only one of them has {some(differing)}")
    if not names:
        raise UserError(f"--dataroot: {folder / train} has no class folders; "
                        "put the images of each class into a folder named after it")
    names, ignored = in_class_order(names), list[Path]()

    def split(part: str) -> Split:
        paths: list[Path] = []
        labels: list[int] = []
        for label, name in enumerate(names):
            found = pictures(folder / part / name)
            ignored.extend({*entries(folder / part / name)} - {*found})
            paths += found
            labels += [label] * len(found)
        return Split(decoded(paths, side, resize=True), np.array(labels, int))

    parts = split(train), split(test)
    note = f"{folder}: ignored {len(ignored)} files that are empty or not {', '.join(SUFFIXES)}: "
    return Data(*parts, tuple(names), (note + some(sorted(ignored)),) if ignored else ())


def statistics(images: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, for pixels from 0 to 1, of images [N, 3, S, S] uint8."""
    counts = np.stack([np.bincount(images[:, channel].ravel(), minlength=256) for channel in range(3)])
    share, level = counts / counts.sum(1, keepdims=True), np.arange(256) / 255
    mean = share @ level
    return mean.tolist(), np.sqrt(share @ level**2 - mean**2).tolist()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = Parser(prog="dataloaders.image_folder", description="Facts to register a folder of images with.")
    parser.add_argument("folder", type=user_path, metavar="FOLDER", help="with train/CLASS/*.jpg and so on")
    parser.add_argument("side", type=int, metavar="SIDE", help="side in pixels that images are resized to")
    given = parser.parse_args(arguments)
    try:
        data = image_folder(given.folder, given.side)
    except UserError as error:
        raise UserError(str(error).replace("--dataroot", "FOLDER")) from error
    mean, std = (", ".join(f"{value:.4f}" for value in values) for values in statistics(data.train.images))
    print(f"{len(data.train.labels)} training and {len(data.test.labels)} test images")
    print(f"classes={len(data.names)}, image_size={given.side}, mean=({mean}), std=({std})")
    print(*data.notes, sep="\n", end="\n" * bool(data.notes))


if __name__ == "__main__":
    sys.exit(run_main("dataloaders.image_folder", main))
