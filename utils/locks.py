"""A folder is one process's at a time. No torch here: a node of a Ray cluster asks whether a run's folder is locked with nothing else loaded.

The system's record locks do it: network file systems have them across hosts, worker processes don't inherit them, and they end with
their process, whatever it dies of. Some file systems have none (Lustre mounted without them, some NFS). There the process writes to a
file every BEAT seconds that it is alive; a folder whose file is fresh and another process's is refused.
"""

import atexit
import errno
import fcntl
import json
import operator
import os
import platform
import threading
import time
from pathlib import Path
from typing import Any, TextIO

HEARTBEAT = "run.heartbeat"
BEAT, FRESH = 15.0, 100.0  # seconds: between two signs of life; after the last one the process counts as gone


class Locked(Exception):
    """The folder is another process's; the message says whose."""


def this_process() -> dict[str, Any]:
    """What tells a process from all others; in a container, pids are its own."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return {"pid": os.getpid(), "host": platform.node(), "namespace": namespace}


def lock_file(file: TextIO, wait: bool = False) -> str:
    """Lock a file that is open for writing, until its process ends. Returns why there is no lock where the file system has none.
    Raises BlockingIOError where another process has it."""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            raise BlockingIOError(error.errno, error.strerror) from error
        return error.strerror or str(error)
    return ""


class Heartbeat:
    """In place of a lock: this process's file in a folder, renewed by a thread until ``stop`` or the end of the process."""

    def __init__(self, path: Path):
        self.path = path
        self.me = this_process()
        self.stopped = threading.Event()

    def other(self) -> str:
        """Which other process lives, by its file; empty where none does."""
        try:
            owner = json.loads(self.path.read_text(encoding="utf-8"))
            holder, age = {name: owner[name] for name in self.me}, time.time() - float(owner["time"])
            pid = operator.index(owner["pid"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):  # there is none, or it is another program's
            return ""
        here = (holder["host"], holder["namespace"]) == (self.me["host"], self.me["namespace"])
        if holder == self.me or not age <= FRESH or here and not alive(pid):
            return ""
        return f"pid {pid} on {holder['host']}, alive {max(age, 0):.0f} s ago"

    def start(self) -> None:
        """Take the folder. Raises Locked; OSError where the file cannot be written."""
        if holder := self.other():
            raise Locked(holder)
        self.beat()
        threading.Thread(target=self.run, name="heartbeat", daemon=True).start()
        atexit.register(self.stop)

    def beat(self) -> None:
        partial = self.path.with_name(f"{self.path.name}.{self.me['pid']}")
        partial.write_text(json.dumps({**self.me, "time": time.time()}) + "\n", encoding="utf-8")
        os.replace(partial, self.path)

    def run(self) -> None:
        while not self.stopped.wait(BEAT):
            try:
                if self.other():  # of a process that took this one for dead
                    return
                self.beat()
            except OSError:  # a full disk, a folder that was deleted: whoever writes results there says so
                pass

    def check(self) -> None:
        """Raises OSError where another process has taken the folder since, as while this one was suspended."""
        if holder := self.other():
            raise OSError(errno.EBUSY, f"is in use by {holder}; this run was taken for dead", str(self.path.parent))

    def stop(self) -> None:
        """Give the folder back."""
        if not self.stopped.is_set() and self.me == this_process():  # a forked worker ends without
            self.stopped.set()
            try:
                if not self.other():
                    self.path.unlink(missing_ok=True)
            except OSError:
                pass


def alive(pid: int) -> bool:
    """Whether this host has a process of that number that has not ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OverflowError:  # no process has such a number
        return False
    except OSError:  # another user's
        pass
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (OSError, IndexError):
        return True


class FolderLock:
    """This process's until it ends or releases it. Raises Locked; OSError where the folder cannot be written.

    Attributes:
        missing: why there is no lock; empty where there is one.
    """

    def __init__(self, path: Path):
        self.heartbeat: Heartbeat | None = None
        self.file = path.open("a+", encoding="utf-8")
        try:
            self.missing = lock_file(self.file)
        except BlockingIOError:
            self.file.seek(0)
            raise Locked(" ".join(self.file.read(200).split()) or "another process") from None
        heartbeat = Heartbeat(path.with_name(HEARTBEAT))
        if self.missing:
            self.heartbeat = heartbeat
            self.heartbeat.start()
        elif holder := heartbeat.other():  # of a host that has the same file system without locks
            raise Locked(holder)
        self.file.truncate(0)
        self.file.write(f"pid {os.getpid()} on {platform.node()} since {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
        self.file.flush()

    def check(self) -> None:
        """Raises OSError where the folder is no longer this process's."""
        if self.heartbeat:
            self.heartbeat.check()

    def release(self) -> None:
        """Give the folder back before the process ends."""
        if self.heartbeat:
            self.heartbeat.stop()
        self.file.close()


def is_locked(path: Path) -> bool:
    """Whether another process has this lock."""
    try:
        with path.open("r+", encoding="utf-8") as file:
            lock_file(file)
    except BlockingIOError:
        return True
    except OSError:  # there is none, or none that this one may open
        return False
    return bool(Heartbeat(path.with_name(HEARTBEAT)).other())
