"""run.py as a user starts it."""

import subprocess
import sys

import torch
import yaml

import run


def test_a_command_ends_with_its_final_accuracy(run_py, tiny, tmp_path):
    done = run_py(*tiny("NormalNN", "--no_figures", 0, "--log_dir", tmp_path / "run"))
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


def test_a_run_without_a_card_says_so_in_the_log_and_the_terminal(monkeypatch, tiny, tmp_path, capsys):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("utils.device.unusable_gpu", lambda: "")
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
        monkeypatch.setattr("utils.training.folder.default_threads", lambda processes, cores=cores: cores)
        monkeypatch.setattr(sys, "argv", ["run.py", *flags])
        assert run.main() == 0
        assert used[-1] == 3
        assert yaml.safe_load((tmp_path / "args.yaml").read_text())["threads"] == 3


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
