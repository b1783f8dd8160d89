"""Images that stay on disk: JPEG files, decoded when a batch needs them (ImageNet)."""

import contextlib
import multiprocessing
import signal
import threading
import time
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
from utils.streams import global_state_seeded
from utils.tensors import on_cpu

STARVED = 300.0  # seconds without a batch of the workers, after which they count as hung
GLANCE = 1.0  # seconds between two looks at the clock and at signals, while a worker is waited for


def decode(path: str | Path) -> Image.Image:
    """The picture in a file, as RGB. Raises UserError where there is none."""
    try:
        with Image.open(path) as image:
            if image.mode.startswith("I"):  # 16 bits of grey, which PIL would cut at 255
                image = Image.fromarray((np.asarray(image) // 257).clip(0, 255).astype(np.uint8))
            return image.convert("RGB")
    except PermissionError as error:
        raise UserError(f"--dataroot: {path} cannot be read ({error.strerror}); give yourself the right to read it") from error
    except Exception as error:  # PIL raises many kinds for a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"--dataroot: {path} cannot be decoded ({reason}); put a whole one in its place") from error


def crop_of(augmented: bool) -> Callable[[Image.Image], Tensor]:
    """Of a picture to [3, 224, 224] uint8, as published of training and of test images (docs/specification.md, "Protocol");
    normalisation follows on the device."""
    from torchvision import transforms

    training, test = [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip()], [transforms.Resize(256), transforms.CenterCrop(224)]
    return transforms.Compose([*(training if augmented else test), transforms.PILToTensor()])


class _DecodedBatches(Dataset):
    """What a worker does: (rows, a seed for each or None) to images [B, 3, 224, 224] uint8. An error is handed over
    as a value, because a DataLoader would bury it in a worker's traceback; images as an array, because it would share tensors by way of
    /dev/shm, which is small in containers."""

    def __init__(self, paths: np.ndarray, augmented: bool):
        self.paths, self.crop = paths, crop_of(augmented)

    def __getitem__(self, batch: tuple[list[int], list[int] | None]) -> np.ndarray | UserError:
        rows, seeds = batch
        images = []
        try:
            for place, row in enumerate(rows):
                image = decode(self.paths[row])
                with global_state_seeded(seeds[place]) if seeds else contextlib.nullcontext():
                    images.append(self.crop(image))
        except UserError as error:
            return error
        return torch.stack(images).numpy()


def _as_it_is(batch: Any) -> Any:
    """In place of what would make tensors of arrays."""
    return batch


def _begin_worker(number: int) -> None:
    """Ctrl-C in a terminal reaches workers too: the run ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def worker_line(what: str, workers: int) -> str:
    """What happened to a worker, and the remedy."""
    return (
        f"--workers {workers}: {what}; they want memory, /dev/shm or a faster disk: choose fewer --workers or 0, and in Docker a larger --shm-size")


def worker_failure(error: BaseException, workers: int) -> str:
    """A line on a worker that died, where that is what torch's error says; else empty."""
    message = " ".join(str(error).split())
    return worker_line(message.partition(". ")[0].rstrip("."), workers) if "DataLoader" in message else ""


@dataclass(frozen=True)
class ImageFiles:
    """A source on disk (dataloaders/batches.py, Source), of 224 x 224 pixels: decoded, cropped and resized while the
    device works on earlier batches. Each image is augmented by a seed of its own, so that the number of workers
    doesn't change a byte. ``fetch`` raises UserError for a file that can't be decoded and for a worker that dies or hangs.

    Attributes:
        paths: [N] of the files, text.
        labels: [N] int64 on the device.
        workers: processes that decode; 0: this one.
        raise_if_stopped: called every second while a worker is waited for; what it raises ends that.
    """

    paths: np.ndarray
    labels: Tensor
    pixels: Pixels
    workers: int
    evaluation_batch: int = 64
    raise_if_stopped: Callable[[], None] = lambda: None

    def fetch(self, rows: Sequence[Tensor], random: torch.Generator | None) -> Iterator[Tensor]:
        device = self.labels.device
        if self.pixels.normalised_first:
            random = None  # what is decoded is not augmented yet
        seeds = [torch.randint(2**63 - 1, (len(chosen),), generator=random, device=device) if random else None for chosen in rows]
        planned = [(chosen.tolist(), seed if seed is None else seed.tolist()) for chosen, seed in on_cpu(list(zip(rows, seeds)))]
        loader = DataLoader(
            _DecodedBatches(self.paths, random is not None), batch_size=None, sampler=planned, num_workers=self.workers, collate_fn=_as_it_is,
            worker_init_fn=_begin_worker, generator=torch.Generator())
        others, mine, ended = set(multiprocessing.active_children()), set[Any](), False
        try:
            try:
                batches = iter(loader)
            finally:
                mine = set(multiprocessing.active_children()) - others  # now: later there may be those of other runs
            while (images := self._next(batches)) is not None:
                if isinstance(images, UserError):
                    raise images
                batch = torch.from_numpy(images)
                yield batch.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else batch
            ended = True
        except (OSError, ImportError) as error:  # no process, or no semaphore, which lies in /dev/shm
            raise UserError(worker_line(f"a worker could not be started ({error})", self.workers)) from error
        except RuntimeError as error:  # torch's handler of SIGCHLD raises it wherever this process is
            if not (failure := worker_failure(error, self.workers)):
                raise
            time.sleep(0.5)  # a signal to all processes comes to this one too
            self.raise_if_stopped()
            raise UserError(failure) from error
        finally:
            if not ended:
                _kill(mine)

    def _next(self, batches: Iterator[Any]) -> np.ndarray | UserError | None:
        """What the workers give next, None after the last. Raises UserError where none gives anything, or what ``raise_if_stopped`` raises."""
        if not self.workers:
            return next(batches, None)
        waited, then = 0.0, time.monotonic()

        def check() -> None:
            nonlocal waited, then
            self.raise_if_stopped()
            waited += min(time.monotonic() - then, 2 * GLANCE)  # no more where this process was suspended
            then = time.monotonic()
            if waited > STARVED:
                raise UserError(worker_line(f"no worker gave a batch for {STARVED:.0f} s", self.workers))

        with _every(GLANCE, check):
            return next(batches, None)

    def images(self, fetched: Tensor, random: torch.Generator | None) -> Tensor:
        return self.pixels.augmented(fetched, random) if random and self.pixels.normalised_first else self.pixels.normalise(fetched)


@contextlib.contextmanager
def _every(seconds: float, call: Callable[[], None]) -> Iterator[None]:
    """While open, ``call`` is called now and then, also out of a system call that waits for a worker in the middle of a batch: what it
    raises ends that. By a timer's signal, which the main thread alone can take; elsewhere nothing is called."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    open_still = True
    before = signal.signal(signal.SIGALRM, lambda *_: call() if open_still else None)
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
    try:
        yield
    finally:
        open_still = False  # for a signal that has come and is not answered yet
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _kill(workers: set[Any]) -> None:
    """End workers at once, also one that hears nothing any more: the end of this process would wait for it."""
    for worker in workers:
        for _ in range(2):  # torch's handler of SIGCHLD may raise here too
            with contextlib.suppress(RuntimeError):
                worker.kill()
                worker.join()
