"""Sweeps. Only the last test starts Ray; the others use a pool of threads."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from learners import REGISTRY
from utils import sweep
from utils.command_line import parse
from utils.errors import StopRequest, UserError
from utils.sweep import planned, recorded_calls, work

FLAGS = "--dataset Digits --first_split_size 2 --other_split_size 2 --gpuid 0"


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Writes a script in a folder with a space: script(text) -> path."""
    monkeypatch.chdir(tmp_path)

    def write(text, name="a script.sh"):
        path = tmp_path / name
        path.write_text(f"set -e\nP='{FLAGS}'\n{text}\n")
        return path

    return write


def runs_of(*calls, grid=()):
    """Name, seed, repeat and source of the runs of command lines."""
    runs = planned([f"{FLAGS} {call}".split() for call in calls], dict(grid))
    for flags, settings in runs:
        assert parse(REGISTRY, flags) == settings
    return [(s.log_dir, s.seed, s.repeat, s.load_model_dir) for _, s in runs]


def test_the_calls_are_those_of_the_script_and_nothing_is_run(script, tmp_path):
    path = script("echo run.py\n$PYTHON run.py $P --log_dir 'a b' \"$@\"\n$PYTHON -m utils.reports.tables x")
    assert recorded_calls(path, ["--mu", "a b"]) == [
        ["run.py", *FLAGS.split(), "--log_dir", "a b", "--mu", "a b"], ["-m", "utils.reports.tables", "x"]]
    assert [path.name for path in tmp_path.iterdir()] == ["a script.sh"]


def test_repeats_are_runs_of_one_seed_each_and_takers_of_a_first_task_come_last():
    lwf = "--load_model_dir base --log_dir lwf"
    assert runs_of("--seed 4 --repeat 2 --log_dir base", f"--seed 4 --repeat 2 {lwf}", f"--seed 5 {lwf}-5",
                   "--log_dir c", "--log_dir c --gpuid 0") == [
        ("base/seed-4", 4, 1, ""), ("base/seed-5", 5, 1, ""), ("c", 0, 1, ""),
        *((f"lwf{own}", int(own[-1]), 1, f"base/seed-{own[-1]}") for own in ("/seed-4", "/seed-5", "-5"))]


def test_a_run_begun_with_all_repeats_in_one_folder_continues_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "args.yaml").touch()
    assert runs_of("--repeat 2 --log_dir base", "--repeat 2 --load_model_dir base --log_dir lwf") == [
        ("base", 0, 2, ""), ("lwf", 0, 2, "base")]


def test_a_grid_is_a_run_for_each_combination_and_seed_with_sources_of_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    grid = {"lr": ["0.1", "1e-2"], "schedule": ["1 2"]}
    assert runs_of("--log_dir base", "--load_model_dir base --log_dir lwf", grid=grid) == [
        (f"{name}/lr={lr},schedule=1 2", 0, 1, f"{source}/lr={lr},schedule=1 2" * bool(source))
        for name, source in (("base", ""), ("lwf", "base")) for lr in ("0.1", "1e-2")]
    assert [name for name, *_ in runs_of("--log_dir a --repeat 2", grid={"mu": ["1", "2"]})] == [
        "a/mu=1/seed-0", "a/mu=1/seed-1", "a/mu=2/seed-0", "a/mu=2/seed-1"]


@pytest.mark.parametrize(("text", "words", "message"), [
    ("$PYTHON run.py --lr fast", [], "--lr: 'fast'"),
    ("$PYTHON run.py --log_dir a\n$PYTHON run.py --log_dir a --mu 3", [], "--log_dir a: two runs have it"),
    ("echo 'it broke' >&2; false", [], "a script.sh: ends with status 1: it broke"),
    ("$PYTHON run.py $P", ["--grid", "moo=1,2"], "--moo"),
    ("$PYTHON run.py $P", ["--only", "2"], "--only 2: takes 1 to 1")])
def test_a_wrong_sweep_is_refused_before_any_run(script, text, words, message):
    with pytest.raises(UserError, match=message):
        sweep.main([str(script(text)), *words])


def test_the_list_is_numbered_and_only_runs_one_in_this_process(capfd, environment, root, tmp_path):
    command = ["--grid", "mu=1,2", "--seeds", "1", "--", *FLAGS.split(), "--load_model_dir", "none"]
    assert sweep.main(["--list", *command]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line[:18] for line in lines] == ["  1  python run.py", "  2  python run.py"]
    assert lines[1].endswith("--mu 2 --log_dir outputs/search/mu=2")
    done = subprocess.run(
        [sys.executable, "-m", "utils.sweep", "--only", "2", *command], cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(root)}, capture_output=True, text=True)
    line, = done.stderr.splitlines()
    assert done.returncode == 2 and line.startswith("run.py: --load_model_dir none: ")


