"""ImageNet as paths of files. Its classes are named by WNID (WordNet's numbers, such as n01443537)."""

import math
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from dataloaders.base import Data, Split, dataset
from dataloaders.folders import check_complete, each_once, pictures, some, subfolders
from utils.errors import UserError
from utils.files import expand

WNID = re.compile(r"n\d{8}", re.IGNORECASE | re.ASCII)
OUTPUTS = 1000
OFFICIAL = {"train": (732, math.inf), "val": (50, 50)}  # fewest and most images of a class


@cache
def ilsvrc() -> tuple[str, ...]:
    """The WNIDs of the 1,000 classes of ILSVRC-2012, in alphabetical order."""
    return tuple(Path(__file__).with_name("imagenet_wnids.txt").read_text(encoding="ascii").split())


def published_order() -> list[int]:
    """The order of the 1,000 classes in every repeat (docs/specification.md, "Protocol")."""
    return np.random.RandomState(1993).permutation(OUTPUTS).tolist()


def read_class_list(path: Path, where: str) -> list[str]:
    """The first word of every line; the rest of a line, ``#`` comments and blank lines are ignored.
    Raises UserError.

    Args:
        where: the flag, for errors.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise UserError(f"{where}: {path} cannot be read ({reason}); list one WNID per line in it") from error
    words = [line.partition("#")[0].split()[:1] for line in lines]
    if not (found := [word for (word, *_) in filter(None, words)]):
        raise UserError(f"{where}: {path} names no class; put one WNID on each line")
    return found


def named_classes(given: Any, where: str) -> list[str]:
    """The WNIDs that ``--imagenet_classes`` names, which is one file of them or, as in args.yaml, the WNIDs
    themselves. An empty list names none. Raises UserError."""
    words = given if isinstance(given, list) else [given]
    if len(words) == 1 and isinstance(words[0], str) and not WNID.fullmatch(words[0]):
        path = Path(expand(words[0], where))
        where, words = f"{where} {path}", read_class_list(path, where)
    wnids: list[str] = []
    for word in words:
        if not isinstance(word, str) or not WNID.fullmatch(word):
            raise UserError(f"{where}: {str(word)[:40]!r} is not a WNID such as n01443537; "
                            "give WNIDs, or one file with a WNID per line")
        if word.lower() in wnids:
            raise UserError(f"{where}: {word} is named twice; remove one of them")
        wnids.append(word.lower())
    if len(wnids) > OUTPUTS:
        raise UserError(f"{where}: names {len(wnids)} classes; the network has {OUTPUTS} outputs; name fewer")
    return wnids


def wnid_folders(folder: Path) -> dict[str, Path]:
    """{WNID: its folder}. Raises UserError if two folders differ in case alone."""
    found: dict[str, Path] = {}
    for path in subfolders(folder):
        if WNID.fullmatch(path.name) and (other := found.setdefault(path.name.lower(), path)) != path:
            raise UserError(f"--dataroot: {path} and {other} are one class; merge them")
    return found


def others_ignored(folder: Path, wanted: dict[str, Path]) -> tuple[str, ...]:
    """A line for the log about the subfolders that are not wanted."""
    others = [path.name for path in subfolders(folder) if path not in wanted.values()]
    line = f"{folder}: ignored {len(others)} folders that are no class of this run: {some(others)}"
    return (line,) if others else ()


@dataset("ImageNet", classes=50, image_size=224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),
         top_k=5, outputs=OUTPUTS, in_learning_order=True,
         options=("imagenet_classes", "incomplete_data", "rand_split", "class_order"))
def read(root: Path, classes: list[str], incomplete: bool = False, rand_split: bool = True,
         class_order: Sequence[int] = ()) -> Data:
    """ilsvrc/train/WNID/*.JPEG, and ilsvrc/val/WNID/*.JPEG, the published test set. Raises UserError.

    Args:
        classes: WNIDs in learning order. If empty, the first 50 of the published order, or with neither
            ``rand_split`` nor ``class_order`` the first 50 by name.
        incomplete: accept classes with fewer images than the official ones have.
    """
    order = published_order() if rand_split or class_order else range(OUTPUTS)
    chosen = list(classes) or [ilsvrc()[number] for number in order[:50]]
    base = root / "ilsvrc"
    notes: tuple[str, ...] = ()
    found: dict[str, dict[str, Sequence[Path]]] = {}
    for part in OFFICIAL:
        there = wnid_folders(base / part)
        if not there and pictures(base / part):
            raise UserError(f"--dataroot: the images in {base / part} are not sorted into class folders; "
                            f"move each to {base / part}/WNID/")
        if missing := [wnid for wnid in chosen if wnid not in there]:
            raise UserError(
                f"--dataroot: {base / part} has no folder for {len(missing)} of the {len(chosen)} classes of "
                f"this run: {some(missing)}; add them, or name those you have with --imagenet_classes FILE")
        wanted = {wnid: there[wnid] for wnid in chosen}
        notes += others_ignored(base / part, wanted)
        found[part] = {wnid: each_once(pictures(folder)) for wnid, folder in wanted.items()}

    counts = {part: {wnid: len(paths) for wnid, paths in classes.items()} for part, classes in found.items()}
    notes += check_complete(base, counts, OFFICIAL, incomplete)

    def split(part: str) -> Split:
        labels = sorted(range(len(chosen)), key=chosen.__getitem__)  # by name, whatever the order of learning
        pairs = [(str(path), label) for label in labels for path in found[part][chosen[label]]]
        return Split(*map(np.array, zip(*pairs)))

    return Data(split("train"), split("val"), tuple(chosen), notes)
