"""Locks of folders, and what stands in for them where a file system has none."""

import errno
import fcntl
import json
import os
import subprocess
import sys
import time

import pytest

from utils import locks
from utils.locks import FRESH, HEARTBEAT, FolderLock, Heartbeat, Locked, is_locked, this_process

HOLD = """
import fcntl, os, pathlib, sys
def none(*_): raise OSError(int(sys.argv[2]), "no locks here")
if sys.argv[2] != "0": fcntl.lockf = none
from utils.locks import FolderLock
lock = FolderLock(pathlib.Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""
NONE = [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL]


@pytest.fixture
def lockless(monkeypatch):
    """A file system without locks: lockless(errno)."""

    def none(number=errno.ENOLCK):
        def fail(*_):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(fcntl, "lockf", fail)

    return none


@pytest.fixture
def holding(root, tmp_path):
    """Another process that holds tmp_path until its stdin ends: holding(errno of its locks, 0 for a file system that has them)."""
    processes = []

    def hold(number=0):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, tmp_path / "run.lock", str(number)], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout.readline() == "locked\n"
        return process

    yield hold
    for process in processes:
        process.kill()
        process.communicate()


def says(path, age=0.0, **changes):
    """A file as another process leaves it."""
    path.write_text(json.dumps({**this_process(), "pid": os.getpid() + 1, "time": time.time() - age, **changes}))


def test_a_lock_needs_no_heartbeat(tmp_path):
    mine = FolderLock(tmp_path / "run.lock")
    assert (mine.missing, mine.heartbeat) == ("", None)
    assert [path.name for path in tmp_path.iterdir()] == ["run.lock"]
    mine.check()


def test_another_processes_lock_is_refused(holding, tmp_path):
    process = holding()
    with pytest.raises(Locked, match=f"pid {process.pid} on "):
        FolderLock(tmp_path / "run.lock")
    assert is_locked(tmp_path / "run.lock")
    process.communicate()
    assert not is_locked(tmp_path / "run.lock")
    FolderLock(tmp_path / "run.lock")


@pytest.mark.parametrize("number", NONE)
def test_a_file_system_without_locks_is_no_obstacle(lockless, tmp_path, number):
    lockless(number)
    mine = FolderLock(tmp_path / "run.lock")
    assert mine.missing == os.strerror(number)
    assert json.loads((tmp_path / HEARTBEAT).read_text())["pid"] == os.getpid()
    mine.check()
    assert not is_locked(tmp_path / "run.lock")
    again = FolderLock(tmp_path / "run.lock")  # as with a lock, a process may take its folder twice
    for one in (mine, again):
        one.heartbeat.stop()
    assert not (tmp_path / HEARTBEAT).exists()


@pytest.mark.parametrize("number", NONE)
def test_without_locks_another_processes_fresh_folder_is_refused(lockless, holding, tmp_path, number):
    process = holding(number)
    lockless(number)
    with pytest.raises(Locked, match=f"pid {process.pid} on "):
        FolderLock(tmp_path / "run.lock")
    assert is_locked(tmp_path / "run.lock")
    process.communicate()  # ends well, and gives the folder back
    assert not (tmp_path / HEARTBEAT).exists()
    assert not is_locked(tmp_path / "run.lock")


def test_without_locks_the_folder_of_a_killed_process_of_this_host_is_free_at_once(lockless, holding, tmp_path):
    process = holding(errno.ENOSYS)
    process.kill()
    process.wait()
    assert (tmp_path / HEARTBEAT).exists()
    lockless()
    assert not is_locked(tmp_path / "run.lock")
    FolderLock(tmp_path / "run.lock").heartbeat.stop()


@pytest.mark.parametrize(("changes", "lives"), [
    ({"pid": 1}, True), ({"pid": 1, "age": FRESH + 1}, False),
    ({"host": "elsewhere", "pid": 2**22 + 5}, True), ({"host": "elsewhere", "age": FRESH + 1}, False),
    ({"namespace": "pid:[1]", "pid": 2**22 + 5}, True),  # another container of this name: its pids say nothing here
    ({"pid": 2**22 + 5}, False)])
def test_of_this_host_the_process_must_live_and_of_any_its_sign_be_fresh(tmp_path, changes, lives):
    says(tmp_path / "x", **changes)
    assert bool(Heartbeat(tmp_path / "x").other()) == lives


def test_a_fresh_sign_of_a_host_without_locks_counts_where_there_are_some(tmp_path):
    """Hosts may have mounted one file system in different ways."""
    (tmp_path / "run.lock").touch()
    says(tmp_path / HEARTBEAT, host="elsewhere")
    assert is_locked(tmp_path / "run.lock")
    with pytest.raises(Locked, match="on elsewhere"):
        FolderLock(tmp_path / "run.lock")
    says(tmp_path / HEARTBEAT, host="elsewhere", age=FRESH + 1)
    assert not is_locked(tmp_path / "run.lock")
    FolderLock(tmp_path / "run.lock")


@pytest.mark.parametrize("changes", [{"pid": 2**70}, {"pid": float("inf")}, {"time": float("nan"), "host": "elsewhere"}])
def test_numbers_that_no_run_writes_hold_nothing(tmp_path, changes):
    says(tmp_path / "x", **changes)
    assert Heartbeat(tmp_path / "x").other() == ""


@pytest.mark.parametrize("text", ["", "{",
    pytest.param("[" * 100_000, id="deep"), "[]", "{}", '{"pid": "a", "host": 1, "namespace": "", "time": "b"}'])
def test_a_file_of_no_run_holds_nothing(tmp_path, text):
    (tmp_path / "x").write_text(text)
    assert Heartbeat(tmp_path / "x").other() == ""


def test_the_sign_of_life_is_renewed(monkeypatch, tmp_path):
    monkeypatch.setattr(locks, "BEAT", 0.02)
    heartbeat = Heartbeat(tmp_path / "x")
    heartbeat.start()
    first = json.loads((tmp_path / "x").read_text())["time"]
    for _ in range(500):
        if json.loads((tmp_path / "x").read_text())["time"] > first:
            break
        time.sleep(0.02)
    else:
        raise AssertionError("never renewed")
    heartbeat.stop()


def test_a_process_that_was_taken_for_dead_writes_nothing_more(lockless, tmp_path):
    """Suspended for so long that another one took its folder."""
    lockless()
    mine = FolderLock(tmp_path / "run.lock")
    says(tmp_path / HEARTBEAT, host="elsewhere")
    with pytest.raises(OSError, match=f"in use by pid {os.getpid() + 1} on elsewhere"):
        mine.check()
    mine.heartbeat.stop()
    assert (tmp_path / HEARTBEAT).exists()  # the other's
