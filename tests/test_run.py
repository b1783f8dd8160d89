"""run.py as a user starts it."""

import dataclasses
import os
import resource
import signal
import subprocess
import sys

import pytest
import torch
import yaml

import run
from dataloaders.datasets import DATASETS
from dataloaders.sets.imagenet import ilsvrc, published_order
from utils.reports.tables import accuracy_table
from utils.training.step import TrainingStep


@pytest.fixture
def main(monkeypatch, capsys):
    """run.py in this process: main(flag, ...) -> (exit status, lines of stderr)."""
    def start(*arguments):
        monkeypatch.setattr(sys, "argv", ["run.py", *map(str, arguments)])
        status = run.main()
        return status, capsys.readouterr().err.splitlines()

    return start


# In one process from the command line to the results


def test_a_command_ends_with_its_final_accuracy(run_py, tiny, tmp_path):
    done = run_py(*tiny("NormalNN", "--log_dir", tmp_path / "run"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith("final accuracy: ")
    assert done.stdout == (tmp_path / "run" / "output.log").read_text()


def test_a_wrong_flag_ends_with_one_line(run_py, tmp_path):
    done = run_py("--lr", "fast")
    assert done.returncode == 2
    assert done.stdout == ""
    line, = done.stderr.splitlines()
    assert line.startswith("run.py: --lr")
    assert not list(tmp_path.iterdir())


def test_help_ends_well(run_py):
    done = run_py("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "--learner_name" in done.stdout


@pytest.mark.parametrize(("name", "moments"), [
    ("NormalNN", ["task 1/2  learn  epoch 1/2", "task 1/2  accuracy"]),
    ("AlwaysBeDreaming", ["task 1/2  learn  epoch 2/2", "task 2/2  dream  round 1/1", "task 2/2  learn  epoch 1/2"]),
])
def test_a_killed_run_ends_like_an_undisturbed_one(finished, lasting, tiny, environment, root, tmp_path, name, moments):
    command = [sys.executable, str(root / "run.py"), *tiny(name, "--log_dir", tmp_path)]
    for moment in moments:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert any(moment in line for line in process.stdout), process.stderr.read()
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert "resuming: repeat 1/1" in done.stdout
    assert lasting(tmp_path) == lasting(finished(name))


# The benchmarks, in their official folder layouts


def accuracies(folder):
    return yaml.safe_load((folder / "results-acc" / "global.yaml").read_text())


TINYIMAGENET = "--dataset TinyImageNet --incomplete_data 1 --gen_model_name TINYIMNET_GEN --train_aug --batch_size 4 --power_iters 2".split()
IMAGENET = (
    "--dataset ImageNet --incomplete_data 1 --model_name resnet18 --gen_model_name IMNET_GEN --train_aug --batch_size 2 --power_iters 2 "
    "--no_figures").split()


@pytest.mark.parametrize(("learner", "more"), [("NormalNN", ("--repeat", 2, "--schedule", 15)), ("AlwaysBeDreaming", ("--schedule", 5))])
def test_tinyimagenet_runs_to_its_final_accuracy(main, tiny, tinyimagenet, tmp_path, learner, more):
    assert main(*tiny(learner, *TINYIMAGENET, "--dataroot", tinyimagenet, "--log_dir", tmp_path, *more)) == (0, [])
    *_, last = (tmp_path / "output.log").read_text().splitlines()
    assert last.startswith("final accuracy: ") and "top" not in last
    results = accuracies(tmp_path)
    assert list(results) == ["mean", "std", "history"]
    assert results["mean"][0] > 60  # each class has a colour of its own, and the first task has two classes
    assert 0 < results["mean"][1] < 100


@pytest.mark.parametrize(("learner", "workers"), [("NormalNN", 0), ("NormalNN", 2), ("AlwaysBeDreaming", 0)])
def test_imagenet_runs_to_its_final_accuracy_which_is_top_5(main, tiny, imagenet, tmp_path, learner, workers):
    flags = tiny(learner, *IMAGENET, "--dataroot", imagenet, "--log_dir", tmp_path, "--workers", workers, "--schedule", 1)
    assert main(*flags) == (0, [])
    assert accuracies(tmp_path) == {"mean": [100.0] * 2, "std": [0.0] * 2, "history": [[100.0]] * 2, "top_k": 5}  # of four classes
    lines = (tmp_path / "output.log").read_text().splitlines()
    assert lines[-1] == "final accuracy: 100.0 % (top-5) over 1 repeat"
    assert sum("accuracy 100.0 % (top-5)" in line for line in lines) == 2


@pytest.mark.parametrize("name", ["TinyImageNet", "ImageNet"])
def test_an_incomplete_data_set_is_refused_before_work_and_named_where_it_is_used(main, tiny, tinyimagenet, imagenet, tmp_path, name):
    """The fixtures have a few images a class. The first refusal leaves nothing behind."""
    data = [*TINYIMAGENET, "--dataroot", tinyimagenet] if name == "TinyImageNet" else [*IMAGENET, "--dataroot", imagenet]
    flags = tiny("NormalNN", *data, "--log_dir", tmp_path / "run", "--schedule", 1)
    status, (line,) = main(*flags, "--incomplete_data", 0)
    assert status == 2
    assert "is not the complete data set" in line and f"and {397 if name == 'TinyImageNet' else 97} more classes" in line
    assert "--incomplete_data 1" in line
    assert not (tmp_path / "run").exists()
    assert main(*flags) == (0, [])
    lines = (tmp_path / "run" / "output.log").read_text().splitlines()
    assert any("is not the complete data set" in line and "--incomplete_data 1" in line for line in lines)
    assert any(line.startswith("data:     incomplete") for line in lines)
    assert yaml.safe_load((tmp_path / "run" / "args.yaml").read_text())["incomplete_data"] == 1
    assert accuracy_table([tmp_path / "run"]).splitlines()[1].startswith("run, incomplete data ")
    assert main(*flags, "--incomplete_data", 0)[0] == 2


def test_a_list_of_classes_is_recorded_and_another_one_is_another_run(main, tiny, imagenet, tmp_path):
    path, chosen = tmp_path / "classes.txt", [ilsvrc()[label] for label in published_order()[10:14]]
    path.write_text("\n".join(chosen))
    flags = [*IMAGENET, "--dataroot", imagenet, "--imagenet_classes", path, "--schedule", 1]
    assert main(*tiny("NormalNN", *flags, "--log_dir", tmp_path / "run", "--max_task", 1)) == (0, [])
    assert yaml.safe_load((tmp_path / "run" / "args.yaml").read_text())["imagenet_classes"] == chosen
    assert accuracy_table([tmp_path / "run"]).splitlines()[1].startswith("run, incomplete data, 4 named classes ")
    assert any("ignored" in line for line in (tmp_path / "run" / "output.log").read_text().splitlines())

    other = ["--log_dir", tmp_path / "other", "--load_model_dir", tmp_path / "run"]
    assert main(*tiny("NormalNN", *flags, *other)) == (0, [])  # whose first task is the same
    path.write_text("\n".join(reversed(chosen)))
    status, (line,) = main(*tiny("NormalNN", *flags, "--log_dir", tmp_path / "run", "--max_task", 1))
    assert status == 2
    assert "holds a run of other settings (imagenet_classes " in line
    status, (line,) = main(*tiny("NormalNN", *flags, *other, "--overwrite", 1))
    assert status == 2
    assert "--load_model_dir" in line and "imagenet_classes" in line

    path.unlink()  # the run itself has the list
    assert main("--config", tmp_path / "run" / "args.yaml", "--log_dir", tmp_path / "again") == (0, [])
    assert accuracies(tmp_path / "again") == accuracies(tmp_path / "run")


def test_class_folders_that_a_run_of_imagenet_lacks_are_named(main, tiny, write_imagenet, tmp_path):
    write_imagenet(tmp_path, {f"n{label:08}": label for label in range(4)})  # four, but not the published ones
    status, (line,) = main(*tiny("NormalNN", *IMAGENET, "--dataroot", tmp_path, "--log_dir", tmp_path / "run"))
    assert status == 2
    assert "no folder for 50 of the 50 classes of this run" in line
    assert not (tmp_path / "run").exists()


def test_a_file_that_cannot_be_decoded_in_the_middle_fails_in_one_line(main, tiny, write_imagenet, tmp_path):
    classes = {f"n{label:08}": label for label in range(4)}
    write_imagenet(tmp_path, classes)
    damaged = sorted((tmp_path / "ilsvrc" / "val" / "n00000001").iterdir())[1]
    damaged.write_bytes(damaged.read_bytes()[:400])
    for workers in (0, 1):
        flags = [*IMAGENET, "--dataroot", tmp_path, "--log_dir", tmp_path / f"run{workers}", "--workers", workers, "--schedule", 1]
        flags = tiny("NormalNN", *flags, "--imagenet_classes", *classes)
        status, lines = main(*flags)
        assert (status, len(lines)) == (1, 1)
        assert lines[0].startswith(f"run.py: --dataroot: {damaged} cannot be decoded")


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
def test_a_signal_stops_a_run_with_a_line_that_says_how_to_go_on(running, trainer, finished, lasting, tmp_path, number, status):
    process = running()
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status
    first, line = errors.splitlines()
    assert "stopping" in first
    for part in (f"stopped by {number.name}", str(tmp_path / "run" / "checkpoint.pt"), "repeat 1, task 1, stage 1, 1 epochs done", "same command"):
        assert part in line
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

    monkeypatch.setattr("utils.training.device.visible_gpus", lambda: 1)
    monkeypatch.setattr("utils.training.device.small_operation", fail)
    status, (line,) = main(*tiny("NormalNN", "--gpuid", 0, "--log_dir", tmp_path / "run"))
    assert status == 2
    assert line.startswith("run.py: --gpuid 0: cuda:0: CUDA error: no kernel image") and "torch wheel" in line
    assert not (tmp_path / "run" / "args.yaml").exists()


def test_a_card_that_torch_cannot_use_is_one_line_and_status_2(main, tiny, tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("utils.training.device.unusable_gpu", lambda: "the driver is too old")
    for gpuid in (0, 5):
        assert main(*tiny("NormalNN", "--gpuid", gpuid, "--log_dir", tmp_path / "run")) == (2, [f"run.py: --gpuid {gpuid}: the driver is too old"])
    assert not (tmp_path / "run").exists()


def test_a_run_without_a_card_says_so_in_the_log_and_the_terminal(monkeypatch, tiny, tmp_path, capsys):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("utils.training.device.unusable_gpu", lambda: "")
    monkeypatch.setattr(sys, "argv", ["run.py", *tiny("NormalNN", "--gpuid", 0, "--schedule", 1, "--max_task", 1, "--log_dir", tmp_path)])
    assert run.main() == 0
    line, = (line for line in (tmp_path / "output.log").read_text().splitlines() if "no NVIDIA GPU was found" in line)
    assert f"{line}\n" in capsys.readouterr().out


def test_threads_are_chosen_recorded_and_kept(monkeypatch, tiny, tmp_path):
    """Resumed by the same command on a machine of another size, a run computes with as many as before."""
    used = []
    monkeypatch.setattr(torch, "set_num_threads", used.append)
    flags = tiny("NormalNN", "--threads", 0, "--schedule", 1, "--max_task", 1, "--log_dir", tmp_path)
    for cores in (3, 1):
        monkeypatch.setattr("utils.training.checkpoint.default_threads", lambda processes, cores=cores: cores)
        monkeypatch.setattr(sys, "argv", ["run.py", *flags])
        assert run.main() == 0
        assert used[-1] == 3
        assert yaml.safe_load((tmp_path / "args.yaml").read_text())["threads"] == 3


def test_a_folder_in_use_is_one_line_and_status_2(running, main, tiny, tmp_path):
    process = running("--schedule", 1000)
    status, (line,) = main(*tiny("NormalNN", "--log_dir", tmp_path / "run"))
    process.kill()
    process.communicate()
    assert status == 2
    assert f"in use by pid {process.pid}" in line


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


def test_threads_of_the_environment_change_nothing(tiny, environment, root, lasting, finished, tmp_path):
    flags = tiny("NormalNN", "--log_dir", tmp_path / "run")
    done = subprocess.run(
        [sys.executable, str(root / "run.py"), *flags], env={**environment, "OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "3"},
        capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert lasting(tmp_path / "run") == lasting(finished("NormalNN"))


def test_a_progress_bar_changes_nothing(monkeypatch, trainer, lasting, finished, tmp_path):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    trainer(tmp_path, "NormalNN").run()
    assert lasting(tmp_path) == lasting(finished("NormalNN"))


# Errors, in this process


@pytest.mark.parametrize(("flags", "named"), [
    (("--nonsense", 1), "--nonsense"),
    (("--learner_name", "Nobody"), "Nobody"),
    (("--batch_size", 5000), "--batch_size 5000"),
    (("--first_split_size", 11), "--first_split_size 11"),
    (("--task_sizes", 8, 3), "--task_sizes"),
    (("--config", "nowhere.yaml"), "nowhere.yaml"),
    (("--load_model_dir", "nowhere"), "--load_model_dir nowhere"),
    (("--dataset", "TinyImageNet", "--dataroot", "nowhere"), "--dataroot nowhere"),
    (("--dataset", "ImageNet", "--dataroot", "nowhere"), "--dataroot nowhere"),
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
