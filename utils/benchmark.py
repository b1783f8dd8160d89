"""Time a training step of every stage of every learner on this machine (docs/performance.md).

    sh experiments/benchmark.sh [--learners NAME ...] [--rounds N] [any flag of run.py]
    sh experiments/benchmark.sh --against DIR       DIR: a checkout of the authors' 2021 code

What a row compares takes turns, so that other work on the machine slows both alike. Rows have medians.
"""

import operator
import os
import runpy
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch.nn import functional as F
from torch.optim.optimizer import register_optimizer_step_post_hook

from dataloaders.datasets import Data, Split
from dataloaders.tasks import tasks_of_repeat
from learners import LEARNERS, REGISTRY, Stage, build_learner
from models import RESNETS, ResNet
from utils.command_line import parse
from utils.device import exact, open_device
from utils.errors import Parser, RunError, run_main
from utils.files import user_path
from utils.settings import Settings
from utils.streams import Streams
from utils.training.step import TrainingStep

PUBLISHED = str(Path(__file__).resolve().parents[1] / "configs" / "cifar100.yaml")
NEEDS = {"ETE": ["--memory", "2000"], "BIC": ["--memory", "2000"]}  # these learn from a coreset only
PER_CLASS = 200  # training images
ROW = "{:<18}" + "  {:>11}" * 4
# What a checkout of the authors' code gets: these settings, and two short tasks of a single epoch.
SAME = """learner_type learner_name model_type model_name gen_model_type gen_model_name dataset dataroot
    optimizer schedule_type lr momentum weight_decay batch_size deep_inv_params""".split()
SHORT = "--first_split_size 2 --other_split_size 20 --max_task 2 --schedule 1 --workers 0".split()
PACKAGES = ("dataloaders", "learners", "models", "utils")  # that both codes have

Step = Callable[[], object]


def settings_of(name: str, flags: Sequence[str]) -> Settings:
    """The published settings of a learner, with ``flags`` on top. Raises UserError."""
    kind = LEARNERS[name]
    needs = NEEDS.get(name, []) + ["--gen_model_type", kind.generator_type] * bool(kind.generator_type)
    own = ["--learner_name", name, "--learner_type", kind.learner_type, "--dataset", "CIFAR100"]
    return parse(REGISTRY, ["--config", PUBLISHED, *needs, *flags, *own])


