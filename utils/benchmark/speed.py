"""How long a step takes, what the time goes to, and how far that is from the floor.

Each line is measured in a process of its own, in turns with the reference: a step of Base in eager mode on contiguous (NCHW)
memory, on images that are there already. Its ratio to that is what compares across machines.
"""

import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from learners import Learner, Stage
from models import RESNETS, Frozen, Observed, ResNet
from utils.arithmetic import set_precision
from utils.benchmark.stages import OLD, SEEN, build, endless
from utils.settings import Settings
from utils.training.device import captures, open_device, probe
from utils.training.step import EAGER_STEPS, TrainingStep

# Timed apart. The rest of a step is the student, of DGR the autoencoder too, of "dream" the generator and the gradients that
# come to it through the teacher.
PARTS = ("data", "dream", "teacher", "optimiser")


@dataclass(frozen=True)
class StageSpeed:
    """What is measured of a stage.

    Attributes:
        seconds: of a step. reference: seconds of the reference's. Both medians.
        shares: of a step that is not captured, spent in each of PARTS.
        memory: bytes at most.
        floor: the least seconds, see Floor.
    """

    learner: str
    stage: str
    seconds: float
    reference: float
    shares: dict[str, float]
    memory: int
    floor: float


@dataclass(frozen=True)
class Machine:
    """Measured: operations a second in matrix products, bytes a second in copies."""

    matrix_rate: float
    bandwidth: float


