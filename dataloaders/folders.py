"""Folders of images: which entries count as a class or an image, and whether all images are there."""

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

Sizes = dict[str, tuple[int, int]]  # {part of a data set: (fewest, most) images of a class}


def entries(folder: Path) -> list[Path]:
    """The visible entries of a folder, by name. Raises UserError."""
    try:
        found = sorted(folder.iterdir())
    except OSError as error:
        raise UserError(f"{folder} cannot be read ({error.strerror}); put the data set there, or correct "
                        "--dataroot or --dataset") from error
    return [path for path in found if not path.name.startswith(".") and path.name.lower() not in SYSTEM]


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, links included. Raises UserError."""
    return [path for path in entries(folder) if path.is_dir()]


def pictures(folder: Path) -> list[Path]:
    """The image files of a folder that are not empty, by name. Raises UserError."""
    return [path for path in entries(folder)
            if path.suffix.lower() in SUFFIXES and path.is_file() and path.stat().st_size > 0]


def some(names: Iterable[object]) -> str:
    """The first few names, and how many more there are."""
    listed = [str(name) for name in names]
    return ", ".join(listed[:SHOWN]) + (f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else "")


def check_complete(
    folder: Path, counts: dict[str, dict[str, int]], official: Sizes, incomplete: bool,
) -> tuple[str, ...]:
    """A line for the log if classes have other numbers of images than the official data set. Raises UserError
    unless ``incomplete`` (``--incomplete_data``) allows that.

    Args:
        counts: {part of the data set: {class: number of images}}.
    """
    faults = []
    for part, (fewest, most) in official.items():
        expected = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        faults += [f"{part}/{name} has {count} of {expected} images" for name, count in counts[part].items()
                   if not fewest <= count <= most]
    if not faults:
        return ()
    text = f"{folder} is not the complete data set: {some(faults)}"
    if not incomplete:
        raise UserError(f"--dataroot: {text}; unpack the official archive again, "
                        "or use what is there with --incomplete_data 1")
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
                raise UserError(f"{paths[index]} is {image.width} x {image.height} pixels, "
                                f"not {side} x {side}; put the official file in its place")
            image = fit(image)
        images[index] = np.asarray(image).transpose(2, 0, 1)

    with ThreadPoolExecutor() as pool:
        done = pool.map(fill, range(len(paths)))
        for _ in tqdm(done, "decoding images", len(paths), leave=False, disable=None):
            pass
    return images