def stage_steps(s: Settings, device: torch.device) -> Iterator[tuple[Stage, Step]]:
    """The stages of the second task, on random images and initial weights, and the step of each. Time a step
    before asking for the next stage, which changes what is in training mode."""
    labels = np.arange(100).repeat(PER_CLASS)
    images = np.random.RandomState(0).randint(256, size=(len(labels), 3, 32, 32), dtype=np.uint8)
    data, learner = Split(images, labels), build_learner(s, Streams(device), device, 0)
    first, task, *_ = tasks_of_repeat(
        replace(s, rand_split=False), Data(data, data, ("",) * 100), 0, learner.normalised, device)
    kept = torch.arange(min(s.memory // first.seen, PER_CLASS))
    learner.coreset.classes = [label * PER_CLASS + kept for label in range(first.seen)]
    learner.begin_task(task)
    learner.start_task(task)
    for stage in learner.stages(task):
        learner.eval()
        stage.trained.train()
        stage.start_epoch(0)
        say = partial(print, file=sys.stderr)
        step = TrainingStep(stage, learner.streams, learner.bf16, s.graph != "off", say)
        starts = chain.from_iterable(map(stage.batches.starts, repeat(0)))
        yield stage, partial(next, map(step, starts))


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


def now(device: torch.device) -> float:
    """Milliseconds on a clock, once the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return 1e3 * time.perf_counter()


def timed(step: Step, device: torch.device) -> float:
    """Milliseconds of a step; on a GPU, of which the host runs ahead, the mean of 20 in a row."""
    times, began = 20 if device.type == "cuda" else 1, now(device)
    for _ in range(times):
        step()
    return (now(device) - began) / times


def print_row(learner: str, stage: Stage, rounds: Sequence[tuple[float, float]]) -> None:
    """Print medians over the rounds, of our milliseconds and the others', but for the first, a warm-up."""
    ours, others = zip(*rounds[1:])
    cells = (f"{median(values):.2f}" for values in (ours, others, map(operator.truediv, ours, others)))
    print(ROW.format(learner, stage.name, *cells), flush=True)


def against(checkout: Path, s: Settings, device: torch.device, rounds: int) -> None:
    """Print each row as soon as it is measured. Raises RunError.

    The authors' run_dfcil.py runs unchanged. From one step of an optimiser to its next is a step of theirs;
    then ours takes its turn.
    """
    stages, stdout = stage_steps(s, device), sys.stdout
    stage, step = next(stages)
    measured, last, clock = list[tuple[float, float]](), None, 0.0

    def stepped(optimizer: Any, *_: Any) -> None:
        nonlocal stage, step, last, clock
        if optimizer is stage.optimizer:  # our turn
            return
        theirs, name = now(device) - clock, "learn" if isinstance(optimizer, torch.optim.SGD) else "dream"
        if optimizer is last and name == stage.name:
            measured.append((timed(step, device), theirs))
        if len(measured) > rounds:
            with redirect_stdout(stdout):
                print_row(s.learner_name, stage, measured)
            measured.clear()
            stage, step = next(stages)
        last, clock = optimizer, now(device)

    def stay(self: Any, *_: Any, **__: Any) -> Any:  # .cuda() on a CPU: some calls ignore --gpuid
        return self

    cpu = device.type == "cpu"
    words = [*SHORT, "--power_iters", rounds + 2, "--gpuid", -1 if cpu else device.index]
    words += ["--train_aug"] * s.train_aug
    for name in SAME:
        value = getattr(s, name)
        words += [f"--{name}", *(value if isinstance(value, list) else [value])]
    others = {name: module for name, module in sys.modules.items() if name.split(".")[0] not in PACKAGES}
    hook = register_optimizer_step_post_hook(stepped)
    try:
        with (TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere, redirect_stdout(nowhere),
              patch.object(sys, "argv", ["", *map(str, words), "--log_dir", f"{folder}/run"]),
              patch.object(sys, "path", [str(checkout), *sys.path]),
              patch.dict(sys.modules, others, clear=True),
              patch.object(torch.Tensor, "cuda", stay if cpu else torch.Tensor.cuda),
              patch.object(torch.nn.Module, "cuda", stay if cpu else torch.nn.Module.cuda)):
            runpy.run_path(f"{checkout}/run_dfcil.py", run_name="__main__")
    except StopIteration:  # all stages are measured
        pass
    except (Exception, SystemExit) as error:
        raise RunError(f"--against {checkout}: its {s.learner_name} failed: {error!r}") from error
    finally:
        hook.remove()


def main(arguments: Sequence[str] | None = None) -> None:
    names = list(LEARNERS)
    parser = Parser(
        prog="utils.benchmark", description="Time a step of every learner on this machine.",
        epilog="Flags of run.py may be given, too, such as --precision bf16, --graph off or --gpuid -1.")
    add = parser.add_argument
    add("--learners", nargs="+", default=names, choices=names, metavar="NAME", help="default: all")
    add("--rounds", type=int, default=9, help="turns of each, after the warm-up; default: 9")
    add("--against", type=user_path, metavar="DIR", help="a checkout of the authors' code: its Base and ABD")
    given, flags = parser.parse_known_args(arguments)
    names = ["NormalNN", "AlwaysBeDreaming"] if given.against else given.learners
    chosen = [settings_of(name, flags) for name in names]
    device = open_device(s := chosen[0])
    print(f"{device}, {torch.get_num_threads()} threads; torch {torch.__version__}; {s.model_name}, "
          f"batches of {s.batch_size}, {s.precision}, --graph {s.graph}")
    other = "theirs" if given.against else "plain_base"
    print(ROW.format("learner", "stage", "ms", other, "ratio"), flush=True)
    for settings in chosen:
        if given.against:
            against(given.against.resolve(), settings, device, given.rounds)
            continue
        base = plain_base(settings, device)
        for stage, step in stage_steps(settings, device):
            rounds = [(timed(step, device), timed(base, device)) for _ in range(given.rounds + 1)]
            print_row(settings.learner_name, stage, rounds)


if __name__ == "__main__":
    sys.exit(run_main("utils.benchmark", main))
