"""Sweeps. Only the last two tests start Ray; the others use a pool of threads."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from learners import REGISTRY
from utils import sweep
from utils.command_line import parse
from utils.errors import StopRequest, UserError
from utils.sweep import Run, Sweep, planned

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


def test_the_runs_are_those_of_the_script_and_nothing_is_run(script, tmp_path):
    runs, others = planned([script(
        "echo run.py --log_dir nothing\n$PYTHON run.py $P --log_dir 'a run' --lr 0.2\n"
        "$PYTHON run.py $P --load_model_dir ./x/../'a run' --log_dir b\npython3 -c 'import this'\n"
        "$PYTHON run.py $P --log_dir c\n$PYTHON -m utils.reports.tables 'a run' b")])
    assert [run.name for run in runs] == ["a run", "c", "b"]
    assert [run.after for run in runs] == [None, None, runs[0]]
    assert runs[0].arguments == [*FLAGS.split(), "--log_dir", "a run", "--lr", "0.2"]
    assert others == [["-c", "import this"], ["-m", "utils.reports.tables", "a run", "b"]]
    assert [path.name for path in tmp_path.iterdir()] == ["a script.sh"]


def test_repeats_are_runs_of_one_seed_each(script):
    call, lwf = "$PYTHON run.py $P --seed", "--load_model_dir base --log_dir lwf"
    lines = f"{call} 4 --repeat 2 --log_dir base", f"{call} 4 --repeat 2 {lwf}", f"{call} 5 {lwf}-5"
    runs, _ = planned([script("\n".join(lines))])
    assert [run.name for run in runs] == ["base/seed-4", "base/seed-5", "lwf/seed-4", "lwf/seed-5", "lwf-5"]
    assert [run.after for run in runs] == [None, None, *runs[:2], runs[1]]
    for run in runs:
        settings = parse(REGISTRY, run.arguments)
        assert (settings.log_dir, settings.repeat) == (run.name, 1)
        assert settings.seed == run.settings.seed
        assert settings.load_model_dir == (run.after.name if run.after else "")
    assert [run.settings.seed for run in runs] == [4, 5, 4, 5, 5]


def test_a_run_begun_with_all_repeats_in_one_folder_continues_there(script, tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "args.yaml").touch()
    call = "$PYTHON run.py $P --repeat 2"
    runs, _ = planned([script(f"{call} --log_dir base\n{call} --load_model_dir base --log_dir lwf")])
    assert [(run.name, run.settings.repeat) for run in runs] == [("base", 2), ("lwf", 2)]
    assert runs[1].after is runs[0] and "--load_model_dir" not in runs[1].arguments[-2:]


def test_a_run_of_two_scripts_is_one_unless_its_settings_differ(script):
    line = "$PYTHON run.py $P --log_dir shared"
    first = script(f"{line} --lr 0.2")
    second = script(f"{line} --lr 2e-1 --gpuid 1\n$PYTHON run.py $P --log_dir own", "second.sh")
    assert [run.name for run in planned([first, second])[0]] == ["shared", "own"]
    with pytest.raises(UserError, match="--log_dir shared: another run of this sweep has it"):
        planned([first, script(line, "third.sh")])


@pytest.mark.parametrize(("text", "message"), [
    ("$PYTHON run.py --lr fast", "--lr: 'fast'"),
    ("echo nothing", "a script.sh: starts no run"),
    ("$PYTHON run.py $P --log_dir a --overwrite 1", "--log_dir a: --overwrite 1 would delete"),
    ("echo 'it broke' >&2; false", "a script.sh: ends with status 1: it broke")])
def test_a_wrong_script_is_refused(script, text, message):
    with pytest.raises(UserError, match=message):
        planned([script(text)])


def test_the_published_columns_share_the_upper_bound(root, monkeypatch):
    monkeypatch.chdir(root)
    runs, others = planned([root / "experiments" / f"cifar100-{name}task.sh" for name in ("five", "ten")])
    assert len({run.name for run in runs}) == len(runs) == 3 * 23
    assert sum(run.after is not None for run in runs) == 3 * 10
    assert others == [["-m", "utils.reports.tables", "outputs"]]


def test_the_list_is_numbered_and_only_runs_one_in_this_process(script, capfd, environment, root):
    flags = f"{FLAGS} --log_dir a", f"{FLAGS} --log_dir 'b c' --load_model_dir none"
    path = str(script("\n".join(f"$PYTHON run.py {line}" for line in flags)))
    assert sweep.main([path, "--list"]) == 0
    assert capfd.readouterr().out == f"  1  python run.py {flags[0]}\n  2  python run.py {flags[1]}\n"
    with pytest.raises(UserError, match="--only 3: takes 1 to 2"):
        sweep.main([path, "--only", "3"])
    command = [sys.executable, "-m", "utils.sweep", path, "--only", "2"]
    environment = {**environment, "PYTHONPATH": str(root)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    line, = done.stderr.splitlines()
    assert line.startswith("run.py: --load_model_dir none: ")


class Threads:
    """As much of Ray as a sweep calls, on a pool of threads."""

    def __init__(self, count=2):
        self.pool, self.cancelled = ThreadPoolExecutor(count), []

    def nodes(self):
        return [{"Alive": True, "Resources": {"CPU": 2}}]

    def remote(self, **options):
        return lambda function: Task(self.pool, function)

    def wait(self, tasks, timeout):
        return list(wait(tasks, timeout, return_when="FIRST_COMPLETED").done), []

    def get(self, task):
        return task.result()

    def cancel(self, task):
        self.cancelled.append(task)


class Task:
    def __init__(self, pool, function):
        self.pool, self.function = pool, function

    def remote(self, command, *arguments):
        return self.pool.submit(self.function, [command[0], "-c", *command[2:]], *arguments)  # without run.py


@pytest.fixture
def sweep_of(tmp_path, monkeypatch):
    """A sweep of lines of Python instead of run.py: sweep_of({name: line}, {name: name of its source})."""
    monkeypatch.chdir(tmp_path)

    def build(lines, after=None, ray=None):
        settings = parse(REGISTRY, [])
        runs = {name: Run(name, [f"import os, sys\n{line}"], settings) for name, line in lines.items()}
        for name, other in (after or {}).items():
            runs[name].after = runs[other]
        return Sweep(list(runs.values()), ray or Threads(), 2, local=True)

    return build


def states(of):
    return {run.name: (run.state, run.attempts) for run in of.runs}


def test_what_fails_is_tried_once_more_and_what_is_refused_is_not(sweep_of, capsys):
    runs = sweep_of({
        "good": "print('final accuracy: 9')",
        "fails": "print('run.py: the disk is full'); sys.exit(1)",
        "killed": "os.kill(os.getpid(), 9)",
        "refused": "print('run.py: --lr: wrong'); sys.exit(2)",
        "second": "there = os.path.exists('there'); open('there', 'w'); sys.exit(not there)"})
    runs.work(StopRequest())
    assert states(runs) == {
        "good": ("done", 1), "fails": ("failed", 2), "killed": ("failed", 2), "refused": ("failed", 1),
        "second": ("done", 2)}
    out = capsys.readouterr().out.splitlines()
    assert {"good  done: final accuracy: 9", "fails  failed, will be tried once more: the disk is full",
            "fails  failed: the disk is full", "killed  failed: exit status -9",
            "refused  failed: --lr: wrong"} <= {*out}
    assert runs.summary() == "2 of 5 runs done, 3 failed"


def test_a_run_waits_for_the_one_whose_first_task_it_takes_and_fails_with_it(sweep_of):
    left = "import time; time.sleep(0.3); open('left', 'w')"
    lines = {"source": left, "taker": "os.remove('left')", "bad": "sys.exit(2)", "lost": "", "last": ""}
    runs = sweep_of(lines, {"taker": "source", "lost": "bad", "last": "lost"})
    runs.work(StopRequest())
    assert states(runs) == {
        "source": ("done", 1), "taker": ("done", 1), "bad": ("failed", 1), "lost": ("failed", 0),
        "last": ("failed", 0)}


def test_a_folder_that_cannot_be_made_fails_its_run_alone(sweep_of, tmp_path):
    (tmp_path / "file").write_text("")
    runs = sweep_of({"file": "", "good": ""})
    runs.work(StopRequest())
    assert {name: state for name, (state, _) in states(runs).items()} == {"file": "failed", "good": "done"}


def test_after_a_signal_runs_under_way_are_cancelled_and_no_other_begins(sweep_of):
    stop_request, ray = StopRequest(), Threads()
    ray.wait = lambda tasks, timeout: (setattr(stop_request, "signal", signal.SIGTERM), ([], []))[1]
    runs = sweep_of({"first": "print('run.py: stopped')", "next": ""}, {"next": "first"}, ray)
    runs.work(stop_request)
    assert states(runs) == {"first": ("started", 1), "next": ("waiting", 0)} and len(ray.cancelled) == 1


def test_a_terminal_shows_the_last_line_with_the_time_left(sweep_of, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr(sweep.shutil, "get_terminal_size", lambda: os.terminal_size((40, 24)))
    runs = sweep_of({"one": "", "two": ""})
    for run in runs.runs:
        (tmp_path / run.name).mkdir()
        (tmp_path / run.name / "console.log").write_text("an attempt before\n")
        runs.started[run.name], run.begun = run, 18
    with (tmp_path / "one" / "console.log").open("a") as file:
        file.write("repeat 1/1  task 1/2  learn  epoch 1/2  lr 0.1  0.5 s  (12 min left)\n")
    runs.show()
    runs.show()
    first, again = capsys.readouterr().err.split("\x1b[2A\x1b[J")
    line, summary = first.splitlines()
    assert (first, summary) == (again, "0 of 2 runs done, 0 failed")
    assert (line[:5], line[-13:], len(line)) == ("one  ", "(12 min left)", 39)


@pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="Ray is not installed")
def test_a_stopped_sweep_ends_its_runs_and_resumes_to_the_same_bytes(
        script, tiny, lasting, finished, environment, root, tmp_path):
    path = script("")
    words = " ".join(tiny("NormalNN", "--max_task", 4))
    table = "$PYTHON -m utils.reports.tables out/seed-0"
    path.write_text(f"set -e\n$PYTHON run.py {words} --repeat 2 --log_dir out\n{table}")
    command = [sys.executable, "-m", "utils.sweep", path, "--runs_per_gpu", "2", "--gpuid", "-1"]
    more = {**environment, "PYTHONPATH": str(root)}
    first = subprocess.Popen(command, env=more, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    consoles = [tmp_path / "out" / f"seed-{seed}" / "console.log" for seed in (0, 1)]
    while not all(console.exists() and "epoch 1/" in console.read_text() for console in consoles):
        assert first.poll() is None
        time.sleep(0.05)
    first.terminate()
    out, errors = first.communicate(timeout=120)
    assert (first.returncode, out) == (143, "0 of 2 runs done, 0 failed\n")
    assert errors.splitlines()[-1] == "experiments/sweep.sh: stopped; the same command resumes the sweep"
    assert all("run.py: stopped by SIGTERM" in console.read_text() for console in consoles)
    done = subprocess.run(command, env=more, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 of 2 runs done, 0 failed\nDigits, 4 x 2 classes, top-1 accuracy" in done.stdout
    assert all("resuming: " in console.read_text() for console in consoles)
    assert lasting(Path("out/seed-0")) == lasting(finished("NormalNN", "--max_task", 4))


@pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="Ray is not installed")
def test_no_cluster_is_one_line(script):
    with pytest.raises(UserError, match="--address 127.0.0.1:1: no Ray cluster can be joined .*refused"):
        sweep.main([str(script("$PYTHON run.py $P --log_dir a")), "--address", "127.0.0.1:1"])