def describe(device: torch.device) -> str:
    """The machine, in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpu = Path("/proc/cpuinfo")
    models = [line.split(":")[1].strip() for line in cpu.read_text().splitlines() if line.startswith("model name")] if cpu.exists() else []
    return f"{models[0] if models else platform.processor()}, {torch.get_num_threads()} threads"


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(work: Callable[[], Any], device: torch.device, times: int = 1) -> float:
    """Of one call, over so many in a row: a GPU is waited for at the end alone."""
    synchronise(device)
    began = time.perf_counter()
    for _ in range(times):
        work()
    synchronise(device)
    return (time.perf_counter() - began) / times


def measure_machine(settings: Settings) -> Machine:
    """The better of a product of large matrices and a convolution of many channels; a copy that fits no cache."""
    device = open_device(settings)
    probe(device)
    kind = torch.bfloat16 if settings.precision == "bf16" else torch.float32
    side = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
    images = torch.randn(128, 128, 16, 16, device=device, dtype=kind).contiguous(memory_format=torch.channels_last)
    kernel = torch.randn(128, 128, 3, 3, device=device, dtype=kind).contiguous(memory_format=torch.channels_last)
    works: list[tuple[float, Callable[[], Tensor]]] = [
        (2.0 * side**3, lambda: a @ b), (2.0 * 9 * images.numel() * 128, lambda: F.conv2d(images, kernel, padding=1))]
    rate = max(count / min(seconds_of(work, device) for _ in range(8)) for count, work in works)
    source = torch.randn(2**26, device=device)
    target = torch.empty_like(source)
    copied = min(seconds_of(lambda: target.copy_(source), device) for _ in range(8))
    return Machine(rate, 2 * source.nbytes / copied)


class Floor(TorchDispatchMode):
    """While open, adds up the least time of the operations that run, one by one and from memory: of each the longer of its
    arithmetic at the matrix rate, and its inputs and outputs at the bandwidth. Fused operations and caches could go below."""

    def __init__(self, machine: Machine):
        super().__init__()
        self.machine = machine
        self.seconds = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        count = flop_registry.get(func.overloadpacket)
        operations = count(*args, **(kwargs or {}), out_val=out) if count else 0
        moved = 0
        if not func.is_view:
            read = args[1:] if func.overloadpacket is torch.ops.aten.index else args  # which takes but a part of its first
            moved = sum(leaf.nbytes for leaf in tree_leaves((read, kwargs, out)) if isinstance(leaf, Tensor))
        self.seconds += max(operations / self.machine.matrix_rate, moved / self.machine.bandwidth)
        return out


def reference(settings: Settings, device: torch.device) -> Callable[[], None]:
    """A step of Base in eager mode on contiguous memory, its images at hand; to be run in fp32, whatever is measured."""
    model = ResNet(RESNETS[settings.model_name], 100).to(device)
    optimizer = torch.optim.SGD(model.parameters(), settings.lr, settings.momentum, weight_decay=settings.weight_decay)
    x = torch.randn(settings.batch_size, 3, 32, 32, device=device)
    y = torch.randint(OLD, SEEN, (settings.batch_size,), device=device)

    def step() -> None:
        loss = F.cross_entropy(model(x)[:, :SEEN], y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


@contextmanager
def replaced(place: Any, name: str, value: Any) -> Iterator[None]:
    """An attribute of an object or a class is another one, until the block ends."""
    before = vars(place).get(name)
    setattr(place, name, value)
    try:
        yield
    finally:
        if before is None:  # it was the class's
            delattr(place, name)
        else:
            setattr(place, name, before)


@contextmanager
def stopwatch(learner: Learner, stage: Stage, device: torch.device) -> Iterator[dict[str, float]]:
    """While open, the seconds spent in each of PARTS; a GPU is waited for before and after every one. What one of them calls is
    its own: a frozen generator that dreams is no teacher."""
    seconds = dict.fromkeys(PARTS, 0.0)
    timing = False

    def timed(part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal timing
            if timing:
                return work(*args, **kwargs)
            synchronise(device)
            timing = True
            began = time.perf_counter()
            try:
                return work(*args, **kwargs)
            finally:
                synchronise(device)
                seconds[part] += time.perf_counter() - began
                timing = False

        return call

    places = [
        (type(stage.batches), "load", "data"), (type(learner), "dream", "dream"), (stage.optimizer, "step", "optimiser"),
        (Frozen, "__call__", "teacher"), (Frozen, "features", "teacher"), (Frozen, "first_stage", "teacher"), (Observed, "__call__", "teacher")]
    with ExitStack() as patches:
        for place, name, part in places:
            patches.enter_context(replaced(place, name, timed(part, getattr(place, name))))
        yield seconds


def peak_memory(device: torch.device) -> int:
    """Bytes: of a GPU's memory what torch held at most, on a CPU what the process did, libraries and all."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure_stage(stage_name: str, settings: Settings, rounds: int, machine: Machine) -> StageSpeed:
    """Time a stage of a learner; in a fresh process."""
    device = open_device(settings)
    learner, stage = build(stage_name, settings, device)
    bf16, graph = learner.bf16, captures(settings, device)
    step, plain = TrainingStep(stage, learner.streams, bf16, graph), TrainingStep(stage, learner.streams, bf16)
    starts = endless(stage)
    in_a_row = 20 if device.type == "cuda" else 1
    for _ in range(EAGER_STEPS + 1):  # the last of them captures
        step(next(starts))
    memory = peak_memory(device)
    base = reference(settings, device)
    set_precision("fp32")
    seconds_of(base, device, EAGER_STEPS)
    mine, theirs = [], []
    for _ in range(rounds):
        set_precision(settings.precision)
        mine.append(seconds_of(lambda: step(next(starts)), device, in_a_row))
        set_precision("fp32")
        theirs.append(seconds_of(base, device, in_a_row))
    set_precision(settings.precision)
    spent: list[dict[str, float]] = []
    for _ in range(rounds):
        with stopwatch(learner, stage, device) as parts:
            parts["all"] = seconds_of(lambda: plain(next(starts)), device)
        spent.append(parts)
    with Floor(machine) as floor:
        plain(next(starts))
    shares = {part: statistics.median(parts[part] / parts["all"] for parts in spent) for part in PARTS}
    return StageSpeed(settings.learner_name, stage_name, statistics.median(mine), statistics.median(theirs), shares, memory, floor.seconds)


def show(speed: StageSpeed, batch_size: int) -> list[str]:
    """A line of the table."""
    rest = 1 - sum(speed.shares.values())
    shares = [f"{100 * speed.shares[part]:.0f}" if speed.shares[part] else "" for part in PARTS]
    return [
        speed.learner, speed.stage, f"{1e3 * speed.seconds:.2f}", f"{speed.seconds / speed.reference:.2f}", f"{batch_size / speed.seconds:.0f}",
        *shares, f"{100 * rest:.0f}", f"{speed.memory / 2**20:.0f}", f"{1e3 * speed.floor:.2f}", f"{speed.seconds / speed.floor:.1f}"]


HEADING = ["learner", "stage", "ms", "ratio", "images/s", *(f"{part} %" for part in PARTS), "rest %", "MiB", "floor ms", "x floor"]
