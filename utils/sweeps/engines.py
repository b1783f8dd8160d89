"""One call of run.py, and what starts many: processes on this machine, or whatever else is an Engine (utils/sweeps/ray_engine.py)."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from utils.sweeps.processes import start_process

ROOT = Path(__file__).resolve().parents[2]
MOMENT = 0.1  # seconds
CONSOLE = "console.log"  # beside output.log: what the run wrote to stdout and stderr


@dataclasses.dataclass(eq=False)
class Run:
    """One call of run.py.

    Attributes:
        arguments: its command line, but for --gpuid.
        folder: its --log_dir.
        threads: of each of its processes, on the CPU; 0: to be chosen.
        processes: its repeats side by side.
        after: the run whose first task it takes over, where that is to be waited for.
        begun: where in its console the attempt under way begins, in bytes.
    """

    name: str
    arguments: list[str]
    folder: Path
    threads: int = 0
    processes: int = 1
    after: Run | None = None
    begun: int = 0

    def command(self, *more: str) -> list[str]:
        return [sys.executable, str(ROOT / "run.py"), *self.arguments, *more]

    @property
    def console(self) -> Path:
        return self.folder / CONSOLE

    def last_lines(self) -> list[str]:
        """The last lines of this attempt."""
        try:
            with self.console.open("rb") as file:
                file.seek(max(self.begun, file.seek(0, os.SEEK_END) - 8192))
                return [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
        except OSError:
            return []

    def progress(self) -> str:
        """The latest line, and before it the time left, where no narrow terminal cuts it off; empty before there is one."""
        lines = self.last_lines()
        left = [match[1] for line in lines if (match := re.search(r"\(([^()]+ left)\)$", line))]
        return "  ".join([*left[-1:], lines[-1].partition("  (")[0]]) if lines else ""


# Where runs run


class Ended(NamedTuple):
    """How a run ended: the exit status, negative for a signal, and a line that says more, if there is one."""

    run: Run
    status: int
    message: str = ""


class Engine(Protocol):
    """What starts runs and knows when they end."""

    def free(self) -> bool:
        """Whether it takes another run now."""

    def start(self, run: Run) -> None:
        """Raises OSError where the run's folder cannot be written."""

    def ended(self) -> list[Ended]:
        """The runs that have ended since the last call; takes a moment, for others to end."""

    def stop(self) -> None:
        """Have all runs stop soon."""

    def close(self) -> None:
        """End at once whatever still runs."""


class Local:
    """Processes on this machine.

    Args:
        devices: GPUs by their numbers; -1 is the CPU.
        each: runs on one of them at a time.
    """

    def __init__(self, devices: Sequence[int], each: int):
        self.places = [device for _ in range(each) for device in devices]  # the free ones
        self.processes: dict[Run, tuple[subprocess.Popen[bytes], int]] = {}

    def free(self) -> bool:
        return bool(self.places)

    def start(self, run: Run) -> None:
        process = start_process(run.command("--gpuid", str(self.places[0])), run.console, threads=run.threads)
        self.processes[run] = process, self.places.pop(0)

    def ended(self) -> list[Ended]:
        time.sleep(MOMENT)
        ended = [Ended(run, status) for run, (process, _) in self.processes.items() if (status := process.poll()) is not None]
        self.places += [self.processes.pop(run)[1] for run, *_ in ended]
        return ended

    def stop(self) -> None:
        for process, _ in self.processes.values():
            process.terminate()

    def close(self) -> None:
        for process, _ in self.processes.values():
            process.kill()
            process.wait()
