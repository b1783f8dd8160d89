"""How a command ends: errors that are one line instead of a traceback, signals, standard streams."""

import argparse
import contextlib
import difflib
import errno
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any, NoReturn


class UserError(Exception):
    """Refused before any work. The message names the flag, file or field at fault and the remedy."""

    status = 2


class RunError(Exception):
    """Ends a run that had begun, as a full disk does. The message says how to go on."""

    status = 1


class Stopped(Exception):
    """A signal asked the run to stop; the message says how to resume it."""

    def __init__(self, received: signal.Signals, message: str):
        super().__init__(message)
        self.status = status_of(received)


class Parser(argparse.ArgumentParser):
    """Raises UserError if the flags are wrong."""

    def print_help(self, file: Any = None) -> None:
        print(self.format_help(), end="", file=file)  # argparse's hides that the disk is full

    def error(self, message: str) -> NoReturn:
        wrong = message.partition("unrecognized arguments: ")[2].split()
        near = did_you_mean(wrong[0], self._option_string_actions) if wrong else ""
        raise UserError(message + (near or f" ({self.prog} --help lists all flags)"))


def did_you_mean(name: str, names: Iterable[str], meant: Callable[[str], str] = str) -> str:
    """The end of an error about a misspelt name; empty if none of the names is like it. ``meant`` translates
    a nickname."""
    known = {each.lower(): each for each in names}
    near = difflib.get_close_matches(name.lower(), known, 1)
    return f"; did you mean {meant(known[near[0]])}?" if near else ""


def answer_signals(handler: Any) -> dict[int, Any]:
    """Install a handler of the signals that stop a run, and return those before. Leave alone ignored signals
    and C handlers, which Python cannot restore; do nothing in a thread."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)  # the last is Slurm's warning
    heard = [number for number in numbers if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    return {number: signal.signal(number, handler) for number in heard}


def status_of(number: int) -> int:
    """The exit status after a signal: 130 for Ctrl-C, as a shell has it, and SIGTERM's 143 for all others."""
    return 130 if number == signal.SIGINT else 143


class StopRequest:
    """While open, notes the first signal in ``signal``, so that a run can stop between two steps, and says
    what will happen. A second Ctrl-C ends the process at once."""

    signal: Any = None

    def __init__(self, line: str = "run.py: stopping after the current step") -> None:
        self.line = f"{line}; Ctrl-C stops at once\n".encode()

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
            os.write(2, self.line)


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """Raise KeyboardInterrupt; a second signal ends the process at once."""
    answer_signals(signal.SIG_DFL)
    raise KeyboardInterrupt(status_of(number))


def prepare_streams() -> None:
    """Send closed standard streams (cron) to /dev/null; let others replace characters they cannot encode."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:  # the lowest free number is this one, which no other file must get
            os.set_inheritable(null := os.open(os.devnull, os.O_RDWR), True)
            setattr(sys, name, open(null, "w" if number else "r"))
        elif number and hasattr(getattr(sys, name), "reconfigure"):  # a notebook's cannot
            getattr(sys, name).reconfigure(errors="replace")


def out_of_memory(error: BaseException) -> bool:
    """Whether a device or the host has no memory left; torch raises several classes."""
    return isinstance(error, MemoryError) or isinstance(error, RuntimeError) and any(
        text in str(error) for text in ("out of memory", "can't allocate memory", "ALLOC_FAILED"))


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its class if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].strip().rstrip(".")


def run_main(name: str, main: Callable[[], int | None]) -> int:
    """Run a command's ``main`` and return its exit status. An error that a user can cause becomes one line on
    stderr, which begins with ``name``; any other is a defect and keeps its traceback."""
    answer_signals(interrupt)
    prepare_streams()
    os.environ.pop("MPLBACKEND", None)  # a notebook's, which this Python may lack; our figures are files
    warnings.filterwarnings("ignore", module=r"torch\.cuda")  # an old driver or card: our own line says so
    message, status = "", 0
    try:
        try:
            status = main() or 0
        except SystemExit as end:
            if end.code:  # not --help
                raise
        sys.stdout.flush()
    except (UserError, RunError, Stopped) as error:
        message, status = str(error), error.status
    except KeyboardInterrupt as error:
        message, status = "stopped", error.args[0] if error.args else 130
    except BrokenPipeError:  # `| head` has read enough
        pass
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
