"""SIGTERM and SIGINT, what Slurm and Ctrl-C send, which stop a run between two steps."""

import contextlib
import os
import signal
from types import FrameType


class Stopped(Exception):
    """A signal asked the run to stop; the message says how to resume it.

    Attributes:
        status: what a shell expects of a process that this signal ended: 130 or 143.
    """

    def __init__(self, received: signal.Signals, message: str):
        super().__init__(message)
        self.status = 128 + received


class StopRequest:
    """While open, the first SIGTERM or SIGINT is noted, and a second Ctrl-C ends the process at once.

    Args:
        program: named in the line that acknowledges it.

    Attributes:
        signal: the one noted; None until a signal comes.
    """

    def __init__(self, program: str = "run.py") -> None:
        self.program = program
        self.signal: signal.Signals | None = None

    def __enter__(self) -> "StopRequest":
        both = (signal.SIGTERM, signal.SIGINT)
        # A shell starts what is in the background with SIGINT ignored: it stays so.
        self.before = {number: signal.getsignal(number) for number in both if signal.getsignal(number) is not signal.SIG_IGN}
        for number in self.before:
            signal.signal(number, self.note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def note(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        if signal.SIGINT in self.before:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        with contextlib.suppress(OSError):  # not print, which the signal may have interrupted
            os.write(2, f"{self.program}: stopping after the step under way; Ctrl-C stops at once\n".encode())
