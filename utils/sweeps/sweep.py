"""Many runs side by side: a set number on each device, a line a run, what fails is tried once more and stops no other.

    sh experiments/sweep.sh experiments/cifar100-fivetask.sh experiments/cifar100-tentask.sh --runs_per_gpu 4

The runs are those that the scripts would start one after the other. Exit status: 0 all finished; 1 some failed, the others
finished; 2 refused before any work; 130 and 143 stopped by Ctrl-C and SIGTERM. The same command resumes it, whatever ended it.
docs/sweeps.md explains the rest.
"""

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from utils.errors import Parser, RunError, UserError
from utils.files import expand_home
from utils.locks import is_locked
from utils.sweeps.engines import Ended, Engine, Local, Run
from utils.sweeps.plan import Plan
from utils.sweeps.processes import PATIENCE
from utils.threads import default_threads
from utils.training.checkpoint import LOCK
from utils.training.device import cpu_notices, usable_gpus
from utils.training.stop import Stopped, StopRequest

PACE = 60.0  # seconds between two lines about a run that is under way, where no line updates
REFUSED = 2


# What is shown


class Screen:
    """Lines that stay and, below them, one for each run under way: in a terminal they update, in a file they come now and then."""

    def __init__(self) -> None:
        self.updating = sys.stderr.isatty()
        self.pace = 0.5 if self.updating else PACE
        self.drawn = 0  # updating lines that are on the screen
        self.then = time.monotonic()

    def write(self, text: str, stream: Any) -> None:
        try:
            print(text, end="", file=stream, flush=True)
        except OSError:  # a closed terminal: no reason to end runs of days
            sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")

    def clear(self) -> None:
        if self.drawn:
            self.write(f"\x1b[{self.drawn}A\x1b[J", sys.stderr)
            self.drawn = 0

    def say(self, line: str) -> None:
        """A line that stays."""
        self.clear()
        self.write(f"{line}\n", sys.stdout)

    def show(self, lines: Callable[[], list[str]]) -> None:
        """The runs under way, if it is time to."""
        if time.monotonic() - self.then < self.pace:
            return
        self.then = time.monotonic()
        shown = lines()
        if self.updating:
            width, height = shutil.get_terminal_size()
            shown = [line[: width - 1] for line in shown[-(height - 1) :]]
        self.clear()
        self.write("".join(f"{line}\n" for line in shown), sys.stderr if self.updating else sys.stdout)
        self.drawn = len(shown) if self.updating else 0


# All of them


def run_all(
    runs: list[Run], engine: Engine, stop_request: StopRequest, done: Callable[[Run], None] = lambda run: None,
    resume_command: str = "the same command",
) -> list[Ended]:
    """Every run, started as soon as there is a place for it; ``done`` is called after each that finished.

    Returns those that failed for good. Raises Stopped once a signal was noted by ``stop_request`` and all runs have stopped.
    """
    screen = Screen()
    width = max((len(run.name) for run in runs), default=0)
    waiting, under_way, again = list(runs), dict[Run, None](), set[Run]()
    finished, failed = set[Run](), dict[Run, Ended]()
    stopping = False
    patience = time.monotonic() + PATIENCE  # processes of a killed sweep may hold folders for another moment

    def line(run: Run, text: str) -> str:
        return f"{run.name:{width}}  {text}"

    def fail(how: Ended) -> None:
        failed[how.run] = how
        screen.say(line(how.run, f"failed: {how.message}"))

    def start(run: Run) -> None:
        waiting.remove(run)
        try:
            run.begun = run.console.stat().st_size if run.console.exists() else 0
            engine.start(run)
            under_way[run] = None
        except OSError as error:
            fail(Ended(run, 1, f"{error.filename or run.folder}: {error.strerror or error}"))

    def end(how: Ended) -> None:
        run, status, message = how
        del under_way[run]
        last = (run.last_lines() or [f"exit status {status}"])[-1].removeprefix("run.py: ")
        message = message or (f"{signal.strsignal(-status)} by a signal" if status < 0 else last)
        if status == 0:
            finished.add(run)
            screen.say(line(run, f"done  {last}"))
            try:
                done(run)
            except (OSError, RunError) as error:
                finished.discard(run)
                fail(Ended(run, 1, str(error)))
        elif stopping:
            pass
        elif status == REFUSED or run in again:
            fail(Ended(run, status, message))
        else:
            again.add(run)
            waiting.append(run)  # what made it fail, such as a full GPU, may be over by then
            screen.say(line(run, f"failed, is tried once more: {message}"))

    def show() -> list[str]:
        lines = [line(run, text) for run in under_way if (text := run.progress())]
        left = len(runs) - len(finished) - len(failed) - len(lines)
        return [*lines, f"{len(finished)} of {len(runs)} done, {len(lines)} under way, {left} waiting, {len(failed)} failed"]

    try:
        while under_way or waiting and not stopping:
            if stop_request.signal and not stopping:
                stopping = True
                screen.drawn = 0  # the lines stay: below them the signal has been acknowledged
                engine.stop()
            for run in [] if stopping else list(waiting):
                if run.after in failed:
                    waiting.remove(run)
                    fail(Ended(run, REFUSED, f"takes over the first task of {run.after.name if run.after else ''}, which failed"))
                elif engine.free() and (run.after is None or run.after in finished) and (
                        not is_locked(run.folder / LOCK) or time.monotonic() > patience):
                    start(run)
            for how in engine.ended():
                end(how)
            screen.show(show)
    finally:
        engine.close()
        screen.clear()
    if received := stop_request.signal:
        raise Stopped(received, f"stopped by {received.name}, {len(finished)} of {len(runs)} runs are done; {resume_command} resumes them")
    return list(failed.values())


# The command


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
        "scripts", nargs="+", type=expand_home, metavar="SCRIPT", help="e.g. experiments/cifar100-fivetask.sh; what it runs on is replaced")
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
        plan = Plan(given.scripts)
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
    except KeyboardInterrupt:  # before or after the runs
        message, status = "stopped; the same command resumes it", 130
    print(f"experiments/sweep.sh: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
