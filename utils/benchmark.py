"""Time a training step of every stage of every learner on this machine (docs/performance.md).

    sh experiments/benchmark.sh [--learners NAME ...] [--rounds N] [any flag of run.py]
    sh experiments/benchmark.sh --against DIR

In each round the stages of a learner and a textbook step of Base take turns, so that other work on the machine
slows them alike. The table has medians over the rounds.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from statistics import median

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dataloaders.datasets import Split
from dataloaders.tasks import Task, split_classes, task_sequence
from learners import LEARNERS, REGISTRY, Learner, Stage, build_learner
from models import RESNETS, ResNet
from utils.benchmark_against import compare
from utils.command_line import parse
from utils.device import captures, exact, memory_format, open_device, probe
from utils.errors import Parser, UserError, run_main
from utils.files import user_path
from utils.settings import Settings
from utils.streams import Streams
from utils.training.step import TrainingStep

OLD, SEEN, PER_CLASS = 20, 40, 500  # classes learned before the measured task, and including it; images
FIXED = f"--dataset CIFAR100 --first_split_size {OLD} --other_split_size {SEEN - OLD}".split()
PUBLISHED = (
    "--train_aug --lr 0.1 --momentum 0.9 --weight_decay 2e-4 --batch_size 128 --power_iters 10000 "
    "--deep_inv_params 1e-3 50 1e-3 1e3 1").split()
NEEDS = {"ETE": ["--memory", "2000"], "BIC": ["--memory", "2000"]}  # these learn from a coreset only

Step = Callable[[], object]


def settings_of(name: str, flags: Sequence[str]) -> Settings:
    """The published settings of a learner, with ``flags`` on top. Raises UserError."""
    for word in {word.partition("=")[0] for word in flags} & {*FIXED, "--learner_name", "--task_sizes"}:
        raise UserError(f"{word}: the benchmark fixes it; leave it out (--learners chooses)")
    learner = LEARNERS[name]
    words = ["--learner_name", name, "--learner_type", learner.learner_type, *NEEDS.get(name, [])]
    words += ["--gen_model_type", learner.generator_type] if learner.generator_type else []
    return parse(REGISTRY, [*PUBLISHED, *FIXED, *words, *flags])


def before_second_task(settings: Settings, device: torch.device) -> tuple[Learner, Task]:
    """A learner with its initial weights, about to learn its second task, and that task: random images."""
    learner = build_learner(settings, Streams(device), device, 0)
    labels = np.arange(SEEN).repeat(PER_CLASS)
    data = Split(np.random.RandomState(0).randint(256, size=(len(labels), 3, 32, 32), dtype=np.uint8), labels)
    _, task = task_sequence(
        settings.dataset, data, data, ("",) * SEEN, split_classes(SEEN, OLD, SEEN - OLD), [*range(SEEN)],
        normalised=learner.normalised, device=device, transforms=settings.transforms,
        memory_format=memory_format(settings, device))
    kept = torch.arange(min(settings.memory // OLD, PER_CLASS))
    learner.coreset.classes = [label * PER_CLASS + kept for label in range(OLD)]
    learner.begin_task(task)
    learner.start_task(task)
    return learner, task


def endless(stage: Stage) -> Iterator[Sequence[Tensor]]:
    """What each step of a stage begins with, epoch after epoch."""
    while True:
        yield from stage.batches.starts(0)


def stage_steps(settings: Settings, device: torch.device) -> list[tuple[Stage, Step]]:
    """For each stage of the second task, the stage and its step, each of a learner of its own."""
    built: list[tuple[Stage, Step]] = []
    while True:
        learner, task = before_second_task(settings, device)
        stages = learner.stages(task)
        stage = stages[len(built)]
        learner.eval()
        stage.trained.train()
        stage.start_epoch(0)
        say = partial(print, file=sys.stderr)
        step = TrainingStep(stage, learner.streams, learner.bf16, captures(settings, device), say)
        built.append((stage, partial(next, map(step, endless(stage)))))
        if len(built) == len(stages):
            return built


def plain_base(settings: Settings, device: torch.device) -> Step:
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


def milliseconds(step: Step, device: torch.device) -> float:
    """The time of one step; on a GPU, of which the host runs ahead, the mean of 20 in a row."""
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
    parser.add_argument("--learners", nargs="+", default=names, choices=names, metavar="NAME", help="default: all")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each, after the warm-up; default: 9")
    parser.add_argument("--against", type=user_path, metavar="DIR", help="a checkout of the authors' code")
    given, flags = parser.parse_known_args(arguments)
    if given.against:
        given.learners = ["NormalNN", "AlwaysBeDreaming"]
    chosen = [settings_of(name, flags) for name in given.learners]
    device = open_device(s := chosen[0])
    probe(device)
    print(f"{device}, {torch.get_num_threads()} threads; torch {torch.__version__}; {s.model_name}, "
          f"batches of {s.batch_size}, {s.precision}, --graph {s.graph}", flush=True)
    if given.against:
        print_row("learner", "what", "ours_ms", "theirs_ms", "ratio")
    else:
        print_row("learner", "stage", "ms", "plain_base", "ratio")
    for settings in chosen:
        built = stage_steps(settings, device)
        steps = {stage.name: partial(milliseconds, step, device) for stage, step in built}
        if given.against:
            learn, _ = built[-1]
            steps["loading"] = partial(milliseconds, partial(next, map(learn.batches.load, endless(learn))), device)
            for what, ours, theirs in compare(given.against.resolve(), settings, device, steps, given.rounds):
                print_row(settings.learner_name, what, ours, theirs, theirs / ours)
            continue
        steps = {"": partial(milliseconds, plain_base(settings, device), device), **steps}
        base, *rows = zip(*([turn() for turn in steps.values()] for _ in range(given.rounds + 1)))
        for (stage, _), row in zip(built, rows):
            ratio = median(ms / plain for ms, plain in zip(row[1:], base[1:]))
            print_row(settings.learner_name, stage.name, median(row[1:]), median(base[1:]), ratio)


if __name__ == "__main__":
    sys.exit(run_main("utils.benchmark", main))
