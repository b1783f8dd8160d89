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
SYSTEM = {"__macosx", "@eadir", "thumbs.db", "desktop.ini", "$recycle.bin", "lost+found"}
SHOWN = 3  # names listed in a message


def entries(folder: Path) -> list[Path]:
    """The visible entries of a folder, by name. Raises UserError."""
    try:
        found = sorted(folder.iterdir())
    except OSError as error:
        raise UserError(f"--dataroot: {folder} cannot be read ({error.strerror}); "
                        "put the data set there, make it readable or name another --dataroot") from error
    return [path for path in found if not path.name.startswith(".") and path.name.lower() not in SYSTEM]


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, links included. Raises UserError."""
    return [path for path in entries(folder) if path.is_dir()]


def is_picture(path: Path) -> bool:
    """Whether this is a file with an image's suffix that is not empty."""
    return path.suffix.lower() in SUFFIXES and path.is_file() and path.stat().st_size > 0


def pictures(folder: Path) -> list[Path]:
    """The image files of a folder, by name. Raises UserError if one may not be read."""
    found = [path for path in entries(folder) if is_picture(path)]
    for path in found:
        if not os.access(path, os.R_OK):
            raise UserError(f"--dataroot: {path} cannot be read; chmod -R u+rX {folder} allows it")
    return found


def each_once(paths: Sequence[Path]) -> Sequence[Path]:
    """The images of a class. Raises UserError if two have the same name apart from suffix and folder."""
    first: dict[str, Path] = {}
    for path in paths:
        if (other := first.setdefault(path.stem, path)) != path:
            raise UserError(f"--dataroot: {other} and {path} are one image twice; remove one of them")
    return paths


def text_lines(path: Path) -> list[str]:
    """The lines of a text file that are not blank. Raises UserError."""
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise UserError(f"--dataroot: {path} cannot be read ({error.strerror}); "
                        "put the official file there") from error
    return [line for line in text.splitlines() if line.strip()]


def some(names: Iterable[object], noun: str = "") -> str:
    """The first few names, and how many more there are."""
    listed = [str(name) for name in names]
    more = len(listed) - SHOWN
    return ", ".join(listed[:SHOWN]) + (f" and {more} more {noun}".rstrip() if more > 0 else "")


def check_complete(
    folder: Path, counts: dict[str, dict[str, int]], official: dict[str, tuple[int, float]], incomplete: bool,
) -> tuple[str, ...]:
    """A line for the log if classes have other numbers of images than the official data set. Raises UserError
    unless ``incomplete`` (``--incomplete_data``) allows that, and always if a class has none.

    Args:
        counts: {part of the data set: {class: number of images}}.
        official: {part: (fewest, most) images of a class}.
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
        raise UserError(f"--dataroot: {text}; unpack the official archive again, "
                        "or use what is there with --incomplete_data 1")
    if empty:
        raise UserError(f"--dataroot: {folder} has no image at all in {some(empty)}; "
                        "every class needs one, even with --incomplete_data 1")
    return (f"{text}; it is used because of --incomplete_data 1",)


def decoded(paths: Sequence[Path], side: int, *, resize: bool = False) -> np.ndarray:
    """Images [N, 3, side, side] uint8. Raises UserError.

    Args:
        resize: scale the shorter side to ``side`` and cut out the middle; otherwise other sizes are refused.
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
