"""Times a training step of every stage of every learner on this machine (docs/performance.md).

    sh experiments/benchmark.sh [--learners NAME ...] [--rounds N] [any flag of run.py]
    sh experiments/benchmark.sh --against DIR

Everything takes turns: each round times every stage and a plain Base step, so other work on the machine
slows them alike. The table has medians over the rounds. Ratios to plain Base carry over to other machines.
"""

import functools
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from dataloaders.batches import Images, InMemory, Pixels
from dataloaders.tasks import Task
from learners import LEARNERS, REGISTRY, Learner, Stage, build_learner
from models import RESNETS, ResNet
from utils import benchmark_against
from utils.command_line import parse
from utils.device import captures, exact, memory_format, open_device
from utils.errors import Parser, RunError, UserError, run_main
from utils.files import user_path
from utils.settings import Settings
from utils.streams import Streams
from utils.training.step import EAGER_STEPS, TrainingStep

OLD, SEEN = 20, 40  # classes learned before the measured task, and including it
STEPS = {"cpu": 1, "cuda": 20}  # steps in a row per turn
PUBLISHED = (
    "--train_aug --lr 0.1 --momentum 0.9 --weight_decay 2e-4 --batch_size 128 --power_iters 10000 "
    "--deep_inv_params 1e-3 50 1e-3 1e3 1").split()
NEEDS = {"ETE": ["--memory", "2000"], "BIC": ["--memory", "2000"]}  # these learn from a coreset only

Step = Callable[[], object]


def settings_of(name: str, flags: Sequence[str]) -> Settings:
    """The published settings of a learner, with ``flags`` on top. Raises UserError."""
    learner = LEARNERS[name]
    fixed = {"dataset": "CIFAR100", "learner_type": learner.learner_type, "learner_name": name}
    fixed |= {"first_split_size": str(OLD), "other_split_size": str(SEEN - OLD)}
    given = {word.partition("=")[0] for word in flags}
    for setting in (*fixed, "task_sizes"):
        if f"--{setting}" in given:
            raise UserError(f"--{setting}: the benchmark fixes it; leave it out (--learners chooses)")
    if learner.generator_type:
        fixed["gen_model_type"] = learner.generator_type
    words = [word for setting, value in fixed.items() for word in (f"--{setting}", value)]
    return parse(REGISTRY, [*PUBLISHED, *NEEDS.get(name, []), *words, *flags])


