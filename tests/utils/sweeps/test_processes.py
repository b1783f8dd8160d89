import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from utils.sweeps import processes

HOLD = """
import fcntl, pathlib, sys
file = pathlib.Path(sys.argv[1]).open("w")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds tmp_path / "run.lock" until its stdin ends."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "run.lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_run_begins_when_the_lock_is_free(holder, monkeypatch, tmp_path):
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        holder.communicate()

    monkeypatch.setattr(processes.time, "sleep", sleep)
    command = [sys.executable, "-c", "import os; print(os.getcwd()); raise SystemExit(3)"]
    assert processes.run_when_unlocked(command, tmp_path / "folder" / "console.log", tmp_path / "run.lock", tmp_path) == 3
    assert len(slept) == 1
    assert (tmp_path / "folder" / "console.log").read_text() == f"{tmp_path}\n"


def test_a_lock_that_stays_is_waited_for_no_longer_than_patience(holder, monkeypatch, tmp_path):
    monkeypatch.setattr(processes, "PATIENCE", 0.0)
    processes.wait_for_lock(tmp_path / "run.lock")
    assert holder.poll() is None


def gone(pid):
    """Whether the process ends within ten seconds."""
    for _ in range(200):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
def test_a_process_dies_with_its_parent(root, tmp_path):
    code = (f"import pathlib, sys; sys.path.insert(0, {str(root)!r}); from utils.sweeps.processes import start_process\n"
            f"process = start_process([sys.executable, '-c', 'import time; time.sleep(60)'], pathlib.Path({str(tmp_path / 'console.log')!r}))\n"
            "print(process.pid, flush=True); process.wait()")
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    os.kill(child, 0)
    parent.kill()
    parent.communicate()
    assert gone(child)
