"""run.py as a user starts it."""

import signal
import subprocess
import sys

import pytest
import yaml

from utils.training.step import TrainingStep


def test_a_command_ends_with_its_final_accuracy_whatever_threads_the_environment_names(
        tiny, environment, root, lasting, finished, tmp_path):
    """From another folder, without figures and so without matplotlib."""
    flags = tiny("NormalNN", "--log_dir", tmp_path / "run")
    done = subprocess.run(
        [sys.executable, "-X", "importtime", root / "run.py", *flags], cwd=tmp_path, timeout=300,
        env={**environment, "OMP_NUM_THREADS": "3"}, capture_output=True, text=True)
    errors = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert (done.returncode, errors) == (0, [])
    imported = {line.split()[-1] for line in done.stderr.splitlines()}
    assert not imported & {"matplotlib", "tensorboard", "utils.reports.figures"}
    assert done.stdout.splitlines()[-1].startswith("final accuracy: ")
    assert done.stdout == (tmp_path / "run" / "output.log").read_text()
    assert lasting(tmp_path / "run") == lasting(finished("NormalNN"))


def test_a_run_without_a_gpu_says_so(main, monkeypatch, tiny, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr("utils.device.why_no_gpu", lambda: "torch finds none")
    more = ("--gpuid", 0, "--schedule", 1, "--max_task", 1, "--log_dir", tmp_path)
    assert main(*tiny("NormalNN", *more)) == (0, [])
    assert "torch finds none, so this runs on the CPU" in (tmp_path / "output.log").read_text()


def test_a_trial_on_a_few_images_of_each_class_is_marked_and_another_run(main, tiny, tmp_path):
    flags = tiny("NormalNN", "--schedule", 1, "--max_task", 1, "--log_dir", tmp_path)
    assert main(*flags, "--images_per_class", 40, "--validation") == (0, [])
    lines = (tmp_path / "output.log").read_text().splitlines()
    assert "--images_per_class 40: a trial, on only the first images of each class" in lines
    assert "% (validation, 40 images per class)" in lines[-1]
    assert yaml.safe_load((tmp_path / "results-acc" / "global.yaml").read_text())["images_per_class"] == 40
    status, (line,) = main(*flags, "--validation")
    assert status == 2 and "(images_per_class 40 there, 0 here)" in line


# In one line


@pytest.mark.parametrize(("flags", "named"), [
    (("--batch_size", 5000), "--batch_size 5000"), (("--gpuid", 7), "--gpuid 7"),
    (("--load_model_dir", "nowhere"), "--load_model_dir"), (("--log_dir", __file__), "--log_dir"),
    (("--dataset", "ImageNet", "--dataroot", "no"), "--dataroot")])
def test_wrong_input_is_one_line_and_status_2(main, tiny, tmp_path, monkeypatch, flags, named):
    monkeypatch.chdir(tmp_path)
    status, (line,) = main(*tiny("NormalNN", "--log_dir", tmp_path / "run", *flags))
    assert status == 2 and line.startswith("run.py: ") and named in line
    assert not (tmp_path / "run").exists()  # a refused run leaves nothing


# Signals


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGUSR1, 143)])
def test_a_signal_stops_a_run_with_a_line_that_says_how_to_resume(
        main, tiny, tmp_path, monkeypatch, number, status):
    run_step, steps = TrainingStep.run, []

    def interrupted(self, start):
        steps.append(None)
        if len(steps) == 6:  # in the second epoch
            signal.raise_signal(number)
        return run_step(self, start)

    before = signal.signal(signal.SIGINT, signal.SIG_DFL)  # it is ignored if the tests are in the background
    monkeypatch.setattr(TrainingStep, "run", interrupted)
    ended, lines = main(*tiny("NormalNN", "--log_dir", tmp_path / "run"))
    signal.signal(signal.SIGINT, before)
    assert ended == status and len(steps) == 6 and len(lines) == 1
    stopped = f"stopped by {signal.Signals(number).name}; the same command"
    for part in (stopped, str(tmp_path / "run" / "checkpoint.pt")):
        assert part in lines[0]


HANGING = """
import sys, time, run
from utils.errors import run_main
from utils.training.step import TrainingStep
TrainingStep.run = lambda self, start: print("under way", flush=True) or time.sleep(600)
sys.exit(run_main("run.py", lambda: run.main({flags})))
"""


def test_a_second_run_in_the_folder_is_refused_and_a_second_interrupt_stops_at_once(
        main, tiny, environment, root, tmp_path):
    flags = tiny("NormalNN", "--log_dir", tmp_path / "run")
    # Whoever runs the tests in the background has SIGINT ignored, and children inherit that.
    process = subprocess.Popen(
        [sys.executable, "-c", HANGING.format(flags=flags)], cwd=root, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    try:
        assert any("under way" in line for line in process.stdout), process.stderr.read()
        status, (line,) = main(*flags)
        assert status == 2 and f"in use by pid {process.pid}" in line
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            line = process.stderr.readline()
        assert (process.wait(60), line) == (-signal.SIGINT, "")
    finally:
        process.kill()
        process.communicate()
