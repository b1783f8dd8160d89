"""The machine a run computes on: its device, precision and memory, and what a GPU that fails says."""

import contextlib
import ctypes
import os
import re
import shutil
import subprocess
import warnings
from pathlib import Path

import torch

from utils.arithmetic import set_deterministic, set_precision
from utils.errors import UserError
from utils.settings import Settings
from utils.threads import default_threads

# Of mallopt(3), glibc.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3

DRIVER, DEVICE_FILE = Path("/proc/driver/nvidia/version"), Path("/dev/nvidiactl")
CPU_COST = "a published protocol takes hundreds of hours there; --gpuid -1 chooses the CPU without this line"


# Which device


def hidden_by_user() -> bool:
    """Whether CUDA_VISIBLE_DEVICES, of the user or a scheduler, leaves no GPU: empty, -1 or a word such as NoDevFiles."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible is not None and not re.match(r"\s*(\d|GPU-|MIG-)", visible)


def driver_version(path: Path = DRIVER) -> str:
    """Of the NVIDIA driver that the kernel has loaded; empty where there is none."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return ""
    found = re.search(r"Module.*?\s(\d+\.\d[\d.]*)", text)
    return found[1] if found else "of unknown version"


def listed_by_nvidia_smi() -> tuple[str, list[str]]:
    """(the driver's version, the names of the GPUs); empty where the program is missing, fails or finds none."""
    program = shutil.which("nvidia-smi")
    if not program:
        return "", []
    try:
        query = [program, "--query-gpu=driver_version,name", "--format=csv,noheader"]
        done = subprocess.run(query, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=30)
    except (OSError, subprocess.SubprocessError):
        return "", []
    lines = [line.partition(",") for line in done.stdout.splitlines() if "," in line] if done.returncode == 0 else []
    return (lines[0][0].strip() if lines else ""), [name.strip() for _, _, name in lines]


def unusable_gpu() -> str:
    """Why torch finds no GPU though this machine has one or its driver, and the remedy; empty where it has neither."""
    smi_driver, names = listed_by_nvidia_smi()
    driver = driver_version() or smi_driver
    if not driver:
        return ""
    machine = f"{', '.join(names[:1]) or 'an NVIDIA GPU'} with driver {driver}"
    otherwise = "or --gpuid -1 runs on the CPU"
    if not torch.backends.cuda.is_built():
        return f"torch {torch.__version__} is a build for the CPU, which cannot use {machine}; install a torch wheel with CUDA, {otherwise}"
    cuda = f"torch {torch.__version__}, built for CUDA {torch.version.cuda},"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return f"{cuda} finds no GPU with CUDA_VISIBLE_DEVICES={visible}, though there is {machine}; correct or unset that, {otherwise}"
    if not names and not DEVICE_FILE.exists():
        return (
            f"{cuda} finds no GPU, though the NVIDIA driver {driver} is loaded: this container or job was given none; "
            f"ask for one (docker run --gpus all, sbatch --gres=gpu:1), {otherwise}")
    return f"{cuda} cannot use {machine} ({why_no_cuda()}); install a newer driver or a torch wheel for an older CUDA, {otherwise}"


def why_no_cuda() -> str:
    """What torch says of it, in a line."""
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return first_line(error)
    return "no GPU is found"


