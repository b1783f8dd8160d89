"""Images that stay on disk: JPEG files, decoded when a batch needs them (ImageNet)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import utils.torchvision_cpu  # noqa: F401  (before torchvision)

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from dataloaders.batches import Pixels
from utils.errors import UserError
from utils.streams import global_state_seeded

# docs/specification.md, "Protocol"; normalisation follows on the device.
TRAINING = transforms.Compose([transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.PILToTensor()])
TEST = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.PILToTensor()])


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
        raise UserError(f"--dataroot: {path} cannot be decoded ({reason}); put the official file in its place") from error


class _DecodedBatches(Dataset):
    """What a worker does: (rows, a seed for each or None) to images [B, 3, 224, 224] uint8. An error is handed over
    as a value, because a DataLoader would bury it in a worker's traceback."""

    def __init__(self, paths: np.ndarray):
        self.paths = paths

    def __getitem__(self, batch: tuple[list[int], list[int] | None]) -> Tensor | UserError:
        rows, seeds = batch
        images = []
        try:
            for place, row in enumerate(rows):
                image = decode(self.paths[row])
                if seeds is None:
                    images.append(TEST(image))
                else:
                    with global_state_seeded(seeds[place]):
                        images.append(TRAINING(image))
        except UserError as error:
            return error
        return torch.stack(images)


@dataclass(frozen=True)
class ImageFiles:
    """A source on disk (dataloaders/batches.py, Source), of 224 x 224 pixels: decoded, cropped and resized while the
    device works on earlier batches. Each image is augmented by a seed of its own, so that the number of workers
    doesn't change a byte. ``fetch`` raises UserError for a file that can't be decoded.

    Attributes:
        paths: [N] of the files, text.
        labels: [N] int64 on the device.
        workers: processes that decode; 0: this one.
    """

    paths: np.ndarray
    labels: Tensor
    pixels: Pixels
    workers: int
    evaluation_batch: int = 64  # shared memory holds two a worker

    def fetch(self, rows: Sequence[Tensor], random: torch.Generator | None) -> Iterator[Tensor]:
        device = self.labels.device
        seeds = [torch.randint(2**63 - 1, (len(chosen),), generator=random, device=device).tolist() if random else None for chosen in rows]
        loader = DataLoader(
            _DecodedBatches(self.paths), batch_size=None, sampler=list(zip([chosen.tolist() for chosen in rows], seeds)),
            num_workers=self.workers, pin_memory=device.type == "cuda", generator=torch.Generator())
        for images in loader:
            if isinstance(images, UserError):
                raise images
            yield images.to(device, non_blocking=True)

    def images(self, fetched: Tensor, random: torch.Generator | None) -> Tensor:
        return self.pixels.normalise(fetched)
