"""Images that stay on disk and are decoded when a batch needs them (ImageNet)."""

import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dataloaders.batches import Pixels
from utils.errors import UserError
from utils.files import on_cpu
from utils.streams import global_state_seeded

TIMEOUT = 300  # seconds without a batch after which the workers count as hung


def decode(path: str | Path) -> Image.Image:
    """The image in a file, as RGB. Raises UserError if it cannot be read or decoded."""
    try:
        with Image.open(path) as file:
            image: Image.Image = file
            if image.mode.startswith("I"):  # 16-bit grey, which PIL would clip at 255
                image = Image.fromarray((np.asarray(image) // 257).clip(0, 255).astype(np.uint8))
            return image.convert("RGB")
    except Exception as error:  # PIL raises many kinds for a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path} cannot be decoded ({reason}); replace the file") from error


def crop_of(augmented: bool) -> Callable[[Image.Image], Tensor]:
    """The published crop of training or test images to [3, 224, 224] uint8, normalised later on the device
    (docs/specification.md, "Protocol")."""
    from torchvision import transforms as t

    training, test = [t.RandomResizedCrop(224), t.RandomHorizontalFlip()], [t.Resize(256), t.CenterCrop(224)]
    return t.Compose([*(training if augmented else test), t.PILToTensor()])


class _DecodedBatches(Dataset):
    """Maps (rows, a seed for each or None) to images [B, 3, 224, 224] uint8. An error is returned, because a
    DataLoader would wrap it in a traceback, and images are an array, because tensors would travel through
    /dev/shm, which is small in containers."""

    def __init__(self, paths: np.ndarray, augmented: bool):
        self.paths, self.crop = paths, crop_of(augmented)

    def __getitem__(self, batch: tuple[list[int], list[int] | None]) -> np.ndarray | UserError:
        rows, seeds = batch
        images = []
        try:
            for index, row in enumerate(rows):
                image = decode(self.paths[row])
                with global_state_seeded(seeds[index]) if seeds else contextlib.nullcontext():
                    images.append(self.crop(image))
        except UserError as error:
            return error
        return torch.stack(images).numpy()


def _unchanged(batch: Any) -> Any:  # a collate function that makes no tensors
    return batch


def _ignore_ctrl_c(worker: int) -> None:  # a terminal sends it to the workers too, but the run ends them
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _worker_line(what: str, workers: int) -> str:
    return (f"--workers {workers}: {what}; workers need memory, /dev/shm and a fast disk: "
            "use fewer --workers or 0, and in Docker a larger --shm-size")


def worker_failure(error: BaseException, workers: int) -> str:
    """One line about a worker that died or hung, if that is what torch's RuntimeError says; else empty. Torch
    raises it wherever the process happens to be, because it learns of a worker's death from a signal."""
    message = " ".join(str(error).split())
    return _worker_line(message.partition(". ")[0].rstrip("."), workers) if "DataLoader" in message else ""


@dataclass
class ImageFiles:
    """A source (dataloaders/batches.py) of images [3, 224, 224] on disk, at ``paths`` [N]. ``workers``
    processes, or this one if there are none, decode and crop them while the device computes. Each image is
    augmented with its own seed, so the number of workers changes no byte.

    ``fetch`` raises UserError for a file that cannot be decoded and for workers that cannot be started, and
    torch's RuntimeError for a worker that dies or hangs (see ``worker_failure``).
    """

    paths: np.ndarray
    labels: Tensor
    pixels: Pixels
    workers: int
    evaluation_batch: int = 64

    def fetch(self, rows: Sequence[Tensor], random: torch.Generator | None) -> Iterator[Tensor]:
        device, augmented = self.labels.device, random is not None and not self.pixels.normalised_first
        seeds = [
            torch.randint(2**63 - 1, (len(chosen),), generator=random, device=device) if augmented else None
            for chosen in rows]
        planned = [(chosen.tolist(), None if seed is None else seed.tolist())
                   for chosen, seed in on_cpu(list(zip(rows, seeds)))]
        loader = DataLoader(
            _DecodedBatches(self.paths, augmented), batch_size=None, sampler=planned, collate_fn=_unchanged,
            num_workers=self.workers, worker_init_fn=_ignore_ctrl_c, timeout=TIMEOUT if self.workers else 0,
            generator=torch.Generator())
        try:
            batches = iter(loader)
        except OSError as error:  # no process, or no semaphore, which takes room in /dev/shm
            raise UserError(_worker_line(f"a worker could not be started ({error})", self.workers)) from error
        for images in batches:
            if isinstance(images, UserError):
                raise images
            batch = torch.from_numpy(images)
            yield batch.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else batch

    def images(self, fetched: Tensor, random: torch.Generator | None) -> Tensor:
        if random and self.pixels.normalised_first:
            return self.pixels.augmented(fetched, random)
        return self.pixels.normalise(fetched)