def visible_gpus() -> int:
    """How many GPUs torch can use."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an old driver: unusable_gpu says it in a line
        return torch.cuda.device_count() if torch.cuda.is_available() else 0


def usable_gpus(gpuid: int) -> int:
    """How many GPUs a run asked for with ``--gpuid`` can use; 0 is the CPU. Raises UserError where there is one that torch cannot use,
    or fewer than asked for."""
    if gpuid < 0:
        return 0
    count = visible_gpus()
    if gpuid >= count > 0:
        raise UserError(f"--gpuid {gpuid}: this machine has {count} GPU(s), counted from 0; name one of them, or -1 for the CPU")
    if not count and not hidden_by_user() and (reason := unusable_gpu()):
        raise UserError(f"--gpuid {gpuid}: {reason}")
    return count


def choose_device(gpuid: list[int]) -> torch.device:
    """The first GPU of ``--gpuid``, or the CPU where it is negative or there is no GPU. Raises UserError."""
    return torch.device("cuda", gpuid[0]) if usable_gpus(gpuid[0]) else torch.device("cpu")


def cpu_notices(gpuid: list[int], device: torch.device) -> list[str]:
    """A line for the log where a GPU would have been taken."""
    if device.type != "cpu" or gpuid[0] < 0:
        return []
    why = f"CUDA_VISIBLE_DEVICES={os.environ['CUDA_VISIBLE_DEVICES']} hides any GPU" if hidden_by_user() else "no NVIDIA GPU was found"
    return [f"{why}, so this runs on the CPU, many times slower: {CPU_COST}"]


def open_device(settings: Settings) -> torch.device:
    """The device of a run, in a process set up for it. Raises UserError."""
    device = choose_device(settings.gpuid)
    if settings.graph == "on" and device.type != "cuda":
        raise UserError("--graph on: CUDA graphs need a GPU; leave the flag out")
    use_threads(settings.threads or default_threads())
    set_precision(settings.precision)
    set_deterministic(bool(settings.deterministic))
    keep_freed_memory()
    return device


def use_threads(number: int) -> None:
    """On the CPU, from here on."""
    torch.set_num_threads(number)


def captures(settings: Settings, device: torch.device) -> bool:
    """Whether steps are captured as CUDA graphs."""
    return device.type == "cuda" and settings.graph != "off"


def keep_freed_memory() -> None:
    """Let freed buffers stay with the process: each training step needs the same ones again, and the system hands them
    out page by page, which takes up to a tenth of a step. Does nothing where the C library is not glibc."""
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        if mallopt(M_MMAP_THRESHOLD, 2**30) or mallopt(M_MMAP_THRESHOLD, 2**25):  # older ones take no more
            mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


# When it fails

# (what torch's message has, what to do); the first that fits. Lower case.
REMEDIES = (
    (r"out of memory|alloc_failed|can't allocate memory|not enough memory|cu(blas|dnn)_status_not_initialized|"
     r"unable to find an engine|unable to find a valid cudnn",
     "run fewer at a time (--parallel, --runs_per_gpu), choose a smaller --batch_size or another --gpuid"),
    (r"no kernel image|not compatible with the current pytorch|invalid device function|unsupported gpu",
     "this torch was not built for that GPU: install a torch wheel that was, or choose another --gpuid (-1: the CPU)"),
    (r"busy or unavailable|devices? (is|are) busy|exclusive|in use by another",
     "another process has it for itself: wait for that, set `nvidia-smi -c 0`, run one at a time (--parallel 1, --runs_per_gpu 1) or choose another "
     "--gpuid"),
    (r"driver (version )?is|driver on your system|driver init|forward compat|ptx|not yet initialized|cudagetdevicecount|cuda unknown error",
     "install a driver and a torch wheel that fit each other, or choose --gpuid -1"),
    (r"invalid device ordinal|no cuda-capable|no cuda gpus", "choose another --gpuid; nvidia-smi lists them"),
)
LOST = "the GPU failed or was lost: `nvidia-smi` and the system's log say more; restart it, or choose another --gpuid"
OF_A_GPU = re.compile(r"cuda (driver |unknown )?error|cuda driver init|cudagetdevicecount|triton error|unable to find an engine|"
                      r"cuda out of memory|cublas|cudnn|cusolver|cufft|nccl|nvml|nvrtc|cuda-capable|cuda gpus|device lost|"
                      r"gpu is lost|launch failure|no kernel image|illegal memory access|nvidia driver|ecc error")
OF_MEMORY = re.compile(r"defaultcpuallocator|can't allocate memory|not enough memory")


def first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__).rstrip(".")


def device_failure(error: BaseException, device: torch.device) -> str:
    """A line on the device, what it failed of and the remedy, where that is what the error says; else empty.
    What a CUDA graph does not allow is an error of the step, not of the device."""
    message = str(error).lower()
    of_memory = isinstance(error, (torch.OutOfMemoryError, MemoryError)) or bool(OF_MEMORY.search(message))
    of_a_gpu = isinstance(error, RuntimeError) and bool(OF_A_GPU.search(message)) and "captur" not in message
    if not (of_memory or of_a_gpu):
        return ""
    remedy = REMEDIES[0][1] if of_memory else next((text for pattern, text in REMEDIES if re.search(pattern, message)), LOST)
    return f"{device}: {'. '.join(first_line(error).split('. ')[:2])}; {remedy}"


def small_operation(device: torch.device) -> None:
    """A product and a sum, waited for."""
    ones = torch.ones(8, 8, device=device)
    (ones @ ones).sum().item()


def probe(device: torch.device) -> None:
    """Have the device compute something before work begins. Raises UserError."""
    if device.type == "cpu":
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a card that this torch does not know: the line says it
            small_operation(device)
    except RuntimeError as error:
        reason = device_failure(error, device) or f"{device}: {first_line(error)}; {LOST}"
        raise UserError(f"--gpuid {device.index}: {reason}") from error
