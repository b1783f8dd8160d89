"""What a step of every learner takes on this machine, the second task on random images (docs/performance.md).

    sh experiments/benchmark.sh [--learners AlwaysBeDreaming ...] [--threads N] [--precision fp32|tf32|bf16] [--graph auto|on|off]
    sh experiments/benchmark.sh --count
    sh experiments/benchmark.sh --against DIR [--images N]
"""

import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from learners import LEARNERS
from utils.benchmark import against, speed
from utils.benchmark.count import HEADING, count
from utils.benchmark.process import in_a_fresh_process
from utils.benchmark.stages import OLD, SEEN, settings_of, stages_of
from utils.errors import Parser, RunError, UserError
from utils.files import user_path
from utils.reports.forms import add_forms, show_rows
from utils.settings import Settings
from utils.startup import finish, run_command
from utils.training.device import device_failure, open_device


def print_learners(settings: dict[str, Settings], device: torch.device, rounds: int, form: str) -> None:
    """Every stage, each in a process of its own."""
    first = next(iter(settings.values()))
    speeds = []
    machine = in_a_fresh_process(speed.measure_machine, first)
    print(describe(first, device))
    rates = f"matrix rate {machine.matrix_rate / 1e9:,.0f} GFLOP/s, memory {machine.bandwidth / 1e9:,.0f} GB/s"
    print(f"{rates}; medians of {rounds} rounds")
    try:
        for name, stage in stages_of(settings):
            print(f"measuring {name}, {stage}", file=sys.stderr)
            speeds.append(in_a_fresh_process(speed.measure_stage, stage, settings[name], rounds, machine))
    finally:  # what there is
        if speeds:
            print(show_rows([speed.HEADING, *(speed.show(one, first.batch_size) for one in speeds)], form))
    reference = statistics.median(one.reference for one in speeds)
    print(f"ratio: to a step of Base in eager mode on contiguous memory in fp32, {1e3 * reference:.2f} ms here, timed in turns with each line")
    print("shares: of a step that is not captured; on a GPU, which is waited for before and after each part, they say little of a captured one")


def print_against(checkout: Path, settings: dict[str, Settings], device: torch.device, rounds: int, images: int, form: str) -> None:
    """Base and ABD, and a checkout's."""
    first, rows = next(iter(settings.values())), [against.HEADING]
    print(describe(first, device))
    print(f"against {checkout}; tasks of {SEEN - OLD} classes, {images} images each, its --workers {first.workers}; medians of {rounds} rounds")
    try:
        for name in settings:
            print(f"measuring {name}, theirs and ours in turns", file=sys.stderr)
            rows += against.compare(checkout, settings[name], device, rounds, images)
    finally:  # what there is
        if len(rows) > 1:
            print(show_rows(rows, form))
    print("step: theirs without the wait for its data, ours with the loading; epoch: all of it, without tests; evaluation: of a task's test images")


def describe(settings: Settings, device: torch.device) -> str:
    run = f"{settings.model_name}, batches of {settings.batch_size}, {settings.precision}, --graph {settings.graph}"
    return f"{speed.describe(device)}; torch {torch.__version__}; {run}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser(
        prog="utils.benchmark", description="Time per step of every learner on this machine.", allow_abbrev=False,
        epilog="Settings of run.py may be given too, such as --precision bf16 or --model_name resnet18; run.py --help lists them.")
    parser.add_argument("--learners", nargs="+", action="extend", choices=list(LEARNERS), metavar="NAME", help="default: all")
    parser.add_argument("--rounds", type=int, default=15, help="measured, after warm-up; default: 15")
    add_forms(parser)
    parser.add_argument("--count", action="store_true", help="count the operations that a step dispatches instead of timing it")
    parser.add_argument("--against", type=user_path, metavar="DIR", help="a checkout of the authors' implementation: time it and this one in turns")
    parser.add_argument("--images", type=int, metavar="N", help="with --against: training images of a class; default: 500, as CIFAR-100 has")
    try:
        given, flags = parser.parse_known_args(arguments)
        if given.rounds < 1:
            raise UserError(f"--rounds {given.rounds}: is below 1")
        if given.against:
            if given.learners or given.count:
                raise UserError("--against: times Base and ABD; leave out --learners and --count")
            flags = ["--workers", "0", *flags]  # of their loader; as the published scripts on CIFAR have it
        elif given.images is not None:
            raise UserError(f"--images {given.images}: is for --against")
        settings = {name: settings_of(name, flags) for name in (against.QUANTITIES if given.against else given.learners or LEARNERS)}
        first = next(iter(settings.values()))
        images = 500 if given.images is None else given.images
        if given.against:
            given.against = given.against.resolve()
            against.check(given.against, first, images)
        device = open_device(first)
        if given.count:
            print(show_rows([HEADING, *(count(stage, settings[name]).cells() for name, stage in stages_of(settings))], given.form))
        elif given.against:
            print_against(given.against, settings, device, given.rounds, images, given.form)
        else:
            print_learners(settings, device, given.rounds, given.form)
    except (UserError, RunError) as error:
        message, status = str(error), error.status
    except (RuntimeError, MemoryError) as error:
        if not (reason := device_failure(error, device)):
            raise
        message, status = reason, 1
    else:
        return finish("utils.benchmark")
    print(f"utils.benchmark: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(run_command("utils.benchmark", main))
