"""Folders of images: what counts as a class or an image in them, and whether all of it is there."""

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from dataloaders.image_files import decode
from utils.errors import UserError

SUFFIXES = (".jpeg", ".jpg", ".png")  # in any case
# What systems and archivers leave in folders, beside names with a dot in front (macOS: ._NAME.JPEG, .DS_Store).
SYSTEM = {"__macosx", "@eadir", "thumbs.db", "desktop.ini", "$recycle.bin", "system volume information", "lost+found"}
SHOWN = 3  # of many names, in a message


@contextmanager
def reading(root: Path, folder: Path) -> Iterator[None]:
    """Errors of the file system become UserErrors that name the folder."""
    try:
        yield
    except PermissionError as error:
        place = error.filename or folder
        raise UserError(f"--dataroot {root}: {place} cannot be read ({error.strerror}); chmod -R u+rX {folder} allows it") from error
    except OSError as error:
        raise UserError(
            f"--dataroot {root}: {folder} cannot be read ({error.strerror}); put the data set there or name another --dataroot") from error


def visible(root: Path, folder: Path) -> list[Path]:
    """What a folder holds, by name, but for hidden files. Raises UserError."""
    with reading(root, folder):
        return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.name.lower() not in SYSTEM)


def subfolders(root: Path, folder: Path) -> list[Path]:
    """Those of a folder, also by way of links. Raises UserError."""
    with reading(root, folder):
        return [path for path in visible(root, folder) if path.is_dir()]


def is_picture(path: Path) -> bool:
    """Whether it is a file, not empty, with the name of an image."""
    return path.suffix.lower() in SUFFIXES and path.is_file() and path.stat().st_size > 0


def pictures(root: Path, folder: Path) -> list[Path]:
    """The image files of a folder, by name. Raises UserError for one that may not be read."""
    with reading(root, folder):
        found = [path for path in visible(root, folder) if is_picture(path)]
        for path in found:
            if not os.access(path, os.R_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    return found


def each_once(root: Path, paths: Sequence[Path]) -> Sequence[Path]:
    """The images of a class, where no two have one name but for its ending or folder: a copy would count as an image. Raises UserError."""
    first: dict[str, Path] = {}
    for path in paths:
        if (other := first.setdefault(path.stem, path)) != path:
            raise UserError(f"--dataroot {root}: {other} and {path} are one image twice; take one of them out")
    return paths


def text_lines(root: Path, path: Path) -> list[str]:
    """The lines of a text file that are not empty. Raises UserError."""
    try:
        return [line for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines() if line.strip()]
    except OSError as error:
        raise UserError(f"--dataroot {root}: {path} cannot be read ({error.strerror}); put the official file there") from error


def some(names: Iterable[object], of_what: str = "") -> str:
    """The first few of many, and how many more there are."""
    listed = [str(name) for name in names]
    more = len(listed) - SHOWN
    return ", ".join(listed[:SHOWN]) + (f" and {more} more{of_what and ' ' + of_what}" if more > 0 else "")


def lacking(part: str, found: dict[str, int], official: int, *, least: bool = False) -> list[str]:
    """How the classes of one part of a data set depart from the official number of images, those that do.

    Args:
        found: {class: number of its images}.
        least: more than ``official`` are right too.
    """
    departs = []
    for name, count in found.items():
        if count < official:
            departs.append(f"{part}/{name} lacks {official - count} of {'at least ' * least}{official} images")
        elif count > official and not least:
            departs.append(f"{part}/{name} has {count - official} images more than the official {official}")
    return departs


def complete(root: Path, folder: Path, departs: Sequence[str], counts: dict[str, dict[str, int]], incomplete: bool) -> tuple[str, ...]:
    """A line for the log about a data set that is not the official one. Raises UserError unless ``--incomplete_data`` allows that.

    Args:
        departs: see ``lacking``.
        counts: {part: {class: number of its images}}; nothing allows a class without any.
    """
    if not departs:
        return ()
    text = f"{folder} is not the complete data set: {some(departs, 'classes')}"
    if not incomplete:
        raise UserError(f"--dataroot {root}: {text}; unpack the official archive again, or use what is there with --incomplete_data 1")
    empty = [f"{part}/{name}" for part, found in counts.items() for name, count in found.items() if not count]
    if empty:
        raise UserError(f"--dataroot {root}: {folder} has no image at all in {some(empty)}; also with --incomplete_data 1 every class needs one")
    return (f"{text}; it is used all the same, for --incomplete_data 1",)


def decoded(paths: Sequence[Path], side: int, *, resize: bool = False) -> np.ndarray:
    """Images [N, 3, side, side] uint8 of files. Raises UserError.

    Args:
        resize: bring images of other sizes to it, the shorter side first, then the middle; otherwise they are refused.
    """
    from torchvision import transforms

    try:
        images = np.empty((len(paths), 3, side, side), np.uint8)
    except (MemoryError, ValueError) as error:
        size = f"{len(paths) * 3 * side**2 / 2**30:,.0f} GiB"
        raise UserError(f"--dataroot: {len(paths)} images of {side} x {side} pixels take {size} of memory; use fewer, or a smaller side") from error
    fit = transforms.Compose([transforms.Resize(side), transforms.CenterCrop(side)])

    def fill(place: int) -> None:
        image: Image.Image = decode(paths[place])
        if image.size != (side, side):
            if not resize:
                raise UserError(
                    f"--dataroot: {paths[place]} is {image.width} x {image.height} pixels, not {side} x {side}; put the official file in its place")
            image = fit(image)
        images[place] = np.asarray(image).transpose(2, 0, 1)

    with ThreadPoolExecutor() as pool:
        for _ in tqdm(pool.map(fill, range(len(paths))), "decoding images", len(paths), leave=False, disable=None):
            pass
    return images
