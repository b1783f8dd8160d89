"""The machine a run computes on: its device, threads and arithmetic, and what a device that fails says."""

import contextlib
import ctypes
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from utils.errors import UserError, first_line, out_of_memory
from utils.settings import Settings

# Which device


def why_no_gpu() -> str:
    """Why torch finds no GPU, in its own words."""
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return first_line(error).split(". ")[0]
    return "torch finds no GPU"


def choose_device(gpuid: Sequence[int]) -> torch.device:
    """The first GPU of ``--gpuid``, or the CPU: if it is negative, or 0, the default, on a machine without
    GPUs. Raises UserError if a GPU cannot be used."""
    if (number := gpuid[0]) < 0:
        return torch.device("cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if number < count:
        return torch.device("cuda", number)
    reason = f"this machine has {count} GPU(s), counted from 0" if count else why_no_gpu()
    none_here = reason.startswith(("Found no NVIDIA driver", "Torch not compiled"))
    if number == 0 and (none_here or os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")):
        return torch.device("cpu")
    raise UserError(f"--gpuid {number}: {reason}; choose another GPU, or --gpuid -1 for the CPU")


def cpu_notices(gpuid: Sequence[int], device: torch.device) -> list[str]:
    """A line for the log if a run is on the CPU although nobody asked for that."""
    return [] if device.type != "cpu" or gpuid[0] < 0 else [
        f"{why_no_gpu()}, so this runs on the CPU, which is much slower; --gpuid -1 hides this line"]


def open_device(settings: Settings) -> torch.device:
    """The device of a run, tried; sets threads, precision and memory of this process. Raises UserError."""
    device = choose_device(settings.gpuid)
    if settings.graph == "on" and device.type != "cuda":
        raise UserError("--graph on: CUDA graphs need a GPU; leave the flag out")
    torch.set_num_threads(settings.threads or default_threads())
    set_precision(settings.precision)
    set_deterministic(bool(settings.deterministic))
    keep_freed_memory()
    probe(device)
    return device


def probe(device: torch.device) -> None:
    """Compute something on a GPU before work begins. Raises UserError."""
    try:
        torch.ones(8, 8, device=device).mm(torch.ones(8, 8, device=device)).sum().item()
    except RuntimeError as error:
        raise UserError(f"--gpuid {device.index}: {first_line(error)}; choose another one") from error


def keep_freed_memory() -> None:
    """Let freed buffers stay with the process: every training step needs the same ones again, and to get
    them from the system page by page takes up to a tenth of a step."""
    trim_threshold, mmap_threshold = -1, -3  # of mallopt(3)
    with contextlib.suppress(OSError, AttributeError):  # only glibc has it
        mallopt = ctypes.CDLL(None).mallopt
        if mallopt(mmap_threshold, 2**30) or mallopt(mmap_threshold, 2**25):  # older versions take no more
            mallopt(trim_threshold, 2**31 - 1)


def device_failure(error: BaseException) -> str:
    """Torch's first line about a device that failed, with the remedy if memory ran out. Empty for any other
    error, such as that of an operation which a CUDA graph cannot hold."""
    line = first_line(error)
    if out_of_memory(error):
        return f"{'. '.join(line.split('. ')[:2])}; choose a smaller --batch_size or another --gpuid"
    failed = isinstance(error, RuntimeError) and line.startswith(("CUDA", "cuDNN", "Triton Error"))
    return line if failed and "captur" not in line else ""


# Threads


def default_threads(processes: int = 1) -> int:
    """Threads of each of several processes side by side: OMP_NUM_THREADS, or its share of the physical cores
    that this process may use (psutil ignores affinity, joblib counts hyperthreads)."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    cores = int(min(physical_cores(cpus), cpu_quota()))
    return asked.isdecimal() and int(asked) or max(cores // processes, 1)


def physical_cores(cpus: set[int], system: Path = Path("/sys/devices/system/cpu")) -> int:
    """The number of cores on which these logical CPUs lie; each counts if the system does not tell."""
    siblings = {cpu: system / f"cpu{cpu}" / "topology" / "thread_siblings_list" for cpu in cpus}
    return len({path.read_text() if path.exists() else str(cpu) for cpu, path in siblings.items()})


def cpu_quota(root: Path = Path("/sys/fs/cgroup"), member: Path = Path("/proc/self/cgroup")) -> float:
    """The CPUs' worth of time that this process's cgroup and those above it allow (cgroup v2)."""
    lines = member.read_text().splitlines() if member.exists() else []
    groups = [Path(line.removeprefix("0::/")) for line in lines if line.startswith("0::/")] or [Path()]
    limits = [root / folder / "cpu.max" for folder in (groups[0], *groups[0].parents)]
    quotas = [limit.read_text().split() for limit in limits if limit.exists()]
    return min([int(quota) / int(period) for quota, period in quotas if quota != "max"], default=math.inf)


# Arithmetic


def set_precision(precision: str) -> None:
    """Apply ``--precision`` to products and convolutions of float32 tensors on a GPU."""
    cudnn: Any = torch.backends.cudnn
    for products in (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn):  # torch wants rnn to agree
        products.fp32_precision = "tf32" if precision == "tf32" else "ieee"


@contextlib.contextmanager
def exact() -> Iterator[None]:
    """While open, products and convolutions have float32's full precision, whatever ``--precision``."""
    before = torch.backends.cuda.matmul.fp32_precision
    set_precision("fp32")
    try:
        yield
    finally:
        set_precision(before)


def memory_format(settings: Settings, device: torch.device) -> torch.memory_format:
    """The layout of images and of convolutions' weights, by ``--memory_format``."""
    pays = device.type != "cuda" or settings.precision == "bf16"
    last = settings.memory_format == "channels_last" or settings.memory_format == "auto" and pays
    return torch.channels_last if last else torch.contiguous_format


def set_deterministic(asked: bool) -> None:
    """Apply ``--deterministic``: torch takes kernels that add up in a fixed order and refuses the others.
    Call it before anything is computed, because cuBLAS reads its setting only once."""
    if asked:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(asked)
    how: Any = torch.utils.deterministic
    how.fill_uninitialized_memory = False  # which costs a kernel for each new tensor
