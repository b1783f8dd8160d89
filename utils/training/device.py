"""The machine a run computes on: its device, threads, precision and memory."""

import contextlib
import ctypes
from typing import Any

import torch

from utils.errors import UserError
from utils.settings import Settings

# Of mallopt(3), glibc.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def choose_device(gpuid: list[int]) -> torch.device:
    """The first GPU of ``--gpuid``, or the CPU where it is negative or there is no GPU. Raises UserError."""
    if gpuid[0] < 0 or not torch.cuda.is_available():
        return torch.device("cpu")
    if gpuid[0] >= torch.cuda.device_count():
        raise UserError(f"--gpuid {gpuid[0]}: this machine has {torch.cuda.device_count()} GPU(s), counted from 0")
    return torch.device("cuda", gpuid[0])


def open_device(settings: Settings) -> torch.device:
    """The device of a run, in a process set up for it. Raises UserError."""
    device = choose_device(settings.gpuid)
    if settings.graph == "on" and device.type != "cuda":
        raise UserError("--graph on: CUDA graphs need a GPU; leave the flag out")
    torch.set_num_threads(settings.threads)
    set_precision(settings.precision)
    keep_freed_memory()
    return device


def captures(settings: Settings, device: torch.device) -> bool:
    """Whether steps are captured as CUDA graphs."""
    return device.type == "cuda" and settings.graph != "off"


def set_precision(precision: str) -> None:
    """What ``--precision`` means for a GPU's products and convolutions of float32 tensors."""
    arithmetic = "tf32" if precision == "tf32" else "ieee"
    cudnn: Any = torch.backends.cudnn
    for kind in (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn):  # rnn too, or torch calls its settings contradictory
        kind.fp32_precision = arithmetic


def keep_freed_memory() -> None:
    """Let freed buffers stay with the process: each training step needs the same ones again, and the system hands them
    out page by page, which takes up to a tenth of a step. Does nothing where the C library is not glibc."""
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        if mallopt(M_MMAP_THRESHOLD, 2**30) or mallopt(M_MMAP_THRESHOLD, 2**25):  # older ones take no more
            mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
