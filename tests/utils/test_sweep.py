"""Sweeps. Ray is started once."""

import os
import signal
import sys
import threading
import time

import pytest

from learners import REGISTRY
from utils import sweep
from utils.command_line import parse
from utils.errors import Stopped, StopRequest, UserError
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
    runs = planned([f"{FLAGS} {call}".split() for call in calls], grid)
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
    grid = [["lr=0.1", "lr=1e-2"], ["schedule=1 2"]]
    assert runs_of("--log_dir base", "--load_model_dir base --log_dir lwf", grid=grid) == [
        (f"{name}/lr={lr},schedule=1 2", 0, 1, f"{source}/lr={lr},schedule=1 2" * bool(source))
        for name, source in (("base", ""), ("lwf", "base")) for lr in ("0.1", "1e-2")]
    assert [name for name, *_ in runs_of("--log_dir a --repeat 2", grid=[["mu=1", "mu=2"]])] == [
        "a/mu=1/seed-0", "a/mu=1/seed-1", "a/mu=2/seed-0", "a/mu=2/seed-1"]


@pytest.mark.parametrize(("text", "words", "message"), [
    ("$PYTHON run.py --lr fast", [], "--lr: 'fast'"),
    ("$PYTHON run.py --log_dir a\n$PYTHON run.py --log_dir a --mu 3", [], "--log_dir a: two runs have it"),
    ("echo 'it broke' >&2; false", [], "a script.sh: ends with status 1: it broke"),
    ("$PYTHON run.py $P", ["--grid", "moo=1,2"], "--moo"), ("", ["--grid"], "--grid mu=0.05,0.1"),
    ("", ["--grid", "mu"], "--grid 'mu': give a setting and its values"),
    ("$PYTHON run.py $P", ["--only", "2"], "--only 2: takes 1 to 1")])
def test_a_wrong_sweep_is_refused_before_any_run(script, text, words, message):
    with pytest.raises(UserError, match=message):
        sweep.main([str(script(text)), *words])


def test_the_list_is_numbered_and_only_runs_one_in_this_process(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text("lr: 1")
    command = ["--grid", "mu=1,2", "--seeds", "1", "--", *FLAGS.split()]
    assert sweep.main(["--list", *command]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:18] for line in lines] == ["  1  python run.py", "  2  python run.py"]
    assert "--log_dir outputs/search/mu=2 " in lines[1] and lines[1].endswith(" --mu 2")
    repeated = f"{FLAGS} --config=a.yaml --mu 1 --DW --config b.yaml --mu 3".split()
    assert sweep.main(["--list", "--", *repeated]) == 0
    assert capsys.readouterr().out == (
        "  1  python run.py --config a.yaml b.yaml --log_dir outputs/search --dataset Digits "
        "--first_split_size 2 --other_split_size 2 --gpuid 0 --mu 3 --DW\n")
    monkeypatch.setattr(os, "execv", lambda program, words: sys.exit(" ".join(words)))
    with pytest.raises(SystemExit, match="run.py.* --log_dir outputs/search/mu=2 .*--mu 2$"):
        sweep.main(["--only", "2", *command])


# With Ray


@pytest.fixture(scope="module")
def ray():
    pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("CUDA_VISIBLE_DEVICES", "")
        module = sweep.start_ray()
        yield module
        module.shutdown()


def test_what_fails_is_tried_again_and_what_is_refused_or_needs_it_is_not(ray, capsys, tmp_path, monkeypatch):
    """Lines of Python instead of run.py."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweep, "RUN", [sys.executable, "-c"])
    lines = {
        "good": "time.sleep(0.5); print('final accuracy: 9'); open('left', 'w')",
        "taker": "os.remove('left')",
        "fails": "print('run.py: the disk is full'); sys.exit(1)",
        "killed": "os.kill(os.getpid(), 9)",
        "refused": "open('tries', 'a').write('1'); print('run.py: --lr: wrong'); sys.exit(2)",
        "second": "there = os.path.exists('there'); open('there', 'w'); sys.exit(not there)",
        "file": "", "lost": "open('lost', 'w')"}
    (tmp_path / "file").write_text("")
    runs = {name: ([f"import os, sys, time\n{line}"], parse(REGISTRY, ["--log_dir", name]))
            for name, line in lines.items()}
    runs["taker"][1].load_model_dir, runs["lost"][1].load_model_dir = "good", "refused"
    assert work([*runs.values()], ray, 4, StopRequest()) == 3
    shown = [line.partition("/8  ")[2] for line in capsys.readouterr().out.splitlines()]
    assert {"good  done: final accuracy: 9", "taker  done: exit status 0", "fails  failed: the disk is full",
            "killed  failed: exit status -9", "refused  failed: --lr: wrong", "second  done: exit status 0",
            "lost  failed: --lr: wrong"} < {*shown} and len(shown) == 8
    assert (tmp_path / "tries").read_text() == "1" and not (tmp_path / "lost").is_dir()


def test_a_stopped_search_ends_its_runs_and_resumes_to_the_same_bytes(
        ray, tiny, lasting, finished, root, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(root))
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(sweep, "start_ray", lambda: ray)
    command = ["--grid", "mu=0.1", "--seeds", "2", "--runs_per_gpu", "2", "--"]
    command += [*tiny("NormalNN", "--max_task", 4), "--log_dir", "out"]
    consoles = [tmp_path / "out" / "mu=0.1" / f"seed-{seed}" / "console.log" for seed in (0, 1)]

    def stop():
        while not all(console.exists() and "epoch 1/" in console.read_text() for console in consoles):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop, daemon=True).start()
    with pytest.raises(Stopped, match="^stopped; the same command resumes the sweep$") as stopped:
        sweep.main(command)
    assert stopped.value.status == 143 and capfd.readouterr().out == "0 of 2 runs done\n"
    assert any("run.py: stopped by SIGTERM" in console.read_text() for console in consoles)
    assert sweep.main(command) == 0
    out, errors = capfd.readouterr()
    _, done, table = out.partition("2 of 2 runs done\n")
    assert done and "Digits, 4 x 2 classes, top-1 accuracy" in table + errors
    assert any("resuming: " in console.read_text() for console in consoles)
    assert lasting(consoles[0].parent) == lasting(finished("NormalNN", "--max_task", 4))


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
