"""What a process needs before anything else is imported: a system that is served, packages, standard streams that exist and
take any text, signals that end it in a line, places for caches where there is no home. ``utils/__init__.py`` calls ``prepare``,
so every command begins with it. It imports the standard library alone, and an old Python reads it."""

from __future__ import annotations

import codecs
import contextlib
import errno
import importlib.util
import io
import os
import signal
import sys
import tempfile
import unicodedata
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any, NoReturn

SERVED = "runs on Linux, macOS and Windows' WSL (Windows Subsystem for Linux), not on Windows itself; start it in WSL"
ASCII = {"±": "+/-", "−": "-", "×": "x", "→": "->", "—": "-", "–": "-", "…": "...", "’": "'"}
PACKAGES = ("torch", "torchvision", "numpy", "PIL", "yaml", "tqdm", "matplotlib", "sklearn")  # as they are imported


def prepare() -> None:
    """All of it; a second call changes nothing. Exits with status 2 where the system is not served or a package is missing."""
    name = program()
    if sys.argv[:1] == ["-m"] or name == "run.py":  # a command; what only imports our code answers signals as it likes
        answer_signals(partial(end_process, name))
    require_served_system()
    require_packages()
    open_closed_streams()
    codecs.register_error("readable", readable)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if type(stream) is io.TextIOWrapper:  # not one that tests or notebooks have put there
            lasting = Lasting.instead_of(stream)
            setattr(sys, name, lasting)
            setattr(sys, f"__{name}__", lasting)
    find_caches()


def require_served_system() -> None:
    try:
        import fcntl  # noqa: F401
    except ImportError:
        served = False
    else:
        served = sys.platform not in ("win32", "cygwin")
    if not served:
        refuse(SERVED)


def require_packages() -> None:
    """That this is the Python which the packages are installed for, before an import fails."""
    if sys.version_info < (3, 10):  # noqa: UP036  (started with any Python)
        lacks = f"is Python {sys.version_info[0]}.{sys.version_info[1]}, and 3.10 or newer is needed"
    else:
        missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
        lacks = f"has no {', '.join(missing)}" if missing else ""
    if lacks:
        refuse(f"{sys.executable} {lacks}; use .venv/bin/python, which `sh install_requirements.sh` makes (leave PYTHON unset)")


def refuse(reason: str) -> NoReturn:
    print(f"{program()}: {reason}", file=sys.stderr)
    sys.exit(2)


def program() -> str:
    """What was started, as its lines name it: run.py, or the module after ``-m`` while the packages around it are imported."""
    words = getattr(sys, "orig_argv", ())  # from Python 3.10 on
    if sys.argv[:1] == ["-m"] and "-m" in words:
        return words[words.index("-m") + 1]
    name = os.path.basename(sys.argv[0]) if sys.argv else ""
    return name if name.endswith(".py") else "this program"


def answer_signals(answer: Callable[[int, FrameType | None], Any] | signal.Handlers) -> None:
    """SIGINT, which is Ctrl-C, and SIGTERM. A shell starts what is in the background with SIGINT ignored: it stays so."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, answer)


def end_process(name: str, number: int, frame: FrameType | None) -> NoReturn:
    """While modules are imported, some of which turn an exception into another."""
    with contextlib.suppress(OSError):
        os.write(2, f"{name}: stopped before any work\n".encode())
    os._exit(128 + number)


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """KeyboardInterrupt for SIGTERM too; a second signal ends the process at once."""
    answer_signals(signal.SIG_DFL)
    raise KeyboardInterrupt(number)


def status_of(stopped: KeyboardInterrupt) -> int:
    """What a shell expects of a process that this signal ended: 130 or 143."""
    return 128 + (stopped.args[0] if stopped.args else signal.SIGINT)


def run_command(name: str, main: Callable[[], int]) -> int:
    """The exit status of a command; where Ctrl-C or SIGTERM stops it, it closes what it has open and says so in a line."""
    answer_signals(interrupt)
    try:
        return main()
    except KeyboardInterrupt as stopped:
        print(f"{name}: stopped", file=sys.stderr)
        return status_of(stopped)
    finally:
        answer_signals(signal.SIG_DFL)


def open_closed_streams() -> None:
    """Cron jobs and daemons may have no standard streams. Their numbers would go to the next files that are opened, and what is
    printed into these; they lead to nowhere instead, also in processes that this one starts."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest number that is free: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))


def readable(error: UnicodeError) -> tuple[str, int]:
    """An error handler of encodings: what a terminal cannot show, in ASCII; ± as +/-, é as e, anything else as its number."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    shown = ""
    for character in error.object[error.start : error.end]:
        plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
        shown += ASCII.get(character) or plain or character.encode("ascii", "backslashreplace").decode()
    return shown, error.end


class Lasting(io.TextIOWrapper):
    """A standard stream that no text is too odd for, and whose loss ends nothing: when the terminal is closed, nobody reads the
    pipe any more or the disk is full, the rest goes nowhere.

    Attributes:
        loss: the error that lost text; None where nobody was there to read it.
    """

    loss: OSError | None = None

    @classmethod
    def instead_of(cls, stream: io.TextIOWrapper) -> Lasting:
        encoding, line_buffering, write_through = stream.encoding, stream.line_buffering, stream.write_through
        return cls(stream.detach(), encoding, "readable", line_buffering=line_buffering, write_through=write_through)

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self.lose(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self.lose(error)

    def lose(self, error: OSError) -> None:
        if error.errno not in (errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO):
            self.loss = self.loss or error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


def finish(name: str) -> int:
    """The exit status of a command whose output is its result: 1, and a line, where a full disk took a part of it."""
    sys.stdout.flush()
    loss = getattr(sys.stdout, "loss", None)
    if loss:
        print(f"{name}: stdout: {loss.strerror}; a part of the output is lost", file=sys.stderr)
        return 1
    return 0


def find_caches() -> None:
    """Where there is no home that can be written, matplotlib's cache has a place of its own, or it would warn in every process."""
    home = os.path.expanduser("~")
    if {"MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"} & os.environ.keys() or home != "~" and os.access(home, os.W_OK):
        return
    folder = os.path.join(tempfile.gettempdir(), f"matplotlib-{os.getuid()}")
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    except OSError:
        return
    if os.stat(folder).st_uid == os.getuid():
        os.environ["MPLCONFIGDIR"] = folder
