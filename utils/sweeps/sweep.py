"""Many runs side by side: a set number on each device, a line a run, what fails is tried once more and stops no other.

    sh experiments/sweep.sh experiments/cifar100-fivetask.sh experiments/cifar100-tentask.sh --runs_per_gpu 4

The runs are those that the scripts would start one after the other. Exit status: 0 all finished; 1 some failed, the others
finished; 2 refused before any work; 130 and 143 stopped by Ctrl-C and SIGTERM. The same command resumes it, whatever ended it.
docs/sweeps.md explains the rest.
"""

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence

import torch

from utils.errors import Parser, UserError
from utils.files import user_path
from utils.startup import run_command, status_of
from utils.sweeps.engines import Engine, Local, Run
from utils.sweeps.plan import Plan
from utils.sweeps.scheduler import run_all
from utils.threads import default_threads
from utils.training.device import cpu_notices, usable_gpus
from utils.training.stop import Stopped, StopRequest


def positive_integer(text: str) -> int:
    if not text.isdecimal() or text == "0":
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def devices(gpuid: list[int]) -> list[int]:
    """The GPUs asked for, or all; -1, the CPU, where there is none. Raises UserError."""
    counts = [usable_gpus(number) for number in gpuid or [0]]
    return gpuid or list(range(*counts)) if min(counts) else [-1]


def share_cores(runs: list[Run], places: int) -> None:
    """Among the runs side by side in these places, each with its repeats side by side, where they are to choose their threads."""
    for run in runs:
        run.threads = run.threads or default_threads(min(places, len(runs)) * run.processes)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser(
        prog="experiments/sweep.sh", allow_abbrev=False,
        description="The runs of experiments' scripts, side by side on the devices of one machine, or of many by way of Ray.",
        epilog="The same command resumes a stopped sweep. Exit status: 0 all finished, 1 some failed, 2 refused before any work, 130 or 143 stopped.")
    parser.add_argument(
        "scripts", nargs="+", type=user_path, metavar="SCRIPT", help="e.g. experiments/cifar100-fivetask.sh; what it runs on is replaced")
    parser.add_argument("--runs_per_gpu", type=positive_integer, default=1, metavar="N", help="runs side by side on one device; default: 1")
    parser.add_argument("--gpuid", type=int, nargs="+", default=[], metavar="N", help="GPUs to use; default: all of them, or the CPU; -1: the CPU")
    parser.add_argument("--engine", choices=["local", "ray"], default="local", help="this machine's devices, or those of a Ray cluster")
    parser.add_argument("--address", metavar="ADDRESS", help="of a running Ray cluster; default: Ray on this machine alone")
    stop_request = StopRequest("experiments/sweep.sh")
    try:
        given = parser.parse_args(arguments)
        if given.engine == "ray":
            from utils.sweeps.ray_engine import RayEngine  # and an optional package

            if given.gpuid:
                raise UserError("--gpuid: Ray chooses the GPUs; leave the flag out")
        elif given.address:
            raise UserError(f"--address {given.address}: is of a Ray cluster; add --engine ray")
        os.environ.pop("STARTED_IN", None)  # what the scripts start takes paths of the repository
        plan = Plan([str(script) for script in given.scripts])
        if not given.address:
            found = devices(given.gpuid)
            for notice in cpu_notices(given.gpuid or [0], torch.device("cpu" if found == [-1] else "cuda")):
                print(notice, flush=True)
        engine: Engine
        if given.engine == "ray":
            engine = RayEngine(given.runs_per_gpu, given.address)
        else:
            share_cores(plan.runs, len(found) * given.runs_per_gpu)
            engine = Local(found, given.runs_per_gpu)
        with stop_request:
            failed = run_all(plan.runs, engine, stop_request)
        lost = [how.run for how in failed]
        problems = [f"{len(lost)} of {len(plan.runs)} runs failed: {', '.join(run.name for run in lost)}"] if lost else []
        for call, runs in plan.afterwards:
            if not set(lost).intersection(runs) and subprocess.run([sys.executable, *call]).returncode:
                problems.append(f"this failed: {shlex.join(['python', *call])}")
        if not problems:
            return 0
        message, status = f"{'; '.join(problems)}; the same command tries again", 1
    except UserError as error:
        message, status = str(error), 2
    except Stopped as stopped:
        message, status = str(stopped), stopped.status
    except KeyboardInterrupt as interrupted:  # before or after the runs
        message, status = "stopped; the same command resumes it", status_of(interrupted)
    print(f"experiments/sweep.sh: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(run_command("experiments/sweep.sh", main))
