"""A run as a process: started so that it dies with its parent. No torch here: on the nodes of a Ray cluster this is all that is loaded."""

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PATIENCE = 120.0  # seconds in which a lost node's process must have let go of a run's folder


def start_process(command: list[str], console: Path, cwd: Path | None = None) -> subprocess.Popen[bytes]:
    """A process that says all into a file, hears no Ctrl-C of the terminal and, on Linux, dies with this thread: a killed
    sweep leaves nothing behind that computes on."""
    console.parent.mkdir(parents=True, exist_ok=True)
    parent = os.getpid()
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

    def die_with_parent() -> None:
        if prctl:
            prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
            if os.getppid() != parent:  # it died before that
                os._exit(1)

    with console.open("ab") as output:
        return subprocess.Popen(
            command, env={**os.environ, "PYTHONIOENCODING": "utf-8"},
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=cwd, start_new_session=True,
            preexec_fn=die_with_parent)


def held(lock: Path) -> bool:
    """Whether another process holds it."""
    try:
        with lock.open("r+") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # there is none, or none that this one may open
        return False
    return False


def wait_for_lock(path: Path) -> None:
    """Until no process holds it any more, or PATIENCE is over: then the run itself says who does."""
    end = time.monotonic() + PATIENCE
    while held(path) and time.monotonic() < end:
        time.sleep(1)


def run_when_unlocked(command: list[str], console: Path, lock: Path, cwd: Path) -> int:
    """The exit status of a run, which a process that is about to die may still hold the folder of."""
    wait_for_lock(lock)
    process = start_process(command, console, cwd)
    try:
        return process.wait()
    finally:
        process.kill()
