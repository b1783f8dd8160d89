"""Runs a checkout of the authors' implementation (github.com/GT-RIPL/AlwaysBeDreaming-DFCIL) and times it from outside: a script of its
own, started by against.py, since that code has packages of the same names as this one and must find its own.

    python checkout.py CHECKOUT FILE_DESCRIPTOR THREADS PRECISION IN_A_ROW [flags of run_dfcil.py]

Its training runs as it is. What is timed shows in torch alone: passes over a DataLoader in which an optimiser steps are epochs, steps of an
optimiser outside of them are iterations of the generator. Only ``NormalNN.validation`` is called by its name. After each of them this
process says how long it took and waits for a word: meanwhile the other side has its turn.
"""

import functools
import importlib
import os
import runpy
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.data import DataLoader

ROOT = Path(__file__).resolve().parents[2]


class Reporter:
    """Times what the checkout does and says so, part by part.

    Args:
        connection: takes (what, batches or 1, {quantity: seconds}), and gives a word when it is this side's turn again.
        in_a_row: iterations of the generator a turn.
    """

    def __init__(self, connection: Connection, in_a_row: int):
        self.connection = connection
        self.in_a_row = in_a_row
        self.evaluating = self.learning = False
        self.steps = 0  # of an optimiser in the current pass
        self.iterations = 0
        self.began = 0.0  # the iterations of this turn

    def now(self) -> float:
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        return time.perf_counter()

    def give(self, what: str, count: int, **seconds: float) -> None:
        self.connection.send((what, count, seconds))
        self.connection.recv()

    def passes(self, iterate: Callable[[DataLoader], Iterator[Any]]) -> Callable[[DataLoader], Iterator[Any]]:
        """``DataLoader.__iter__``, timed where something is learned. A step is what happens from one batch to the request for the next."""

        def batches(loader: DataLoader) -> Iterator[Any]:
            if self.evaluating:
                yield from iterate(loader)
                return
            began, spent = self.now(), []
            self.learning, self.steps = True, 0
            try:
                for batch in iterate(loader):
                    got = self.now()
                    yield batch
                    spent.append(self.now() - got)
            finally:
                self.learning = False
            if self.steps:
                self.give("epoch", len(spent), step=statistics.median(spent), epoch=self.now() - began)

        return batches

    def stepped(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """After a step of any optimiser. The first iteration only starts the clock."""
        if self.learning:
            self.steps += 1
            return
        if self.iterations % self.in_a_row == 0:
            if self.iterations:
                self.give("dream", 1, iteration=(self.now() - self.began) / self.in_a_row)
            self.began = self.now()
        self.iterations += 1

    def evaluation(self, validation: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(validation)
        def timed(*args: Any, **kwargs: Any) -> Any:
            began, self.evaluating = self.now(), True
            try:
                result = validation(*args, **kwargs)
            finally:
                self.evaluating = False
            self.give("evaluation", 1, evaluation=self.now() - began)
            return result

        return timed


def main() -> None:
    folder, descriptor, threads, precision, in_a_row, *flags = sys.argv[1:]
    keep = runpy.run_path(str(ROOT / "utils" / "torchvision_cpu.py"))  # what it declares lives as long as its names
    sys.path[:] = [folder, *(place for place in sys.path if Path(place).resolve() not in (ROOT, ROOT / "utils" / "benchmark"))]
    sys.argv = ["run_dfcil.py", *flags]
    sys.dont_write_bytecode = True
    torch.set_num_threads(int(threads))
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    if flags[flags.index("--gpuid") + 1] == "-1":
        for kind in (torch.Tensor, torch.nn.Module):
            kind.cuda = lambda self, *args, **kwargs: self  # type: ignore[method-assign]
    importlib.import_module("trainer")
    for module in list(sys.modules.values()):
        if hasattr(module, "check_integrity"):  # CIFAR's files are made up, so their MD5 is not the official one
            vars(module)["check_integrity"] = lambda path, *_, **__: os.path.isfile(path)
    base: Any = getattr(importlib.import_module("learners.default"), "NormalNN", None)
    if not hasattr(base, "validation"):
        sys.exit("learners/default.py has no NormalNN.validation")
    reporter = Reporter(Connection(int(descriptor)), int(in_a_row))
    base.validation = reporter.evaluation(base.validation)
    DataLoader.__iter__ = reporter.passes(DataLoader.__iter__)  # type: ignore[method-assign, assignment]
    register_optimizer_step_post_hook(reporter.stepped)
    runpy.run_path(str(Path(folder) / "run_dfcil.py"), run_name="__main__")
    del keep


if __name__ == "__main__":
    try:
        main()
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        sys.exit(f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')} ({place.filename}, line {place.lineno})")
