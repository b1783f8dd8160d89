"""ImageNet as paths of files. Its classes are named by WNID (WordNet's numbers, such as n01443537)."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from dataloaders.base import Data, Split, dataset
from dataloaders.folders import Sizes, check_complete, pictures, some, subfolders
from utils.errors import UserError
from utils.files import expand

WNID = re.compile(r"n\d{8}", re.ASCII)
OUTPUTS = 1000
OFFICIAL: Sizes = {"train": (732, 1300), "val": (50, 50)}


@cache
def ilsvrc() -> tuple[str, ...]:
    """The WNIDs of the 1,000 classes of ILSVRC-2012, in alphabetical order."""
    return tuple(Path(__file__).with_name("imagenet_wnids.txt").read_text(encoding="ascii").split())


def published_order() -> list[int]:
    """The order of the 1,000 classes in every repeat (docs/specification.md, "Protocol")."""
    return np.random.RandomState(1993).permutation(OUTPUTS).tolist()


def named_classes(given: Any, where: str) -> list[str]:
    """The WNIDs that ``--imagenet_classes`` names, an empty list if none. Raises UserError.

    Args:
        given: WNIDs, as in args.yaml, or the path of a file whose lines each begin with one. Text after it,
            ``#`` comments and blank lines are ignored.
        where: the flag, or the file and field, for errors.
    """
    words = given if isinstance(given, list) else [given]
    if len(words) == 1 and not WNID.fullmatch(str(words[0])):
        path = expand(str(words[0]), where)
        try:
            lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, ValueError) as error:
            raise UserError(f"{where}: {path} cannot be read ({error}); list a WNID a line") from error
        where = f"{where} {path}"
        words = [line.split()[0] for line in lines if line.partition("#")[0].strip()]
        if not words:
            raise UserError(f"{where}: names no class; put one WNID on each line")
    for word in words:
        if not WNID.fullmatch(str(word)) or words.count(word) > 1:
            raise UserError(f"{where}: {str(word)[:40]!r} is named twice or is no WNID such as n01443537; "
                            "give WNIDs, or one file with a WNID per line")
    if len(words) > OUTPUTS:
        raise UserError(f"{where}: names {len(words)} classes; the network has {OUTPUTS} outputs; name fewer")
    return words


def wnid_folders(folder: Path) -> dict[str, Path]:
    """{WNID: its folder}. Raises UserError."""
    return {path.name: path for path in subfolders(folder) if WNID.fullmatch(path.name)}


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
    base, found = root / "ilsvrc", dict[str, dict[str, list[Path]]]()
    for part in OFFICIAL:
        there = wnid_folders(base / part)
        if missing := [wnid for wnid in chosen if wnid not in there]:
            raise UserError(
                f"--dataroot: {base / part} has no folder for {len(missing)} of the {len(chosen)} classes of "
                f"this run: {some(missing)}; move the images of each class to {base / part}/WNID/, or name "
                "the classes you have with --imagenet_classes FILE")
        found[part] = {wnid: pictures(there[wnid]) for wnid in chosen}
    counts = {part: {wnid: len(paths) for wnid, paths in classes.items()} for part, classes in found.items()}
    notes = check_complete(base, counts, OFFICIAL, incomplete)

    def split(part: str) -> Split:
        labels = sorted(range(len(chosen)), key=chosen.__getitem__)  # by name, whatever the order of learning
        pairs = [(str(path), label) for label in labels for path in found[part][chosen[label]]]
        return Split(*map(np.array, zip(*pairs)))

    return Data(split("train"), split("val"), tuple(chosen), notes)
