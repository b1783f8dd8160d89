"""Runs of this process that share a GPU, a training step each in turn: what many small captured steps need instead of as many processes,
each with a CUDA context of its own."""

import contextlib
import gc
import time
import traceback
from collections.abc import Callable, Iterator
from typing import NamedTuple, TextIO

import torch

from utils.errors import RunError, UserError
from utils.sweeps.engines import Ended, Run
from utils.training.stop import Stopped
from utils.training.trainer import Trainer

ROUND = 0.5  # seconds until the sweep looks after its screen again


class Turn(NamedTuple):
    """A run under way: its steps, the stream that its GPU's work queues on, and the file that takes what it says."""

    steps: Iterator[None]
    stream: torch.cuda.Stream
    console: TextIO


class Turns:
    """An engine for one GPU. The host starts one step of each run after another and waits for none of them, so that the GPU
    works at all at once.

    Args:
        each: runs at a time.
        build: makes a run's trainer; its errors are the run's.
    """

    def __init__(self, device: torch.device, each: int, build: Callable[[Run], Trainer]):
        self.device, self.build = device, build
        # Taken and given back: torch keeps freed memory by stream, and has few streams, which it hands out again.
        self.streams = [torch.cuda.Stream(device) for _ in range(each)]
        self.under_way: dict[Run, Turn] = {}

    def free(self) -> bool:
        return bool(self.streams)

    def start(self, run: Run) -> None:
        run.console.parent.mkdir(parents=True, exist_ok=True)
        console = run.console.open("a", encoding="utf-8", errors="backslashreplace", buffering=1)
        self.under_way[run] = Turn(self.steps(run), self.streams.pop(), console)

    def steps(self, run: Run) -> Iterator[None]:
        trainer = self.build(run)
        try:
            yield from trainer.steps()
        finally:
            trainer.folder.release()

    def ended(self) -> list[Ended]:
        """After a round of turns."""
        ended: list[Ended] = []
        end = time.monotonic() + ROUND
        while self.under_way and not ended and time.monotonic() < end:
            for run, turn in list(self.under_way.items()):
                if (status := self.advance(turn)) is not None:
                    del self.under_way[run]
                    turn.console.close()
                    self.streams.append(turn.stream)
                    ended.append(Ended(run, status))
        if ended:
            gc.collect()  # trainers and tasks refer to each other and hold the GPU's memory
        return ended

    def advance(self, turn: Turn) -> int | None:
        """One step; the run's exit status where that was the last."""
        with contextlib.redirect_stdout(turn.console), contextlib.redirect_stderr(turn.console), torch.cuda.stream(turn.stream):
            try:
                next(turn.steps)
            except StopIteration:
                return 0
            except (UserError, RunError, Stopped) as error:
                print(error)
                return error.status
            except Exception:  # a defect, which is to stop no other run
                traceback.print_exc()
                return 1
        return None

    def stop(self) -> None:
        """Nothing: each run sees the signal before its next step."""

    def close(self) -> None:
        for turn in self.under_way.values():
            turn.console.close()
        self.under_way.clear()
