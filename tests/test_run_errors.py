"""run.py ends in one line for whatever fails."""

import dataclasses
import os
import resource
import subprocess
import sys

import pytest
import torch

import run
from dataloaders.datasets import DATASETS
from tests.test_run_data import IMAGENET
from utils.training.step import TrainingStep


@pytest.mark.parametrize("moment", ["decode", "step"])
def test_a_worker_that_dies_is_one_line_and_status_1(main, tiny, imagenet, tmp_path, monkeypatch, moment):
    """While it is waited for, and while the run computes: torch says so wherever the run is."""
    if moment == "decode":
        monkeypatch.setattr("dataloaders.image_files.decode", lambda path: os._exit(1))
    else:
        def died(*_):
            raise RuntimeError("DataLoader worker (pid 1234) is killed by signal: Killed. ")

        monkeypatch.setattr("utils.training.step.TrainingStep.run", died)
    flags = tiny("NormalNN", *IMAGENET, "--dataroot", imagenet, "--log_dir", tmp_path / "run", "--workers", 2, "--schedule", 1)
    status, (line,) = main(*flags)
    assert status == 1
    assert line.startswith("run.py: --workers 2: DataLoader worker (pid") and "--shm-size" in line and "the same command" in line


@pytest.mark.parametrize(("error", "named"), [
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), "smaller --batch_size"),
    (torch.AcceleratorError("CUDA error: unspecified launch failure\nmore"), "was lost")])
def test_a_gpu_that_fails_on_the_way_is_one_line_and_status_1(main, tiny, finished, lasting, tmp_path, monkeypatch, error, named):
    """A pretended operation; what was finished before stays, and the same command resumes."""
    run_step, steps = TrainingStep.run, []

    def fail(self, start):
        steps.append(None)
        if len(steps) == 8:
            raise error
        return run_step(self, start)

    flags = tiny("NormalNN", "--log_dir", tmp_path / "run")
    with monkeypatch.context() as patched:
        patched.setattr(TrainingStep, "run", fail)
        status, (line,) = main(*flags)
    assert status == 1
    assert line.startswith("run.py: cpu: CUDA") and named in line and "the same command resumes it from" in line
    assert main(*flags) == (0, [])
    assert lasting(tmp_path / "run") == lasting(finished("NormalNN"))


def test_a_card_that_computes_nothing_is_one_line_and_status_2(main, tiny, tmp_path, monkeypatch):
    def fail(device):
        raise torch.AcceleratorError("CUDA error: no kernel image is available for execution on the device\nmore")

    monkeypatch.setattr("utils.device.visible_gpus", lambda: 1)
    monkeypatch.setattr("utils.device.small_operation", fail)
    status, (line,) = main(*tiny("NormalNN", "--gpuid", 0, "--log_dir", tmp_path / "run"))
    assert status == 2
    assert line.startswith("run.py: --gpuid 0: cuda:0: CUDA error: no kernel image") and "torch wheel" in line
    assert not (tmp_path / "run" / "args.yaml").exists()


def test_a_card_that_torch_cannot_use_is_one_line_and_status_2(main, tiny, tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("utils.device.unusable_gpu", lambda: "the driver is too old")
    for gpuid in (0, 5):
        assert main(*tiny("NormalNN", "--gpuid", gpuid, "--log_dir", tmp_path / "run")) == (2, [f"run.py: --gpuid {gpuid}: the driver is too old"])
    assert not (tmp_path / "run").exists()


def test_a_disk_that_takes_no_more_is_one_line_and_status_1(tiny, trainer, finished, lasting, root, environment, tmp_path):
    """A limit on the size of files, between that of the first checkpoint and that of one with the optimiser's state."""
    done = subprocess.run(
        [sys.executable, str(root / "run.py"), *tiny("NormalNN", "--log_dir", tmp_path / "run")],
        env=environment, capture_output=True, text=True, timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (800_000, resource.RLIM_INFINITY)))
    assert done.returncode == 1, done.stderr
    line, = done.stderr.splitlines()
    assert "File too large" in line and "the same command resumes it from" in line
    assert (tmp_path / "run" / "checkpoint.pt").exists()
    trainer(tmp_path / "run", "NormalNN").run()
    assert lasting(tmp_path / "run") == lasting(finished("NormalNN"))


@pytest.mark.parametrize(("flags", "named"), [
    (("--nonsense", 1), "--nonsense"),
    (("--learner_name", "Nobody"), "Nobody"),
    (("--batch_size", 5000), "--batch_size 5000"),
    (("--first_split_size", 11), "--first_split_size 11"),
    (("--task_sizes", 8, 3), "--task_sizes"),
    (("--config", "nowhere.yaml"), "nowhere.yaml"),
    (("--load_model_dir", "nowhere"), "--load_model_dir nowhere"),
    (("--dataset", "TinyImageNet", "--dataroot", "nowhere"), "--dataroot: there is no nowhere/"),
    (("--dataset", "ImageNet", "--dataroot", "nowhere"), "--dataroot: nowhere/"),
])
def test_wrong_input_is_one_line_and_status_2(main, tiny, tmp_path, flags, named):
    status, lines = main(*tiny("NormalNN", "--log_dir", tmp_path / "run", *flags))
    assert (status, len(lines)) == (2, 1)
    assert lines[0].startswith("run.py: ")
    assert named in lines[0]
    assert not (tmp_path / "run" / "models").exists()


def test_a_folder_under_a_file_is_one_line_and_status_2(main, tiny, tmp_path):
    (tmp_path / "file").write_text("")
    status, (line,) = main(*tiny("NormalNN", "--log_dir", tmp_path / "file" / "run"))
    assert status == 2
    assert "--log_dir" in line


def test_a_damaged_checkpoint_is_one_line_with_the_remedy(main, tiny, tmp_path):
    (tmp_path / "args.yaml").write_text("no_figures: false\n")
    (tmp_path / "checkpoint.pt").write_bytes(b"not a checkpoint")
    status, (line,) = main(*tiny("NormalNN", "--log_dir", tmp_path))
    assert status == 2
    assert "--overwrite 1" in line


def test_an_interrupt_before_the_run_is_one_line(main, tiny, tmp_path, monkeypatch):
    def interrupt(root):
        raise KeyboardInterrupt

    monkeypatch.setitem(DATASETS, "Digits", dataclasses.replace(DATASETS["Digits"], read=interrupt))
    assert main(*tiny("NormalNN", "--log_dir", tmp_path / "run")) == (130, ["run.py: stopped before any work"])
    assert not (tmp_path / "run").exists()


def test_a_defect_of_the_program_is_not_dressed_up_as_the_users(main, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(run.Trainer, "run", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(*tiny("NormalNN", "--log_dir", tmp_path))
