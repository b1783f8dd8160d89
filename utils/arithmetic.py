"""How numbers are computed, which shows in a result's last digits: ``--precision``, ``--memory_format``, ``--deterministic``."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from utils.settings import Settings


def _products() -> list[Any]:
    """Where torch keeps the precision of a GPU's products and convolutions of float32 tensors."""
    cudnn: Any = torch.backends.cudnn
    return [torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn]  # rnn too, or torch calls its settings contradictory


def set_precision(precision: str) -> None:
    """What ``--precision`` means for a GPU's products and convolutions of float32 tensors."""
    for kind in _products():
        kind.fp32_precision = "tf32" if precision == "tf32" else "ieee"


@contextmanager
def exact() -> Iterator[None]:
    """While open, they have float32's full precision: for what is measured, whatever ``--precision`` says of training."""
    before = [kind.fp32_precision for kind in _products()]
    set_precision("fp32")
    try:
        yield
    finally:
        for kind, precision in zip(_products(), before):
            kind.fp32_precision = precision


def memory_format(settings: Settings, device: torch.device) -> torch.memory_format:
    """Of images and of convolutions' weights, by ``--memory_format``."""
    pays = device.type != "cuda" or settings.precision == "bf16"
    chosen = settings.memory_format if settings.memory_format != "auto" else "channels_last" if pays else "contiguous"
    return torch.channels_last if chosen == "channels_last" else torch.contiguous_format


def set_deterministic(asked: bool) -> None:
    """``--deterministic 1``: torch takes kernels that add up in a fixed order, and refuses those that don't. Call it before anything is
    computed: cuBLAS looks at its setting once."""
    if asked:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(asked)
    how: Any = torch.utils.deterministic
    how.fill_uninitialized_memory = False  # that is for finding defects, and costs a kernel for each new tensor
