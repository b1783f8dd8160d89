"""TinyImageNet, decoded into memory."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dataloaders.base import Data, Split, dataset
from dataloaders.folders import check_complete, decoded, each_once, pictures, some, text_lines
from dataloaders.sets.imagenet import others_ignored, wnid_folders
from utils.errors import UserError

NAME, SIDE, CLASSES = "tiny-imagenet-200", 64, 200
# Fewest and most images of a class.
OFFICIAL: dict[str, tuple[int, float]] = {"train": (500, 500), "val": (50, 50)}


def official_folder(root: Path) -> Path:
    """The data set's folder, which the 2021 code kept in another one. Raises UserError."""
    for folder in (root / NAME, root / "tiny-imagenet" / NAME):
        if (folder / "train").is_dir():
            return folder
        if (archive := folder.with_suffix(".zip")).is_file():
            raise UserError(f"--dataroot: {archive} is not unpacked; unzip it there")
    raise UserError(f"--dataroot: there is no {root / NAME / 'train'}; "
                    "unpack TinyImageNet's official archive there or name another --dataroot")


def class_pictures(folder: Path) -> Sequence[Path]:
    """The images of a class, in its folder or in ``images`` there. Raises UserError."""
    inner = folder / "images"
    return each_once([*pictures(folder), *(pictures(inner) if inner.is_dir() else [])])


def training_folders(base: Path) -> dict[str, Path]:
    """{WNID: its folder} of the 200 classes, sorted; wnids.txt names them if it exists. Raises UserError."""
    there, names = wnid_folders(base / "train"), base / "wnids.txt"
    wanted = sorted({line.strip().lower() for line in text_lines(names)} if names.is_file() else there)
    if len(wanted) != CLASSES:
        source = names if names.is_file() else base / "train"
        raise UserError(f"--dataroot: {source} has {len(wanted)} classes, not {CLASSES}; "
                        "unpack the official archive again")
    if missing := [wnid for wnid in wanted if wnid not in there]:
        raise UserError(f"--dataroot: {base / 'train'} has no folder for {len(missing)} of the {CLASSES} "
                        f"classes: {some(missing)}; unpack the official archive again")
    return {wnid: there[wnid] for wnid in wanted}


def read_annotations(path: Path, wnids: set[str]) -> dict[str, str]:
    """{name of an image without its suffix: its class} from val_annotations.txt. Raises UserError."""
    classes: dict[str, str] = {}
    for line in text_lines(path):
        name, wnid = [*line.split(), ""][:2]
        if wnid.lower() not in wnids or classes.setdefault(Path(name).stem, wnid.lower()) != wnid.lower():
            raise UserError(f"--dataroot: {path} gives {name} two classes, or none of the training set "
                            f"({line[:40]!r}); put the official file in its place")
    return classes


def test_pictures(base: Path, wnids: set[str]) -> list[tuple[Path, str]]:
    """The images of val with their classes, laid out as in the official archive (val/images and
    val_annotations.txt) or as common scripts rearrange it (val/WNID, val/WNID/images, val/images/WNID).
    Raises UserError."""
    folder, inner, annotations = base / "val", base / "val" / "images", base / "val" / "val_annotations.txt"
    moved: dict[tuple[str, str], Path] = {}  # by name and class: some scripts restart numbering in each
    for home in (folder, inner) if inner.is_dir() else (folder,):
        for wnid, place in wnid_folders(home).items():
            if wnid in wnids:
                moved |= {(path.stem, wnid): path for path in class_pictures(place)}
    classes = read_annotations(annotations, wnids) if not moved or annotations.exists() else {}
    for (stem, wnid), path in moved.items():
        if classes.get(stem, wnid) != wnid:
            raise UserError(f"--dataroot: {path} is not in the class folder that {annotations} says; "
                            "unpack the official archive again")
    flat = {path.stem: path for path in pictures(inner)} if inner.is_dir() else {}
    if flat and not classes:
        raise UserError(f"--dataroot: {annotations}, which gives the classes of {inner}, is missing")
    paths = {**{stem: path for (stem, _), path in moved.items()}, **flat}
    rest = [key for key in moved if key[0] not in classes]
    rest.sort(key=lambda key: (len(key[0]), *key))  # val_2 before val_10
    annotated = [(paths[stem], wnid) for stem, wnid in classes.items() if stem in paths]
    return [*annotated, *((moved[key], key[1]) for key in rest)]


@dataset("TinyImageNet", classes=CLASSES, image_size=SIDE, mean=(0.4389, 0.4114, 0.3682),
         std=(0.2402, 0.2350, 0.2268), options=("incomplete_data",))
def read(root: Path, incomplete: bool = False) -> Data:
    """tiny-imagenet-200/train/WNID/images/*.JPEG, and val, the published test set. Classes are sorted by WNID
    and named by words.txt if it exists. Raises UserError.

    Args:
        incomplete: accept classes with other numbers of images than the official ones have.
    """
    base = official_folder(root)
    folders = training_folders(base)
    number = {wnid: label for label, wnid in enumerate(folders)}
    train = {wnid: class_pictures(folder) for wnid, folder in folders.items()}
    test = test_pictures(base, set(folders))
    counts = {"train": {wnid: len(paths) for wnid, paths in train.items()}, "val": dict.fromkeys(folders, 0)}
    for _, wnid in test:
        counts["val"][wnid] += 1
    notes = (*others_ignored(base / "train", folders),
             *check_complete(base, counts, OFFICIAL, incomplete))

    words = text_lines(base / "words.txt") if (base / "words.txt").is_file() else []
    word_of = dict(line.split("\t", 1) for line in words if "\t" in line)
    return Data(
        Split(decoded([path for paths in train.values() for path in paths], SIDE),
              np.repeat(np.arange(CLASSES), list(counts["train"].values()))),
        Split(decoded([path for path, _ in test], SIDE), np.array([number[wnid] for _, wnid in test])),
        tuple(word_of.get(wnid, wnid).split(",")[0].strip() for wnid in folders), notes)
