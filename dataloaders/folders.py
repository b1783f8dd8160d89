"""Folders of images: which entries count as a class or an image, and whether all images are there."""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from dataloaders.image_files import decode
from utils.errors import UserError

SUFFIXES = (".jpeg", ".jpg", ".png")  # in any case
# What systems leave in folders, apart from hidden files such as macOS's ._NAME.JPEG and .DS_Store.
SYSTEM = {"__macosx", "@eadir", "thumbs.db", "desktop.ini", "$recycle.bin", "system volume information", "lost+found"}
SHOWN = 3  # names listed in a message


def entries(root: Path, folder: Path) -> list[Path]:
    """The visible entries of a folder, by name. Raises UserError, naming ``--dataroot``, if it cannot be read."""
    try:
        return sorted(p for p in folder.iterdir() if not p.name.startswith(".") and p.name.lower() not in SYSTEM)
    except OSError as error:
        raise UserError(f"--dataroot {root}: {folder} cannot be read ({error.strerror}); "
                        "put the data set there, make it readable or name another --dataroot") from error


def subfolders(root: Path, folder: Path) -> list[Path]:
    """The folders in a folder, links included. Raises UserError."""
    return [path for path in entries(root, folder) if path.is_dir()]


def is_picture(path: Path) -> bool:
    """Whether this is a file with an image's suffix that is not empty."""
    return path.suffix.lower() in SUFFIXES and path.is_file() and path.stat().st_size > 0


def pictures(root: Path, folder: Path) -> list[Path]:
    """The image files of a folder, by name. Raises UserError if one may not be read."""
    found = [path for path in entries(root, folder) if is_picture(path)]
    for path in found:
        if not os.access(path, os.R_OK):
            raise UserError(f"--dataroot {root}: {path} cannot be read; chmod -R u+rX {folder} allows it")
    return found


def each_once(root: Path, paths: Sequence[Path]) -> Sequence[Path]:
    """The images of a class. Raises UserError if two differ in suffix or folder alone: a copy would count twice."""
    first: dict[str, Path] = {}
    for path in paths:
        if (other := first.setdefault(path.stem, path)) != path:
            raise UserError(f"--dataroot {root}: {other} and {path} are one image twice; remove one of them")
    return paths


def text_lines(root: Path, path: Path) -> list[str]:
    """The lines of a text file that are not blank. Raises UserError."""
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise UserError(f"--dataroot {root}: {path} cannot be read ({error.strerror}); "
                        "put the official file there") from error
    return [line for line in text.splitlines() if line.strip()]


def some(names: Iterable[object], noun: str = "") -> str:
    """The first few names, and how many more there are."""
    listed = [str(name) for name in names]
    more = len(listed) - SHOWN
    return ", ".join(listed[:SHOWN]) + (f" and {more} more {noun}".rstrip() if more > 0 else "")


def check_complete(
    root: Path, folder: Path, counts: dict[str, dict[str, int]], official: dict[str, tuple[int, float]],
    incomplete: bool,
) -> tuple[str, ...]:
    """Compare the number of images per class with the official one.

    Args:
        counts: {part of the data set: {class: number of images}}.
        official: {part: (fewest, most) images of a class}.
        incomplete: ``--incomplete_data``.

    Returns a line for the log if the data set differs. Raises UserError unless ``incomplete`` allows that, and
    always for a class without images.
    """
    faults, empty = [], []
    for part, (fewest, most) in official.items():
        for name, count in counts[part].items():
            if count < fewest:
                faults.append(f"{part}/{name} has {count} of {'at least ' * (fewest < most)}{fewest} images")
            elif count > most:
                faults.append(f"{part}/{name} has {count} images, {count - most} more than the official set")
            if not count:
                empty.append(f"{part}/{name}")
    if not faults:
        return ()
    text = f"{folder} is not the complete data set: {some(faults, 'classes')}"
    if not incomplete:
        raise UserError(f"--dataroot {root}: {text}; unpack the official archive again, "
                        "or use what is there with --incomplete_data 1")
    if empty:
        raise UserError(f"--dataroot {root}: {folder} has no image at all in {some(empty)}; every class needs one, "
                        "even with --incomplete_data 1")
    return (f"{text}; it is used because of --incomplete_data 1",)


def decoded(paths: Sequence[Path], side: int, *, resize: bool = False) -> np.ndarray:
    """Images [N, 3, side, side] uint8. Raises UserError.

    Args:
        resize: scale the shorter side of other images to ``side`` and cut out the middle, instead of refusing them.
    """
    from torchvision import transforms

    fit = transforms.Compose([transforms.Resize(side), transforms.CenterCrop(side)])
    images = np.empty((len(paths), 3, side, side), np.uint8)

    def fill(index: int) -> None:
        image: Image.Image = decode(paths[index])
        if image.size != (side, side):
            if not resize:
                raise UserError(f"--dataroot: {paths[index]} is {image.width} x {image.height} pixels, "
                                f"not {side} x {side}; put the official file in its place")
            image = fit(image)
        images[index] = np.asarray(image).transpose(2, 0, 1)

    with ThreadPoolExecutor() as pool:
        done = pool.map(fill, range(len(paths)))
        for _ in tqdm(done, "decoding images", len(paths), leave=False, disable=None):
            pass
    return images
