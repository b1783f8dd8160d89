"""A data set of one's own: a folder of images in class folders (docs/your-own-data.md).

    python -m dataloaders.image_folder FOLDER SIDE        what to register it with: classes, mean and deviation
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dataloaders.base import Data, Split
from dataloaders.folders import decoded, is_picture, pictures, some, subfolders, visible
from utils.errors import Parser, UserError
from utils.files import user_path
from utils.startup import finish, run_command


def image_folder(folder: Path, side: int, train: str = "train", test: str = "test") -> Data:
    """Images FOLDER/train/CLASS/*.jpg and FOLDER/test/CLASS/*.jpg (.jpeg, .png) in memory, resized and cut to side x side
    pixels. Classes are numbered by name. Raises UserError.

    Args:
        train, test: what the folders of the two parts are called.
    """
    classes = {part: [path.name for path in subfolders(folder, folder / part)] for part in (train, test)}
    names = classes[train]
    if differing := sorted({*names}.symmetric_difference(classes[test])):
        raise UserError(f"--dataroot: {folder} needs the same class folders in {train} and {test}; only one of them has {some(differing)}")
    if not names:
        raise UserError(f"--dataroot: {folder / train} has no class folders; put the images of each class into a folder with its name")
    notes: list[str] = []

    def split(part: str) -> Split:
        found = [pictures(folder, folder / part / name) for name in names]
        for name, paths in zip(names, found):
            if not paths:
                raise UserError(f"--dataroot: {folder / part / name} has no image (.jpg, .jpeg, .png); every class needs one in {train} and {test}")
        ignored = {
            "outside the class folders": [path for path in visible(folder, folder / part) if not path.is_dir()],
            "that are no images (.jpg, .jpeg, .png) or empty":
                [path for name in names for path in visible(folder, folder / part / name) if not is_picture(path)]}
        notes.extend(f"{folder / part}: ignored {len(others)} {why}: {some(others)}" for why, others in ignored.items() if others)
        paths = [path for one in found for path in one]
        return Split(decoded(paths, side, resize=True), np.repeat(np.arange(len(names)), [len(one) for one in found]))

    return Data(split(train), split(test), tuple(names), tuple(notes))


def statistics(images: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and deviation of each channel in [0, 1] of images [N, 3, S, S] uint8."""
    count = np.stack([np.bincount(images[:, channel].ravel(), minlength=256) for channel in range(3)]).astype(float)
    share, level = count / count.sum(1, keepdims=True), np.arange(256) / 255
    mean = share @ level
    return mean.tolist(), np.sqrt(share @ level**2 - mean**2).tolist()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser(prog="dataloaders.image_folder", description="What to register a folder of images with.", allow_abbrev=False)
    parser.add_argument("folder", type=user_path, metavar="FOLDER", help="has train/CLASS/*.jpg and test/CLASS/*.jpg")
    parser.add_argument("side", type=int, metavar="SIDE", help="pixels a side that images are resized to")
    try:
        given = parser.parse_args(arguments)
        if given.side < 1:
            raise UserError(f"SIDE: {given.side} is below 1")
        data = image_folder(given.folder, given.side)
    except UserError as error:
        print(f"dataloaders.image_folder: {str(error).replace('--dataroot', 'FOLDER')}", file=sys.stderr)
        return 2
    mean, std = (", ".join(f"{value:.4f}" for value in values) for values in statistics(data.train.images))
    print(f"{len(data.train.labels)} training and {len(data.test.labels)} test images")
    print(f"classes={len(data.names)}, image_size={given.side}, mean=({mean}), std=({std})")
    for note in data.notes:
        print(note)
    return finish("dataloaders.image_folder")


if __name__ == "__main__":
    sys.exit(run_command("dataloaders.image_folder", main))
