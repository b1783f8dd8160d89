"""What a process needs before anything else is imported: a system that is served, standard streams that exist and take any
text, places for caches where there is no home. ``utils/__init__.py`` calls ``prepare``, so every command begins with it."""

import codecs
import errno
import io
import os
import sys
import tempfile
import unicodedata

SERVED = "runs on Linux, macOS and Windows' WSL (Windows Subsystem for Linux), not on Windows itself; start it in WSL"
ASCII = {"±": "+/-", "−": "-", "×": "x", "→": "->", "—": "-", "–": "-", "…": "...", "’": "'"}


def prepare() -> None:
    """All of it; a second call changes nothing. Exits with status 2 where the system is not served."""
    require_served_system()
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
        program = os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0].endswith(".py") else "this program"
        print(f"{program}: {SERVED}", file=sys.stderr)
        sys.exit(2)


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
    def instead_of(cls, stream: io.TextIOWrapper) -> "Lasting":
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


def finish(program: str, status: int) -> int:
    """The exit status of a command whose output is its result: 1, and a line, where a full disk took a part of it."""
    sys.stdout.flush()
    loss = getattr(sys.stdout, "loss", None)
    if loss and not status:
        print(f"{program}: stdout: {loss.strerror}; a part of the output is lost", file=sys.stderr)
        return 1
    return status


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
