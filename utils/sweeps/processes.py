"""A run as a process: started so that it dies with its parent. No torch here: on the nodes of a Ray cluster this is all that is loaded."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from utils.locks import is_locked
from utils.threads import available_cores

PATIENCE = 120.0  # seconds in which a lost node's process must have let go of a run's folder


def start_process(command: list[str], console: Path, cwd: Path | None = None, threads: int = 0) -> subprocess.Popen[bytes]:
    """A process that says all into a file, hears no Ctrl-C of the terminal and, on Linux, dies with this thread: a killed
    sweep leaves nothing behind that computes on. Where it is to choose its CPU threads, it takes ``threads``."""
    console.parent.mkdir(parents=True, exist_ok=True)
    parent = os.getpid()
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

    def die_with_parent() -> None:
        if prctl:
            prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
            if os.getppid() != parent:  # it died before that
                os._exit(1)

    environment = {**os.environ, "PYTHONIOENCODING": "utf-8", **({"OMP_NUM_THREADS": str(threads)} if threads else {})}
    with console.open("ab") as output:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=cwd, start_new_session=True,
            env=environment, preexec_fn=die_with_parent)


def wait_for_lock(path: Path) -> None:
    """Until no process holds it any more, or PATIENCE is over: then the run itself says who does."""
    end = time.monotonic() + PATIENCE
    while is_locked(path) and time.monotonic() < end:
        time.sleep(1)


def run_when_unlocked(command: list[str], console: Path, lock: Path, cwd: Path, threads: int = 0) -> int:
    """The exit status of a run, which a process that is about to die may still hold the folder of."""
    wait_for_lock(lock)
    process = start_process(command, console, cwd, min(threads, available_cores()))
    try:
        return process.wait()
    finally:
        process.kill()
