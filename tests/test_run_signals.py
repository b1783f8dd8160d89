"""A run that is stopped by a signal, and one beside it."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from tests.test_run_data import IMAGENET

WITH_MORE_IN_A_STEP = """
import signal, sys, time, run
from utils.training.step import TrainingStep
step, numbers = TrainingStep.run, iter(range(1, 1000))
def other_step(self, start):
    number = next(numbers)
    {more}
    return step(self, start)
TrainingStep.run, sys.argv = other_step, ["run.py", *{flags}]
sys.exit(run.main())
"""
HANG = "print('under way', flush=True); time.sleep(600)"


@pytest.fixture
def running(tiny, environment, root, tmp_path):
    """run.py in tmp_path / "run", with a line of code at the beginning of each step, which knows its number: running(code) -> process."""
    processes = []

    def start(more):
        code = WITH_MORE_IN_A_STEP.format(more=more, flags=tiny("NormalNN", "--log_dir", tmp_path / "run"))
        # Whoever runs the tests in the background has SIGINT ignored, and children inherit that.
        processes.append(subprocess.Popen(
            [sys.executable, "-c", code], cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def until_under_way(process):
    assert any("under way" in line for line in process.stdout), process.stderr.read()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_a_run_with_a_line_that_says_how_to_resume(running, trainer, finished, lasting, tmp_path, number, status):
    process = running(f"number == 6 and signal.raise_signal({int(number)})")  # in the second epoch
    _, errors = process.communicate(timeout=120)
    assert process.returncode == status
    first, line = errors.splitlines()
    assert "stopping" in first
    for part in (f"stopped by {number.name}", str(tmp_path / "run" / "checkpoint.pt"), "same command"):
        assert part in line
    assert re.search(r"repeat 1, task 1, stage 1, [01] epochs done", line)  # a checkpoint is written where it is due
    trainer(tmp_path / "run", "NormalNN").run()
    assert lasting(tmp_path / "run") == lasting(finished("NormalNN"))


def test_a_second_interrupt_stops_at_once(running):
    process = running(HANG)
    until_under_way(process)
    process.send_signal(signal.SIGINT)
    assert "stopping" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (-signal.SIGINT, "")


@pytest.mark.parametrize("group", [True, False])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_run_with_workers_in_one_line(tiny, environment, imagenet, root, tmp_path, number, group):
    """Also if the workers get it too and end first, as from a job scheduler or a terminal."""
    flags = tiny("NormalNN", *IMAGENET, "--dataroot", imagenet, "--log_dir", tmp_path / "run", "--workers", 2, "--schedule", 1)
    code = (
        "import sys, time, run\nfrom dataloaders import image_files\ndecode = image_files.decode\n"
        "image_files.decode = lambda path: time.sleep(0.1) or decode(path)\n"
        "from utils.errors import run_main\n"
        f"sys.argv = ['run.py', *{flags!r}]; sys.exit(run_main('run.py', run.main))")
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True)
    assert any("2 tasks, on cpu" in line for line in process.stdout), process.stderr.read()
    time.sleep(0.5)
    (os.killpg if group else os.kill)(process.pid, number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + number, errors
    assert f"stopped by {number.name}" in errors and "Traceback" not in errors


def test_a_folder_in_use_is_one_line_and_status_2(running, main, tiny, tmp_path):
    process = running(HANG)
    until_under_way(process)
    status, (line,) = main(*tiny("NormalNN", "--log_dir", tmp_path / "run"))
    assert status == 2
    assert f"in use by pid {process.pid}" in line