class Threads:
    """As much of Ray as a sweep calls, on a pool of threads. It runs lines of Python instead of run.py."""

    def __init__(self):
        self.pool, self.cancelled = ThreadPoolExecutor(2), []

    def nodes(self):
        return [{"Alive": True, "Resources": {"CPU": 2}}]

    def remote(self, **options):
        def start(attempt, command, *arguments):
            values = [one.result() if isinstance(one, Future) else one for one in arguments]
            return attempt([command[0], "-c", f"import os, sys, time\n{command[2]}"], *values)

        def task(attempt):
            attempt.remote = lambda *arguments: self.pool.submit(start, attempt, *arguments)
            return attempt

        return task

    def wait(self, tasks, timeout, num_returns=1):
        return list(wait(tasks, timeout, return_when="FIRST_COMPLETED").done), []

    def get(self, task):
        return task.result()

    def cancel(self, task):
        self.cancelled.append(task)


@pytest.fixture
def worked(tmp_path, monkeypatch):
    """Run lines of Python: worked({name: line}, {name: source}) -> number of those that finished."""
    monkeypatch.chdir(tmp_path)

    def run(lines, sources=None, ray=None, stop_request=None):
        settings = [parse(REGISTRY, ["--log_dir", name]) for name in lines]
        for one in settings:
            one.load_model_dir = (sources or {}).get(one.log_dir, "")
        return work([*zip([[line] for line in lines.values()], settings)], ray or Threads(), 2,
                    stop_request or StopRequest())

    return run


def test_what_fails_is_tried_again_and_what_is_refused_or_needs_it_is_not(worked, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert worked({
        "good": "time.sleep(0.3); print('final accuracy: 9'); open('left', 'w')",
        "taker": "os.remove('left')",
        "fails": "print('run.py: the disk is full'); sys.exit(1)",
        "killed": "os.kill(os.getpid(), 9)",
        "refused": "open('tries', 'a').write('1'); print('run.py: --lr: wrong'); sys.exit(2)",
        "second": "there = os.path.exists('there'); open('there', 'w'); sys.exit(not there)",
        "file": "", "lost": "open('lost', 'w')",
    }, {"taker": "good", "lost": "refused"}) == 3
    assert {"good  done: final accuracy: 9", "taker  done: exit status 0", "fails  failed: the disk is full",
            "killed  failed: exit status -9", "refused  failed: --lr: wrong", "second  done: exit status 0",
            "lost  failed: exit status 2"} < {*capsys.readouterr().out.splitlines()}
    assert (tmp_path / "tries").read_text() == "1" and not (tmp_path / "lost" / "console.log").exists()


def test_a_terminal_shows_the_last_line_with_the_time_left(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr(sweep.shutil, "get_terminal_size", lambda: os.terminal_size((40, 24)))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "console.log").write_text(
            f"repeat 1/1  task 1/2  {name}  epoch 1/2  lr 0.1  0.5 s  (12 min left)\n")
    drawn = sweep.show(["one", "two", "waits"], 0)
    assert (drawn, sweep.show([], drawn)) == (2, 0)
    lines, after = capsys.readouterr().err.split("\x1b[2A\x1b[J")
    assert [(line[:5], line[-13:], len(line)) for line in lines.splitlines()] == [
        (f"{name}  ", "(12 min left)", 39) for name in ("one", "two")]
    assert after == ""


@pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="Ray is not installed")
def test_a_stopped_search_ends_its_runs_and_resumes_to_the_same_bytes(
        tiny, lasting, finished, environment, root, tmp_path):
    flags = [*tiny("NormalNN", "--max_task", 4), "--log_dir", "out"]
    command = [sys.executable, "-m", "utils.sweep", "--grid", "mu=0.1", "--seeds", "2", "--runs_per_gpu", "2",
               "--", *flags]
    more = {**environment, "PYTHONPATH": str(root), "CUDA_VISIBLE_DEVICES": ""}
    first = subprocess.Popen(
        command, env=more, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    runs = [tmp_path / "out" / "mu=0.1" / f"seed-{seed}" for seed in (0, 1)]
    consoles = [run / "console.log" for run in runs]
    while not all(console.exists() and "epoch 1/" in console.read_text() for console in consoles):
        assert first.poll() is None
        time.sleep(0.05)
    first.send_signal(signal.SIGTERM)
    out, errors = first.communicate(timeout=120)
    assert (first.returncode, out) == (143, "0 of 2 runs done\n")
    assert errors.splitlines()[-1] == "experiments/sweep.sh: stopped; the same command resumes the sweep"
    assert all("run.py: stopped by SIGTERM" in console.read_text() for console in consoles)
    done = subprocess.run(command, env=more, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "2 of 2 runs done\n" in done.stdout
    assert "Digits, 4 x 2 classes, top-1 accuracy" in done.stdout.partition("2 of 2 runs done\n")[2]
    assert all("resuming: " in console.read_text() for console in consoles)
    assert lasting(Path(runs[0])) == lasting(finished("NormalNN", "--max_task", 4))
