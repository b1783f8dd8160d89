"""TinyImageNet, decoded into memory."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dataloaders.base import Data, Split, dataset
from dataloaders.folders import complete, decoded, each_once, lacking, pictures, some, text_lines
from dataloaders.sets.imagenet import WNID, others_ignored, wnid_folders
from utils.errors import UserError

NAME, SIDE = "tiny-imagenet-200", 64
CLASSES, TRAIN, VAL = 200, 500, 50  # official numbers: of classes, and of images a class


def official_folder(root: Path) -> Path:
    """Where the data set lies: its own folder, or that of the 2021 code around it. Raises UserError."""
    places = root / NAME, root / "tiny-imagenet" / NAME
    for folder in places:
        if (folder / "train").is_dir():
            return folder
    for archive in (root / f"{NAME}.zip", root / "tiny-imagenet" / f"{NAME}.zip"):
        if archive.is_file():
            raise UserError(f"--dataroot {root}: {archive} is not unpacked; unzip it there")
    raise UserError(f"--dataroot {root}: TinyImageNet is neither in {places[0]} nor in {places[1]} (No such file or directory: train); "
                    "unpack the official archive there or name another --dataroot")


def class_pictures(root: Path, folder: Path) -> Sequence[Path]:
    """The images of a class, in its folder or in ``images`` there. Raises UserError."""
    inner = folder / "images"
    return each_once(root, [*pictures(root, folder), *(pictures(root, inner) if inner.is_dir() else [])])


def training_folders(root: Path, base: Path) -> dict[str, Path]:
    """{WNID: its folder} of the 200 classes, by WNID; where wnids.txt names them, of those. Raises UserError."""
    there, names = wnid_folders(root, base / "train"), base / "wnids.txt"
    if names.is_file():
        wanted = sorted({line.strip().lower() for line in text_lines(root, names)})
        if len(wanted) != CLASSES or not all(map(WNID.fullmatch, wanted)):
            raise UserError(f"--dataroot {root}: {names} does not name {CLASSES} classes; put the official file in its place")
        missing = [wnid for wnid in wanted if wnid not in there]
        if missing:
            raise UserError(
                f"--dataroot {root}: {base / 'train'} has no folder for {len(missing)} of the {CLASSES} classes: {some(missing)}; "
                "unpack the official archive again")
        return {wnid: there[wnid] for wnid in wanted}
    if len(there) != CLASSES:
        raise UserError(f"--dataroot {root}: {base / 'train'} has {len(there)} class folders, not the {CLASSES} of the official set")
    return dict(sorted(there.items()))


def read_annotations(root: Path, path: Path, wnids: set[str]) -> dict[str, str]:
    """{name of an image without its suffix: its class} of val_annotations.txt. Raises UserError."""
    classes: dict[str, str] = {}
    for line in text_lines(root, path):
        name, wnid, *_ = [*line.split(), ""]
        wnid = wnid.lower()
        if wnid not in wnids:
            raise UserError(
                f"--dataroot {root}: {path} has a line without a class of the training set ({line[:40]!r}); put the official file in its place")
        if classes.setdefault(Path(name).stem, wnid) != wnid:
            raise UserError(f"--dataroot {root}: {path} gives {name} two classes; put the official file in its place")
    return classes


def test_pictures(root: Path, base: Path, wnids: set[str]) -> list[tuple[Path, str]]:
    """The images of val with their classes, as the official archive has them (val/images and val_annotations.txt) or
    as common scripts rearrange them (in val/WNID, val/WNID/images or val/images/WNID). Raises UserError."""
    folder, inner, annotations = base / "val", base / "val" / "images", base / "val" / "val_annotations.txt"
    moved: dict[tuple[str, str], Path] = {}  # by name and class: some scripts number each class anew
    for home in (folder, inner) if inner.is_dir() else (folder,):
        for wnid, place in wnid_folders(root, home).items():
            if wnid in wnids:
                moved |= {(path.stem, wnid): path for path in class_pictures(root, place)}
    classes = read_annotations(root, annotations, wnids) if not moved or annotations.exists() else {}
    for (stem, wnid), path in moved.items():
        if classes.get(stem, wnid) != wnid:
            raise UserError(f"--dataroot {root}: {path} is in the folder of another class than {annotations} says; unpack the official archive again")
    flat = {path.stem: path for path in pictures(root, inner)} if inner.is_dir() else {}
    if flat and not classes:
        raise UserError(f"--dataroot {root}: {annotations} is missing, which says the classes of the images in {inner}; put it there")
    places = {**{stem: path for (stem, _), path in moved.items()}, **flat}
    rest = sorted((key for key in moved if key[0] not in classes), key=lambda key: (len(key[0]), *key))  # val_2 before val_10, as annotated
    return [*((places[stem], wnid) for stem, wnid in classes.items() if stem in places), *((moved[key], key[1]) for key in rest)]


@dataset(
    "TinyImageNet", classes=CLASSES, image_size=SIDE, mean=(0.4389, 0.4114, 0.3682), std=(0.2402, 0.2350, 0.2268), options=("incomplete_data",))
def read(root: Path, incomplete: bool = False) -> Data:
    """tiny-imagenet-200/train/WNID/images/*.JPEG, and val, the published test set. Classes are numbered by WNID; words.txt,
    where present, names them.

    Args:
        incomplete: take classes with other numbers of images than the official ones have.
    """
    base = official_folder(root)
    folders = training_folders(root, base)
    wnids = list(folders)
    train = {wnid: class_pictures(root, folder) for wnid, folder in folders.items()}
    test = test_pictures(root, base, set(wnids))

    counts = {"train": {wnid: len(paths) for wnid, paths in train.items()}, "val": dict.fromkeys(wnids, 0)}
    for _, wnid in test:
        counts["val"][wnid] += 1
    departs = [*lacking("train", counts["train"], TRAIN), *lacking("val", counts["val"], VAL)]
    notes = (*others_ignored(root, base / "train", folders), *complete(root, base, departs, counts, incomplete))

    words = base / "words.txt"
    word_of = dict(line.split("\t", 1) for line in text_lines(root, words) if "\t" in line) if words.is_file() else {}
    return Data(
        Split(decoded([path for paths in train.values() for path in paths], SIDE), np.repeat(np.arange(CLASSES), list(counts["train"].values()))),
        Split(decoded([path for path, _ in test], SIDE), np.array([wnids.index(wnid) for _, wnid in test])),
        tuple(word_of.get(wnid, wnid).split(",")[0].strip() for wnid in wnids), notes)