@functools.cache
def random_images(per_class: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Images [SEEN * per_class, 3, 32, 32] uint8 and their labels 0, 1, ..., SEEN - 1, 0, 1, ..."""
    labels = torch.arange(SEEN).repeat(per_class)
    random = torch.Generator().manual_seed(0)
    images = torch.randint(256, (len(labels), 3, 32, 32), dtype=torch.uint8, generator=random)
    return images.to(device), labels.to(device)


def before_second_task(settings: Settings, device: torch.device) -> tuple[Learner, Task]:
    """A learner with its initial weights, about to learn its second task, and that task: random images."""
    learner = build_learner(settings, Streams(device), device, 0)
    per_class = max(128, -(-settings.batch_size // (SEEN - OLD)))
    images, labels = random_images(per_class, device)
    mean, std = ((0.5,) * 3, (0.25,) * 3) if learner.normalised else ((0.0,) * 3, (1.0,) * 3)
    pixels = Pixels(mean, std, device, memory_format=memory_format(settings, device))
    new = Images.all_of(InMemory(images, labels, pixels))[labels >= OLD]
    task = Task(1, OLD, SEEN, new, new, ("",) * SEEN)
    if kept := min(settings.memory // OLD, per_class):
        learner.coreset.classes = [torch.arange(kept) * SEEN + label for label in range(OLD)]
    learner.begin_task(task)
    learner.start_task(task)
    return learner, task


def endless(stage: Stage) -> Iterator[Sequence[Tensor]]:
    """What each step of a stage begins with, epoch after epoch."""
    while True:
        yield from stage.batches.starts(0)


def stage_steps(settings: Settings, device: torch.device) -> list[tuple[Learner, Stage, Step]]:
    """For each stage of the second task a learner, the stage, and its step, captured with ``--graph``."""
    built: list[tuple[Learner, Stage, Step]] = []
    stages: Sequence[Stage] = (None,)  # type: ignore[assignment]
    graph = captures(settings, device)
    fall_back = None if settings.graph == "on" else functools.partial(print, file=sys.stderr)
    while len(built) < len(stages):
        learner, task = before_second_task(settings, device)
        stages = learner.stages(task)
        stage = stages[len(built)]
        learner.eval()
        stage.trained.train()
        stage.start_epoch(0)
        step = TrainingStep(stage, learner.streams, learner.bf16, graph, fall_back)
        built.append((learner, stage, functools.partial(next, map(step, endless(stage)))))
        for _ in range(EAGER_STEPS + 1 if graph else 0):
            built[-1][2]()
    return built


def plain_base(settings: Settings, device: torch.device) -> Callable[[], None]:
    """A textbook step of Base: no graph, contiguous memory, float32, images at hand. It uses little of this
    project's code, so ratios to it show when that code became slower."""
    model = ResNet(RESNETS[settings.model_name], 100).to(device)
    optimizer = torch.optim.SGD(model.parameters(), settings.lr, momentum=0.9, weight_decay=2e-4)
    x = torch.randn(settings.batch_size, 3, 32, 32, device=device)
    y = torch.randint(OLD, SEEN, (settings.batch_size,), device=device)

    def step() -> None:
        with exact():
            optimizer.zero_grad()
            F.cross_entropy(model(x)[:, :SEEN], y).backward()
            optimizer.step()

    return step


def seconds_of(run: Step, device: torch.device, times: int = 1) -> float:
    """Seconds that a call takes, over ``times`` in a row; a GPU is waited for at the end only."""
    wait = functools.partial(torch.cuda.synchronize, device) if device.type == "cuda" else lambda: None
    wait()
    began = time.perf_counter()
    for _ in range(times):
        run()
    wait()
    return (time.perf_counter() - began) / times


@dataclass
class Work:
    """Something to time; ``learner`` and ``stage`` name its row."""

    learner: str
    stage: str
    run: Step
    seconds: list[float] = field(default_factory=list)  # of one run, per round


def print_row(cells: Sequence[str]) -> None:
    print(f"{cells[0]:<18}" + "".join(f"  {cell:>11}" for cell in cells[1:]), flush=True)


def print_learners(chosen: Sequence[Settings], device: torch.device, rounds: int) -> None:
    """Print the table. What was measured before a failure or Ctrl-C is printed, too."""
    print_row(["learner", "stage", "ms", "fastest", "plain_base", "ratio"])
    # Captured steps keep their memory, so with graphs one learner at a time takes turns with plain Base.
    groups = [[settings] for settings in chosen] if captures(chosen[0], device) else [chosen]
    for group in groups:
        base = Work("", "", plain_base(chosen[0], device))
        works = [
            Work(settings.learner_name, stage.name, run) for settings in group
            for _, stage, run in stage_steps(settings, device)]
        try:
            for number in range(rounds + 1):
                print(f"round {number} of {rounds}" if number else "warm-up", file=sys.stderr)
                for work in [base, *works]:
                    work.seconds.append(seconds_of(work.run, device, STEPS[device.type]))
        finally:
            for work in works:
                if own := work.seconds[1:]:
                    ratio = statistics.median(mine / plain for mine, plain in zip(own, base.seconds[1:]))
                    shown = statistics.median(own), min(own), statistics.median(base.seconds[1:])
                    cells = [f"{1e3 * seconds:.2f}" for seconds in shown]
                    print_row([work.learner, work.stage, *cells, f"{ratio:.2f}"])


def print_against(checkout: Path, flags: Sequence[str], rounds: int) -> None:
    """Print each line of the authors' Base and ABD beside ours as soon as it is measured."""
    if not (checkout / "run_dfcil.py").is_file():
        raise UserError(f"--against {checkout}: has no run_dfcil.py; name a checkout of the authors' code")
    chosen = [settings_of(name, flags) for name in ("NormalNN", "AlwaysBeDreaming")]
    device = prepared(chosen[0])
    gpu = device.index if device.type == "cuda" else -1
    print_row(["learner", "what", "ours_ms", "theirs_ms", "ratio", "rounds"])
    for settings in chosen:
        built = stage_steps(settings, device)
        runs = {stage.name: run for _, stage, run in built}
        learn = built[-1][1]
        runs["loading"] = functools.partial(next, map(learn.batches.load, endless(learn)))
        turns = {what: functools.partial(seconds_of, run, device) for what, run in runs.items()}
        for what, pairs in benchmark_against.compare(checkout, settings, gpu, turns, rounds):
            own, other = (1e3 * statistics.median(values) for values in zip(*pairs))
            cells = [f"{own:.2f}", f"{other:.2f}", f"{other / own:.2f}", str(len(pairs))]
            print_row([settings.learner_name, what, *cells])


def prepared(settings: Settings) -> torch.device:
    """The device, opened and tried, after a line about it and the settings."""
    device = open_device(settings)
    cpu = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", cpu.read_text() if cpu.exists() else "")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else found[1] if found else "CPU"
    print(
        f"{name}, {torch.get_num_threads()} threads; torch {torch.__version__}; {settings.model_name}, "
        f"batches of {settings.batch_size}, {settings.precision}, --graph {settings.graph}", flush=True)
    return device


def main(arguments: Sequence[str] | None = None) -> None:
    parser = Parser(
        prog="utils.benchmark", description="Time a step of every learner on this machine.",
        epilog="Flags of run.py may be given, too, such as --precision bf16, --graph on or --gpuid -1.")
    names = list(LEARNERS)
    parser.add_argument(
        "--learners", nargs="+", default=names, choices=names, metavar="NAME", help="default: all")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each, after the warm-up; default: 9")
    parser.add_argument("--against", type=user_path, metavar="DIR", help="a checkout of the authors' code")
    given, flags = parser.parse_known_args(arguments)
    if given.rounds < 1:
        raise UserError(f"--rounds {given.rounds}: must be 1 or more")
    try:
        if given.against:
            print_against(given.against.resolve(), flags, given.rounds)
        else:
            chosen = [settings_of(name, flags) for name in given.learners]
            print_learners(chosen, prepared(chosen[0]), given.rounds)
    except torch.OutOfMemoryError as error:
        raise RunError("the GPU is out of memory; choose a smaller --batch_size or --graph off") from error


if __name__ == "__main__":
    sys.exit(run_main("utils.benchmark", main))
