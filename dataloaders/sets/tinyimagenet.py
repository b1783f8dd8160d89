"""TinyImageNet, decoded into memory."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dataloaders.base import Data, Split, dataset
from dataloaders.folders import Sizes, check_complete, decoded, pictures
from dataloaders.sets.imagenet import wnid_folders
from utils.errors import UserError

NAME, SIDE, CLASSES = "tiny-imagenet-200", 64, 200
OFFICIAL: Sizes = {"train": (500, 500), "val": (50, 50)}


def official_folder(root: Path) -> Path:
    """The data set's folder, which the 2021 code kept in another one. Raises UserError."""
    for folder in (root / NAME, root / "tiny-imagenet" / NAME):
        if (folder / "train").is_dir():
            return folder
        if (archive := folder.with_suffix(".zip")).is_file():
            raise UserError(f"--dataroot: {archive} is not unpacked; unzip it there")
    raise UserError(f"--dataroot: there is no {root / NAME / 'train'}; "
                    "unpack TinyImageNet's official archive there or name another --dataroot")


def class_pictures(folder: Path) -> list[Path]:
    """The images of a class, in its folder or in ``images`` there. Raises UserError."""
    return pictures(folder / "images" if (folder / "images").is_dir() else folder)


def test_pictures(val: Path, wnids: Sequence[str]) -> list[tuple[Path, str]]:
    """The images of val with their classes: in class folders, as common scripts sort them into val/WNID,
    val/WNID/images or val/images/WNID, or as the archive has them, in val/images with val_annotations.txt.
    Raises UserError."""
    inner, annotations = val / "images", val / "val_annotations.txt"
    if folders := wnid_folders(val) or wnid_folders(inner):
        return [(path, wnid) for wnid in wnids if wnid in folders for path in class_pictures(folders[wnid])]
    try:
        lines = [words for line in annotations.read_text().splitlines() if len(words := line.split()) > 1]
    except OSError as error:
        raise UserError(f"--dataroot: {annotations}, which gives the classes of {inner}, cannot be read "
                        f"({error.strerror})") from error
    there, known = {path.name: path for path in pictures(inner)}, set(wnids)
    return [(there[name], wnid) for name, wnid, *_ in lines if name in there and wnid in known]


@dataset("TinyImageNet", classes=CLASSES, image_size=SIDE, mean=(0.4389, 0.4114, 0.3682),
         std=(0.2402, 0.2350, 0.2268), options=("incomplete_data",))
def read(root: Path, incomplete: bool = False) -> Data:
    """tiny-imagenet-200/train/WNID/images/*.JPEG, and val, the published test set. Classes are sorted by WNID
    and named by words.txt if it exists. Raises UserError.

    Args:
        incomplete: accept classes with other numbers of images than the official ones have.
    """
    base = official_folder(root)
    train = {wnid: class_pictures(folder) for wnid, folder in wnid_folders(base / "train").items()}
    if len(train) != CLASSES:
        raise UserError(f"--dataroot: {base / 'train'} has {len(train)} classes, not {CLASSES}; "
                        "unpack the official archive again")
    number = {wnid: label for label, wnid in enumerate(train)}
    test = test_pictures(base / "val", [*train])
    counts = {"train": {wnid: len(paths) for wnid, paths in train.items()}, "val": dict.fromkeys(train, 0)}
    for _, wnid in test:
        counts["val"][wnid] += 1
    notes = check_complete(base, counts, OFFICIAL, incomplete)

    words = base / "words.txt"
    lines = words.read_text(errors="replace").splitlines() if words.is_file() else []
    word_of = dict(line.split("\t", 1) for line in lines if "\t" in line)
    return Data(
        Split(decoded([path for paths in train.values() for path in paths], SIDE),
              np.repeat(np.arange(CLASSES), list(counts["train"].values()))),
        Split(decoded([path for path, _ in test], SIDE), np.array([number[wnid] for _, wnid in test])),
        tuple(word_of.get(wnid, wnid).split(",")[0].strip() for wnid in train), notes)
