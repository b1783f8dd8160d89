"""What a step of every learner takes on this machine, the second task on random images (docs/performance.md).

    sh experiments/benchmark.sh [--learners AlwaysBeDreaming ...] [--threads N] [--precision fp32|tf32|bf16] [--graph auto|on|off]
    sh experiments/benchmark.sh --count
"""

import multiprocessing
import statistics
import sys
from collections.abc import Sequence

import torch

from learners import LEARNERS
from utils.benchmark import speed
from utils.benchmark.count import HEADING, count
from utils.benchmark.stages import settings_of, stages_of
from utils.errors import Parser, UserError
from utils.reports.forms import show_rows
from utils.startup import finish
from utils.training.device import device_failure, open_device


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser(prog="utils.benchmark", description="Time per step of every learner on this machine.", allow_abbrev=False)
    parser.add_argument("--learners", nargs="+", default=list(LEARNERS), choices=list(LEARNERS), metavar="NAME", help="default: all")
    parser.add_argument("--rounds", type=int, default=15, help="measured, after warm-up; default: 15")
    parser.add_argument("--form", choices=["text", "markdown", "csv"], default="text", help="of the table; default: text")
    parser.add_argument("--count", action="store_true", help="count the operations that a step dispatches instead of timing it")
    try:
        given, flags = parser.parse_known_args(arguments)
        if given.rounds < 1:
            raise UserError(f"--rounds {given.rounds}: is below 1")
        settings = {name: settings_of(name, flags) for name in given.learners}
        first = next(iter(settings.values()))
        device = open_device(first)
    except UserError as error:
        print(f"utils.benchmark: {error}", file=sys.stderr)
        return 2
    if given.count:
        print(show_rows([HEADING, *(count(stage, settings[name]).cells() for name, stage in stages_of(settings))], given.form))
        return 0
    fresh = multiprocessing.get_context("spawn")
    lines = []
    try:
        with fresh.Pool(1, maxtasksperchild=1) as pool:
            machine = pool.apply(speed.measure_machine, (first,))
            run = f"{first.model_name}, batches of {first.batch_size}, {first.precision}, --graph {first.graph}"
            print(f"{speed.describe(device)}; torch {torch.__version__}; {run}")
            rates = f"matrix rate {machine.matrix_rate / 1e9:,.0f} GFLOP/s, memory {machine.bandwidth / 1e9:,.0f} GB/s"
            print(f"{rates}; medians of {given.rounds} rounds")
            for name, stage in stages_of(settings):
                print(f"measuring {name}, {stage}", file=sys.stderr)
                lines.append(pool.apply(speed.measure, (stage, settings[name], given.rounds, machine)))
    except UserError as error:
        print(f"utils.benchmark: {error}", file=sys.stderr)
        return 2
    except (RuntimeError, MemoryError) as error:
        if not (reason := device_failure(error, device)):
            raise
        print(f"utils.benchmark: {reason}", file=sys.stderr)
        return 1
    print(show_rows([speed.HEADING, *(speed.show(line, first.batch_size) for line in lines)], given.form))
    reference = statistics.median(line.reference for line in lines)
    print(f"ratio: to a step of Base in eager mode on contiguous memory in fp32, {1e3 * reference:.2f} ms here, timed in turns with each line")
    print("shares: of a step that is not captured; on a GPU, which is waited for before and after each part, they say little of a captured one")
    return 0


if __name__ == "__main__":
    sys.exit(finish("utils.benchmark", main()))
