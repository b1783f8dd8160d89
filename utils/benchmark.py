"""Time a training step of every stage of every learner on this machine (docs/performance.md).

    sh experiments/benchmark.sh [--learners NAME ...] [--rounds N] [any flag of run.py]
    sh experiments/benchmark.sh --against DIR

In each round the stages of a learner and a textbook step of Base take turns, so that other work on the
machine slows them alike. The table has medians over the rounds.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dataloaders.datasets import Split
from dataloaders.tasks import split_classes, task_sequence
from learners import LEARNERS, REGISTRY, Stage, build_learner
from models import RESNETS, ResNet
from utils.benchmark_against import compare
from utils.command_line import parse
from utils.device import captures, exact, memory_format, open_device
from utils.errors import Parser, run_main
from utils.files import user_path
from utils.settings import Settings
from utils.streams import Streams
from utils.training.step import TrainingStep

PUBLISHED = str(Path(__file__).resolve().parents[1] / "configs" / "cifar100.yaml")
NEEDS = {"ETE": ["--memory", "2000"], "BIC": ["--memory", "2000"]}  # these learn from a coreset only
PER_CLASS = 200  # training images

Step = Callable[[], object]


def settings_of(name: str, flags: Sequence[str]) -> Settings:
    """The published settings of a learner, with ``flags`` on top. Raises UserError."""
    kind = LEARNERS[name]
    needs = NEEDS.get(name, []) + ["--gen_model_type", kind.generator_type] * bool(kind.generator_type)
    own = ["--learner_name", name, "--learner_type", kind.learner_type]
    return parse(REGISTRY, ["--config", PUBLISHED, *needs, *flags, *own, "--dataset", "CIFAR100"])


def endless(stage: Stage) -> Iterator[Sequence[Tensor]]:
    """What each step of a stage begins with, epoch after epoch."""
    while True:
        yield from stage.batches.starts(0)


def stage_steps(s: Settings, device: torch.device) -> list[tuple[Stage, Step]]:
    """The stages of the second task, on random images, and the step of each. Each belongs to a learner of
    its own, with initial weights."""
    old, seen = s.first_split_size, s.first_split_size + s.other_split_size
    labels = np.arange(seen).repeat(PER_CLASS)
    images = np.random.RandomState(0).randint(256, size=(len(labels), 3, 32, 32), dtype=np.uint8)
    data, built = Split(images, labels), list[tuple[Stage, Step]]()
    while True:
        learner = build_learner(s, Streams(device), device, 0)
        _, task = task_sequence(
            s.dataset, data, data, ("",) * seen, split_classes(seen, old, seen - old), [*range(seen)],
            normalised=learner.normalised, device=device, transforms=s.transforms,
            memory_format=memory_format(s, device))
        kept = torch.arange(min(s.memory // old, PER_CLASS))
        learner.coreset.classes = [label * PER_CLASS + kept for label in range(old)]
        learner.begin_task(task)
        learner.start_task(task)
        stages = learner.stages(task)
        stage = stages[len(built)]
        learner.eval()
        stage.trained.train()
        stage.start_epoch(0)
        say = partial(print, file=sys.stderr)
        step = TrainingStep(stage, learner.streams, learner.bf16, captures(s, device), say)
        built.append((stage, partial(next, map(step, endless(stage)))))
        if len(built) == len(stages):
            return built


def plain_base(settings: Settings, device: torch.device) -> Step:
    """A textbook step of Base: no graph, contiguous memory, float32, images at hand. It uses little of this
    project's code, so ratios to it show when that code became slower."""
    model = ResNet(RESNETS[settings.model_name], 100).to(device)
    optimizer = torch.optim.SGD(model.parameters(), settings.lr, momentum=0.9, weight_decay=2e-4)
    x = torch.randn(settings.batch_size, 3, 32, 32, device=device)
    y = torch.randint(40, (settings.batch_size,), device=device)

    def step() -> None:
        with exact():
            optimizer.zero_grad()
            F.cross_entropy(model(x)[:, :40], y).backward()
            optimizer.step()

    return step


def timed(step: Step, device: torch.device) -> float:
    """Milliseconds of one step; on a GPU, of which the host runs ahead, the mean of 20 in a row."""
    times, wait = (20, torch.cuda.synchronize) if device.type == "cuda" else (1, lambda: None)
    wait()
    began = time.perf_counter()
    for _ in range(times):
        step()
    wait()
    return 1e3 * (time.perf_counter() - began) / times


def print_row(*cells: str | float) -> None:
    first, *others = (cell if isinstance(cell, str) else f"{cell:.2f}" for cell in cells)
    print(f"{first:<18}" + "".join(f"  {text:>11}" for text in others), flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    names = list(LEARNERS)
    parser = Parser(
        prog="utils.benchmark", description="Time a step of every learner on this machine.",
        epilog="Flags of run.py may be given, too, such as --precision bf16, --graph off or --gpuid -1.")
    add = parser.add_argument
    add("--learners", nargs="+", default=names, choices=names, metavar="NAME", help="default: all")
    add("--rounds", type=int, default=9, help="turns of each, after the warm-up; default: 9")
    add("--against", type=user_path, metavar="DIR", help="a checkout of the authors' code")
    given, flags = parser.parse_known_args(arguments)
    chosen = [settings_of(name, flags) for name in given.learners]
    if given.against:
        chosen = [settings_of(name, flags) for name in ("NormalNN", "AlwaysBeDreaming")]
    device = open_device(s := chosen[0])
    print(f"{device}, {torch.get_num_threads()} threads; torch {torch.__version__}; {s.model_name}, "
          f"batches of {s.batch_size}, {s.precision}, --graph {s.graph}", flush=True)
    print_row("learner", "stage", "ms", "theirs" if given.against else "plain_base", "ratio")
    for settings in chosen:
        built = stage_steps(settings, device)
        turns = {stage.name: partial(timed, step, device) for stage, step in built}
        if given.against:
            compare(given.against.resolve(), settings, device, turns, given.rounds,
                    partial(print_row, settings.learner_name))
            continue
        turns = {"": partial(timed, plain_base(settings, device), device), **turns}
        base, *rows = zip(*([turn() for turn in turns.values()] for _ in range(given.rounds + 1)))
        for (stage, _), row in zip(built, rows):
            ratio = median(ms / plain for ms, plain in zip(row[1:], base[1:]))
            print_row(settings.learner_name, stage.name, median(row[1:]), median(base[1:]), ratio)


if __name__ == "__main__":
    sys.exit(run_main("utils.benchmark", main))
