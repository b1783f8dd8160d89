"""A run that is stopped by a signal, and one beside it."""

import re
import signal
import subprocess
import sys

import pytest

from tests.test_run_data import IMAGENET


@pytest.fixture
def running(tiny, environment, root, tmp_path):
    """run.py under way in tmp_path / "run", its second epoch begun: running(flag, value, ...) -> process."""
    def start(*more):
        command = [sys.executable, str(root / "run.py"), *tiny("NormalNN", "--log_dir", tmp_path / "run", *more)]
        # Whoever runs the tests in the background has SIGINT ignored, and children inherit that.
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        assert any("epoch 1/" in line for line in process.stdout), process.stderr.read()
        return process

    return start


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_a_run_with_a_line_that_says_how_to_resume(running, trainer, finished, lasting, tmp_path, number, status):
    process = running()
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status
    first, line = errors.splitlines()
    assert "stopping" in first
    for part in (f"stopped by {number.name}", str(tmp_path / "run" / "checkpoint.pt"), "same command"):
        assert part in line
    assert re.search(r"repeat 1, task 1, stage 1, [01] epochs done", line)  # a checkpoint is written where it is due
    trainer(tmp_path / "run", "NormalNN").run()
    assert lasting(tmp_path / "run") == lasting(finished("NormalNN"))


def test_a_second_interrupt_stops_at_once(running):
    process = running("--batch_size", 270, "--model_name", "resnet32")  # a step of seconds
    process.send_signal(signal.SIGINT)
    assert "stopping" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (-signal.SIGINT, "")


def test_sigterm_ends_a_run_whose_workers_hang(tiny, environment, imagenet, root, tmp_path):
    flags = tiny("NormalNN", *IMAGENET, "--dataroot", imagenet, "--log_dir", tmp_path / "run", "--workers", 2, "--schedule", 1)
    code = (
        "import os, signal, sys, run\nfrom dataloaders import image_files\n"
        "image_files.decode = lambda path: os.kill(os.getpid(), signal.SIGSTOP)\n"
        f"sys.argv = ['run.py', *{flags!r}]; sys.exit(run.main())")
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert any("2 tasks, on cpu" in line for line in process.stdout), process.stderr.read()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 143, errors
    assert "stopped by SIGTERM" in errors and "Traceback" not in errors


def test_a_folder_in_use_is_one_line_and_status_2(running, main, tiny, tmp_path):
    process = running("--schedule", 1000)
    status, (line,) = main(*tiny("NormalNN", "--log_dir", tmp_path / "run"))
    process.kill()
    process.communicate()
    assert status == 2
    assert f"in use by pid {process.pid}" in line
