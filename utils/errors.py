"""How a command ends: errors that are one line instead of a traceback, signals, standard streams."""

import argparse
import codecs
import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn


class UserError(Exception):
    """Refused before any work. The message names the flag, file or field at fault and the remedy."""

    status = 2


class RunError(Exception):
    """Ends a run that had begun, as a full disk does. The message says how to go on."""

    status = 1


class Stopped(Exception):
    """A signal asked the run to stop; the message says how to resume it.

    Attributes:
        status: what a shell expects of a process that this signal ended: 130 for SIGINT, 143 for SIGTERM.
    """

    def __init__(self, received: signal.Signals, message: str):
        super().__init__(message)
        self.status = 128 + received


class Parser(argparse.ArgumentParser):
    """Raises UserError if the flags are wrong."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} ({self.prog} --help lists all flags)")


class StopRequest:
    """While open, notes the first SIGTERM (Slurm) or SIGINT (Ctrl-C), so that a run can stop between two
    steps. A second Ctrl-C ends the process at once.

    Args:
        program: named in the line that acknowledges the signal.

    Attributes:
        signal: the one received; None until then.
    """

    def __init__(self, program: str = "run.py") -> None:
        self.program = program
        self.signal: signal.Signals | None = None

    def __enter__(self) -> "StopRequest":
        self.before = answer_signals(self.note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def note(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        if signal.SIGINT in self.before:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        with contextlib.suppress(OSError):  # print is not safe here: the signal may have interrupted one
            os.write(2, f"{self.program}: stopping after the current step; Ctrl-C stops at once\n".encode())


def answer_signals(handler: Any) -> dict[int, Any]:
    """Install a handler of SIGINT and SIGTERM and return the ones before. A background job ignores SIGINT; it
    stays so, and so does what Python cannot put back: a host program's handler in C, or any from a thread."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    numbers = (signal.SIGINT, signal.SIGTERM)
    heard = [number for number in numbers if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    return {number: signal.signal(number, handler) for number in heard}


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """Raise KeyboardInterrupt, for SIGTERM too; a second signal ends the process at once."""
    answer_signals(signal.SIG_DFL)
    raise KeyboardInterrupt(number)


def prepare_streams() -> None:
    """Let closed standard streams (cron jobs) lead to /dev/null, and others replace characters they lack."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:  # else the next file that is opened gets this number, and what is printed
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w" if number else "r"))
    codecs.register_error("readable", readable)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="readable")


def readable(error: Any) -> tuple[str, int]:
    """Handle a UnicodeEncodeError: ± becomes +/-, any other character a question mark."""
    text = error.object[error.start : error.end].replace("±", "+/-")
    return text.encode("ascii", "replace").decode(), error.end


def out_of_memory(error: BaseException) -> bool:
    """Whether a device or the host has no memory left; torch raises several classes."""
    known = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return known or isinstance(error, RuntimeError) and any(
        text in str(error) for text in ("out of memory", "can't allocate memory", "ALLOC_FAILED"))


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its class if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].strip().rstrip(".")


def run_main(name: str, main: Callable[[], int | None]) -> int:
    """Run a command's ``main`` and return its exit status. An error that a user can cause becomes one line on
    stderr; any other is a defect and keeps its traceback.

    Args:
        name: begins the line, such as "run.py".
    """
    answer_signals(interrupt)
    prepare_streams()
    message = ""
    try:
        status = main() or 0
        sys.stdout.flush()
    except (UserError, RunError, Stopped) as error:
        message, status = str(error), error.status
    except KeyboardInterrupt as error:
        message, status = "stopped", 128 + (error.args[0] if error.args else signal.SIGINT)
    except BrokenPipeError:  # `| head` has read enough
        status = 0
    except (OSError, MemoryError, RuntimeError) as error:
        if getattr(error, "errno", None) not in (errno.ENOSPC, errno.EDQUOT) and not out_of_memory(error):
            raise
        message, status = str(error) if isinstance(error, OSError) else first_line(error), 1
    finally:
        answer_signals(signal.SIG_DFL)
        for stream, text in ((sys.stdout, ""), (sys.stderr, f"{name}: {message}\n" if message else "")):
            try:
                stream.write(text)
                stream.flush()
            except OSError:  # nobody reads it, or the disk is full: Python must not try again as it exits
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return status
