"""Starts many runs, each as soon as there is a place for it; what fails is tried once more and stops no other."""

import signal
import time
from collections.abc import Callable

from utils.errors import RunError
from utils.locks import is_locked
from utils.sweeps.engines import Ended, Engine, Run
from utils.sweeps.processes import PATIENCE
from utils.sweeps.screen import Screen
from utils.training.checkpoint import LOCK
from utils.training.stop import Stopped, StopRequest

REFUSED = 2  # exit status of a run that the same command would refuse again


def run_all(
    runs: list[Run], engine: Engine, stop_request: StopRequest, done: Callable[[Run], None] = lambda run: None,
    resume_command: str = "the same command",
) -> list[Ended]:
    """Every run; ``done`` is called after each that finished.

    Returns those that failed for good. Raises Stopped once a signal was noted by ``stop_request`` and all runs have stopped.
    """
    scheduler = Scheduler(runs, engine, stop_request, done)
    scheduler.work()
    if received := stop_request.signal:
        finished = f"{len(scheduler.finished)} of {len(runs)} runs are done"
        raise Stopped(received, f"stopped by {received.name}, {finished}; {resume_command} resumes them")
    return list(scheduler.failed.values())


class Scheduler:
    """The state of all runs.

    Attributes:
        waiting: in the order in which they start.
        under_way: that the engine has started.
        again: that have failed once.
        finished, failed: for good.
        stopping: whether none is started any more.
    """

    def __init__(self, runs: list[Run], engine: Engine, stop_request: StopRequest, done: Callable[[Run], None]):
        self.count, self.width = len(runs), max((len(run.name) for run in runs), default=0)
        self.engine, self.stop_request, self.done = engine, stop_request, done
        self.screen = Screen()
        self.waiting, self.under_way, self.again = list(runs), dict[Run, None](), set[Run]()
        self.finished, self.failed = set[Run](), dict[Run, Ended]()
        self.stopping = False
        self.patience = time.monotonic() + PATIENCE  # processes of a killed sweep may hold folders for another moment

    def work(self) -> None:
        """Until every run has ended or, after a signal, those under way have."""
        try:
            while self.under_way or self.waiting and not self.stopping:
                if self.stop_request.signal and not self.stopping:
                    self.stopping = True
                    self.screen.drawn = 0  # the lines stay: below them the signal has been acknowledged
                    self.engine.stop()
                if not self.stopping:
                    self.start_waiting()
                for how in self.engine.ended():
                    self.end(how)
                self.screen.show(self.progress)
        finally:
            self.engine.close()
            self.screen.clear()

    def start_waiting(self) -> None:
        """Those that there is a place for."""
        for run in list(self.waiting):
            if run.after in self.failed:
                self.waiting.remove(run)
                self.fail(Ended(run, REFUSED, f"takes over the first task of {run.after.name if run.after else ''}, which failed"))
            elif self.engine.free() and (run.after is None or run.after in self.finished) and (
                    not is_locked(run.folder / LOCK) or time.monotonic() > self.patience):
                self.start(run)

    def start(self, run: Run) -> None:
        self.waiting.remove(run)
        try:
            run.begun = run.console.stat().st_size if run.console.exists() else 0
            self.engine.start(run)
            self.under_way[run] = None
        except OSError as error:
            self.fail(Ended(run, 1, f"{error.filename or run.folder}: {error.strerror or error}"))

    def end(self, how: Ended) -> None:
        run, status, message = how
        del self.under_way[run]
        last = (run.last_lines() or [f"exit status {status}"])[-1].removeprefix("run.py: ")
        message = message or (f"{signal.strsignal(-status)} by a signal" if status < 0 else last)
        if status == 0:
            self.finished.add(run)
            self.screen.say(self.line(run, f"done  {last}"))
            try:
                self.done(run)
            except (OSError, RunError) as error:
                self.finished.discard(run)
                self.fail(Ended(run, 1, str(error)))
        elif self.stopping:
            pass
        elif status == REFUSED or run in self.again:
            self.fail(Ended(run, status, message))
        else:
            self.again.add(run)
            self.waiting.append(run)  # what made it fail, such as a full GPU, may be over by then
            self.screen.say(self.line(run, f"failed, is tried once more: {message}"))

    def fail(self, how: Ended) -> None:
        self.failed[how.run] = how
        self.screen.say(self.line(how.run, f"failed: {how.message}"))

    def line(self, run: Run, text: str) -> str:
        return f"{run.name:{self.width}}  {text}"

    def progress(self) -> list[str]:
        """A line for each run under way that has said something, and one for all."""
        lines = [self.line(run, text) for run in self.under_way if (text := run.progress())]
        left = self.count - len(self.finished) - len(self.failed) - len(lines)
        all_of_them = f"{len(self.finished)} of {self.count} done, {len(lines)} under way, {left} waiting, {len(self.failed)} failed"
        return [*lines, all_of_them]
