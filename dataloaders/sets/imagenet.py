"""ImageNet as paths of files. Its classes are named by WNID (WordNet's numbers, such as n01443537), never counted."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from dataloaders.base import Data, Split, dataset
from dataloaders.folders import complete, each_once, lacking, pictures, some, subfolders
from utils.errors import UserError
from utils.files import expand_home

WNID = re.compile(r"n\d{8}", re.IGNORECASE | re.ASCII)
OUTPUTS = 1000
# Official numbers of images a class: the least of the training set, and that of every class in val.
LEAST_TRAIN, VAL = 732, 50


@cache
def ilsvrc() -> tuple[str, ...]:
    """The WNIDs of the 1,000 classes of ILSVRC-2012, in alphabetical order."""
    return tuple(Path(__file__).with_name("imagenet_wnids.txt").read_text(encoding="ascii").split())


def published_order() -> list[int]:
    """The order of the 1,000 (docs/specification.md, "Protocol"): of numpy's legacy generator, the same in every repeat."""
    return np.random.RandomState(1993).permutation(OUTPUTS).tolist()


def read_class_list(path: Path, where: str) -> list[str]:
    """The WNIDs of a file, one at the beginning of a line; words after it, ``#`` comments and empty lines say nothing.

    Args:
        where: names the flag in errors. Raises UserError.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise UserError(f"{where}: {path} cannot be read ({error.strerror}); name a file with one WNID a line") from error
    except ValueError as error:
        raise UserError(f"{where}: {path} is not a text file in UTF-8; name a file with one WNID a line") from error
    place: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if not WNID.fullmatch(words[0]):
            raise UserError(f"{where}: line {number} of {path} begins with {words[0][:40]!r}, not with a WNID such as n01443537")
        if any(WNID.fullmatch(word) for word in words[1:]):
            raise UserError(f"{where}: line {number} of {path} has several WNIDs; put each on a line of its own")
        wnid = words[0].lower()
        if wnid in place:
            raise UserError(f"{where}: {path} names {wnid} twice, in lines {place[wnid]} and {number}; take one out")
        place[wnid] = number
    if not place:
        raise UserError(f"{where}: {path} names no class; put one WNID on each line")
    return list(place)


def named_classes(given: Any, where: str) -> list[str]:
    """What ``--imagenet_classes`` names, as WNIDs: those in the one file given, or those given, as args.yaml has them.
    An empty list stays one: none were named. Raises UserError."""
    values = given if isinstance(given, list) else [given]
    for value in values:
        if not isinstance(value, str) or not value.isprintable():
            raise UserError(f"{where}: {value!r} is neither a file nor a WNID such as n01443537")
    if len(values) == 1 and not WNID.fullmatch(values[0]):
        wnids = read_class_list(Path(expand_home(values[0], where)), where)
    else:
        wnids = [wnid.lower() for wnid in values]
        for wnid in values:
            if not WNID.fullmatch(wnid):
                raise UserError(f"{where}: {wnid[:40]!r} is not a WNID such as n01443537; name one file, or WNIDs alone")
            if wnids.count(wnid.lower()) > 1:
                raise UserError(f"{where}: names {wnid} twice; take one out")
    if len(wnids) > OUTPUTS:
        raise UserError(f"{where}: names {len(wnids)} classes, the network has {OUTPUTS} outputs; take some out")
    return wnids


def wnid_folders(root: Path, folder: Path) -> dict[str, Path]:
    """{WNID: its folder}. Raises UserError."""
    found: dict[str, Path] = {}
    for path in subfolders(root, folder):
        if WNID.fullmatch(path.name) and found.setdefault(path.name.lower(), path) != path:
            raise UserError(f"--dataroot {root}: {path} and {found[path.name.lower()].name} beside it are one class; put them together")
    return found


def others_ignored(root: Path, folder: Path, wanted: dict[str, Path]) -> tuple[str, ...]:
    """A line for the log on the subfolders that are none of the wanted."""
    others = [path.name for path in subfolders(root, folder) if path not in wanted.values()]
    return (f"{folder}: ignored {len(others)} folders that are no class of this run: {some(others)}",) if others else ()


@dataset(
    "ImageNet", classes=50, image_size=224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), top_k=5, outputs=OUTPUTS,
    options=("imagenet_classes", "incomplete_data", "rand_split", "class_order"), in_learning_order=True)
def read(root: Path, classes: list[str], incomplete: bool = False, rand_split: bool = True, class_order: Sequence[int] = ()) -> Data:
    """ilsvrc/train/WNID/*.JPEG, and ilsvrc/val/WNID/*.JPEG, the published test set.

    Args:
        classes: WNIDs in learning order. None: the first 50 of the published order; with neither ``rand_split`` nor ``class_order``, by name.
        incomplete: take classes with fewer images than the official ones have.
    """
    chosen = list(classes) or [ilsvrc()[number] for number in (published_order() if rand_split or class_order else range(OUTPUTS))[:50]]
    base = root / "ilsvrc"
    notes: tuple[str, ...] = ()
    folders: dict[str, dict[str, Path]] = {}
    for part in ("train", "val"):
        there = wnid_folders(root, base / part)
        if not there and pictures(root, base / part):
            raise UserError(f"--dataroot {root}: the images in {base / part} are not sorted into class folders; move each to {base / part}/WNID/")
        missing = [wnid for wnid in chosen if wnid not in there]
        if missing:
            raise UserError(
                f"--dataroot {root}: {base / part} has no folder for {len(missing)} of the {len(chosen)} classes of this run: {some(missing)}; "
                "add them, or name the classes that are there with --imagenet_classes FILE")
        folders[part] = {wnid: there[wnid] for wnid in chosen}
        notes += others_ignored(root, base / part, folders[part])

    found = {part: {wnid: each_once(root, pictures(root, folder)) for wnid, folder in parts.items()} for part, parts in folders.items()}
    counts = {part: {wnid: len(paths) for wnid, paths in parts.items()} for part, parts in found.items()}
    departs = [*lacking("train", counts["train"], LEAST_TRAIN, least=True), *lacking("val", counts["val"], VAL)]
    notes += complete(root, base, departs, counts, incomplete)

    def split(part: str) -> Split:
        labels = sorted(range(len(chosen)), key=lambda label: chosen[label])  # files by name, whatever the order of learning
        paths = [found[part][chosen[label]] for label in labels]
        return Split(np.array([str(path) for one in paths for path in one]), np.repeat(labels, [len(one) for one in paths]))

    return Data(split("train"), split("val"), tuple(chosen), notes)
