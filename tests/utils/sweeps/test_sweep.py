"""Runs side by side: with small programs in place of run.py, and once with the real ones."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from utils.errors import UserError
from utils.sweeps import sweep
from utils.sweeps.engines import Ended, Local, Run
from utils.sweeps.plan import Plan
from utils.sweeps.sweep import run_all
from utils.training import device
from utils.training.stop import Stopped, StopRequest


@dataclasses.dataclass(eq=False)
class Program(Run):
    """A line of Python in place of run.py's arguments; the device is the last of sys.argv."""

    def command(self, *more):
        return [sys.executable, "-c", *self.arguments, *more]


@pytest.fixture
def program(tmp_path):
    def build(name, code, after=None):
        return Program(name, [f"import os, pathlib, signal, sys, time\n{code}"], tmp_path / name, after=after)

    return build


def run(runs, engine=None, stop_request=None):
    """Exit statuses of those that failed, by name."""
    return {how.run.name: how.status for how in run_all(runs, engine or Local([-1], 2), stop_request or StopRequest())}


# Side by side


def test_as_many_as_allowed_on_each_device_and_no_more(program, tmp_path):
    class Watched(Local):
        most = 0

        def start(self, run):
            super().start(run)
            busy = [device for _, device in self.processes.values()]
            assert busy.count(3) <= 2 and busy.count(5) <= 2
            self.most = max(self.most, len(busy))

    runs = [program(f"run{number}", "time.sleep(0.4); print('on', sys.argv[-1])") for number in range(7)]
    engine = Watched([3, 5], 2)
    assert run(runs, engine) == {}
    assert engine.most == 4
    assert {one.console.read_text() for one in runs} == {"on 3\n", "on 5\n"}
    assert sorted(engine.places) == [3, 3, 5, 5]


def test_what_fails_is_tried_once_more_and_stops_no_other(program, capsys):
    runs = [
        program("good", "print('final accuracy: 9')"),
        program("fails", "print('run.py: the disk is full'); sys.exit(1)"),
        program("killed", "os.kill(os.getpid(), signal.SIGKILL)"),
        program("refused", "print('run.py: --lr: wrong'); sys.exit(2)"),
    ]
    assert run(runs) == {"fails": 1, "killed": -9, "refused": 2}
    lines = capsys.readouterr().out.splitlines()
    for part in ("good     done  final accuracy: 9", "fails    failed, is tried once more: the disk is full", "fails    failed: the disk is full",
                 "killed   failed: Killed by a signal", "refused  failed: --lr: wrong"):
        assert part in lines
    assert len(lines) == 6
    assert [one.console.read_text().count("\n") for one in runs] == [1, 2, 0, 1]


def test_a_second_try_may_do(program, tmp_path):
    again = program("again", f"path = pathlib.Path({str(tmp_path / 'there')!r}); there = path.exists(); path.touch(); sys.exit(not there)")
    assert run([again]) == {}


def test_a_folder_that_cannot_be_made_fails_its_run_alone(program, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run([program("file", "pass"), program("good", "pass")]) == {"file": 1}
    assert f"file  failed: {tmp_path / 'file'}" in capsys.readouterr().out


def test_a_run_waits_for_the_one_whose_first_task_it_takes(program, tmp_path):
    source = program("source", "time.sleep(0.5); pathlib.Path('FOLDER', 'left').touch()".replace("FOLDER", str(tmp_path)))
    taker = program("taker", f"sys.exit(not pathlib.Path({str(tmp_path)!r}, 'left').exists())", after=source)
    assert run([taker, source]) == {}


def test_a_run_fails_with_the_one_it_waits_for(program, capsys):
    source = program("source", "sys.exit(2)")
    taker = program("taker", "pass", after=source)
    assert run([taker, program("last", "pass", after=taker), source]) == {"source": 2, "taker": 2, "last": 2}
    assert "taker   failed: takes over the first task of source, which failed" in capsys.readouterr().out
    assert not taker.folder.exists()


def test_a_wish_to_stop_reaches_every_run_and_begins_no_other(program, tmp_path):
    stop_request = StopRequest()

    class Stopping(Local):
        def ended(self):
            if all((tmp_path / name / "ready").exists() for name in "ab"):
                stop_request.signal = signal.SIGTERM
            return super().ended()

    code = "def stop(*_): print('stopped'); sys.exit(143)\nsignal.signal(15, stop); pathlib.Path('READY').touch(); time.sleep(60)"
    runs = [program(name, code.replace("READY", str(tmp_path / name / "ready"))) for name in "abc"]
    with pytest.raises(Stopped, match="stopped by SIGTERM, 0 of 3 runs are done; the same command resumes them"):
        run(runs, Stopping([-1], 2), stop_request)
    assert [one.console.read_text() for one in runs[:2]] == ["stopped\n"] * 2
    assert not runs[2].folder.exists()


def test_an_error_leaves_no_process(program, tmp_path):
    engine = Local([-1], 2)

    def fail(run):
        raise ValueError("a slip of ours")

    runs = [program("long", "time.sleep(60)"), program("short", "pass")]
    with pytest.raises(ValueError, match="a slip of ours"):
        run_all(runs, engine, StopRequest(), fail)
    (process, _), = engine.processes.values()
    assert process.returncode == -signal.SIGKILL


def test_what_fails_after_a_run_fails_that_run_alone(program):
    done = []

    def after(run):
        if run.name == "first":
            raise OSError(28, "No space left on device")
        done.append(run.name)

    failed, = run_all([program("first", "pass"), program("second", "time.sleep(0.5)")], Local([-1], 2), StopRequest(), after)
    assert (failed.run.name, done) == ("first", ["second"])
    assert "No space left on device" in failed.message


def test_a_folder_that_a_dying_process_still_holds_is_waited_for(program, tmp_path):
    """As after a killed sweep, whose runs take a moment to leave a GPU."""
    (tmp_path / "one").mkdir()
    lock, begun = tmp_path / "one" / "run.lock", tmp_path / "begun"
    code = f"import fcntl, time; file = open({str(lock)!r}, 'w'); fcntl.lockf(file, fcntl.LOCK_EX); print(flush=True)"
    dying = f"{code}; time.sleep(1.5); open({str(begun)!r}, 'w')"
    holder = subprocess.Popen([sys.executable, "-c", dying], stdout=subprocess.PIPE)
    holder.stdout.readline()
    assert run([program("one", f"sys.exit(not pathlib.Path({str(begun)!r}).exists())")]) == {}
    holder.wait()


def test_a_folder_that_is_held_for_long_is_left_to_the_run_to_refuse(program, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "PATIENCE", 0.0)
    monkeypatch.setattr(sweep, "is_locked", lambda lock: True)
    assert run([program("one", "sys.exit(2)")]) == {"one": 2}


def test_progress_is_the_latest_line_with_the_time_left_in_front(tmp_path):
    one = Run("one", [], tmp_path)
    assert one.progress() == ""
    one.console.write_text("of an attempt before\n")
    one.begun = one.console.stat().st_size
    assert one.progress() == ""
    with one.console.open("a") as file:
        file.write("repeat 1/1  task 1/2  learn  epoch 1/2  lr 0.1  0.5 s  (12 min left)\n")
    assert one.progress() == "12 min left  repeat 1/1  task 1/2  learn  epoch 1/2  lr 0.1  0.5 s"
    with one.console.open("a") as file:
        file.write("repeat 1/1  task 1/2  accuracy 50.0 % (top-5)  task by task: 50.0\n")
    assert one.progress() == "12 min left  repeat 1/1  task 1/2  accuracy 50.0 % (top-5)  task by task: 50.0"


def test_in_a_terminal_lines_update_and_in_a_file_they_come_now_and_then(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr(sweep.shutil, "get_terminal_size", lambda: os.terminal_size((20, 3)))
    screen = sweep.Screen()
    screen.show(lambda: ["too early"])
    screen.then -= screen.pace
    screen.show(lambda: ["a", "b" * 30, "c"])
    screen.say("stays")
    assert capsys.readouterr() == ("stays\n", f"{'b' * 19}\nc\n\x1b[2A\x1b[J")
    monkeypatch.setattr("sys.stderr.isatty", lambda: False, raising=False)
    screen = sweep.Screen()
    screen.then -= sweep.PACE
    screen.show(lambda: ["a", "b" * 300])
    screen.show(lambda: ["too early"])
    assert capsys.readouterr() == (f"a\n{'b' * 300}\n", "")


# The runs of scripts


@pytest.fixture
def script(tmp_path):
    def write(text, name="script.sh"):
        path = tmp_path / name
        path.write_text(f"set -e\nP='--dataset Digits --first_split_size 2 --other_split_size 2 --gpuid 3'\n{text}\n")
        return str(path)

    return write


def test_the_runs_are_those_of_the_script_and_nothing_is_done(script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = script("echo run.py --log_dir nothing\n$PYTHON run.py $P --log_dir 'outputs/a run' --lr 0.2 --threads 3\n"
                  "$PYTHON run.py $P --load_model_dir ./outputs/../outputs/'a run' --log_dir b\n$PYTHON -m utils.reports.tables 'outputs/a run' b")
    plan = Plan([path])
    first, second = plan.runs
    assert (first.name, first.folder, first.threads, first.after) == ("outputs/a run", Path("outputs/a run"), 3, None)
    assert (second.threads, second.processes) == (0, 1)
    assert first.arguments[-6:] == ["--log_dir", "outputs/a run", "--lr", "0.2", "--threads", "3"]
    assert second.after is first
    assert plan.afterwards == [(["-m", "utils.reports.tables", "outputs/a run", "b"], plan.runs)]
    assert [path.name for path in tmp_path.iterdir()] == ["script.sh"]


def test_a_run_of_two_scripts_is_one(script):
    line = "$PYTHON run.py $P --log_dir shared"
    first, second = script(f"{line} --lr 0.2"), script(f"{line} --lr 2e-1 --gpuid 1\n$PYTHON run.py $P --log_dir own", "second.sh")
    assert [one.name for one in Plan([first, second]).runs] == ["shared", "own"]
    with pytest.raises(UserError, match="third.sh: --log_dir shared is there twice, with another --lr"):
        Plan([first, script(line, "third.sh")])


@pytest.mark.parametrize(("text", "message"), [
    ("$PYTHON run.py --lr fast", "script.sh: --lr: 'fast'"),
    ("echo nothing", "script.sh: calls no run.py by"),
    ("$PYTHON run.py $P --log_dir a --overwrite 1", "--log_dir a: --overwrite 1 would start each attempt from scratch"),
    ("echo 'it broke' >&2; false", "script.sh: ends with status 1: it broke"),
    ("$PYTHON run.py $P --log_dir a --load_model_dir b\n$PYTHON run.py $P --log_dir b --load_model_dir a", "a waits for itself, by way of b"),
])
def test_a_wrong_script_is_refused(script, text, message):
    with pytest.raises(UserError, match=message):
        Plan([script(text)])


def test_python_called_by_its_own_name_is_not_run_either(script, tmp_path):
    code = f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()"
    path = script(f'$PYTHON run.py $P --log_dir a\npython3 -c "{code}"')
    assert [call for call, _ in Plan([path]).afterwards] == [["-c", code]]
    assert not (tmp_path / "ran").exists()


def test_a_script_that_works_by_itself_is_not_waited_for(script, monkeypatch):
    monkeypatch.setattr("utils.sweeps.plan.LONG", 0.5)
    with pytest.raises(UserError, match="must call run.py by"):
        Plan([script("sleep 30")])


def test_the_published_columns_are_one_list_that_shares_the_upper_bound(root, monkeypatch):
    monkeypatch.chdir(root)
    plan = Plan([f"experiments/cifar100-{name}task.sh" for name in ("five", "ten")])
    names = [one.name for one in plan.runs]
    assert len(names) == len(set(names)) == 23
    assert {one.after.name for one in plan.runs if one.after} == {f"outputs/cifar100-{name}task/base" for name in ("five", "ten")}
    assert [len(runs) for _, runs in plan.afterwards] == [12, 12]


# The command


@pytest.mark.parametrize(("arguments", "message"), [
    (["nowhere.sh"], "nowhere.sh: there is no such script"),
    (["--runs_per_gpu", "0", "x.sh"], "argument --runs_per_gpu: '0' is not a whole number above 0"),
    (["x.sh", "--address", "there"], "--address there: is of a Ray cluster; add --engine ray"),
    (["x.sh", "--engine", "ray", "--gpuid", "0"], "--gpuid: Ray chooses the GPUs"),
    ([], "the following arguments are required: SCRIPT"),
])
def test_what_is_wrong_is_one_line_and_status_2(capsys, arguments, message):
    assert sweep.main(arguments) == 2
    line, = capsys.readouterr().err.splitlines()
    assert line.startswith(f"experiments/sweep.sh: {message}")


@pytest.fixture
def gpus(monkeypatch):
    """torch and so many GPUs, or one that it cannot use: gpus(count, why)."""

    def have(count, why=""):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setattr(device, "visible_gpus", lambda: count)
        monkeypatch.setattr(device, "unusable_gpu", lambda: why)

    return have


@pytest.mark.parametrize(("count", "gpuid", "found"), [
    (0, [], [-1]), (0, [1], [-1]), (2, [], [0, 1]), (2, [1], [1]), (2, [1, 0], [1, 0]), (2, [-1], [-1]), (2, [0, -1], [-1])])
def test_devices_are_all_gpus_or_the_cpu(gpus, count, gpuid, found):
    gpus(count)
    assert sweep.devices(gpuid) == found


def test_a_gpu_that_is_not_there_is_refused(gpus):
    gpus(2)
    with pytest.raises(UserError, match="--gpuid 2"):
        sweep.devices([0, 2])


@pytest.mark.parametrize("gpuid", [[], ["--gpuid", "0"], ["--gpuid", "1", "0"]])
def test_a_gpu_that_torch_cannot_use_is_refused(gpus, script, capsys, gpuid):
    gpus(0, "the driver is too old")
    assert sweep.main([script("$PYTHON run.py $P --log_dir a"), *gpuid]) == 2
    line, = capsys.readouterr().err.splitlines()
    assert line == f"experiments/sweep.sh: --gpuid {gpuid[1] if gpuid else 0}: the driver is too old"


@pytest.mark.parametrize(("gpuid", "expected"), [([], True), (["--gpuid", "-1"], False)])
def test_a_sweep_says_that_it_found_no_gpu(gpus, script, monkeypatch, capsys, gpuid, expected):
    gpus(0)
    monkeypatch.setattr(sweep, "run_all", lambda runs, engine, stop_request: [])
    assert sweep.main([script("$PYTHON run.py $P --log_dir a"), *gpuid]) == 0
    assert ("no NVIDIA GPU was found" in capsys.readouterr().out) == expected


def test_runs_side_by_side_share_the_cores(monkeypatch, tmp_path):
    monkeypatch.setattr(sweep, "default_threads", lambda processes: 24 // processes)

    def shared(places, *runs):
        made = [Run(str(number), [], tmp_path, *run) for number, run in enumerate(runs)]
        sweep.share_cores(made, places)
        return [run.threads for run in made]

    assert shared(1, (0, 1), (0, 1)) == [24, 24]
    assert shared(2, (0, 1), (0, 3), (5, 3)) == [12, 4, 5]
    assert shared(8, (0, 1), (0, 1)) == [12, 12]  # there are no more runs than two


def test_a_run_is_told_its_share(program, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    runs = [program(name, "print(os.environ['OMP_NUM_THREADS'])") for name in ("shared", "as it is")]
    runs[0].threads = 3
    assert run(runs) == {}
    assert [one.console.read_text() for one in runs] == ["3\n", "7\n"]


@pytest.mark.parametrize(("failing", "status", "tables"), [(False, 0, True), (True, 1, False)])
def test_tables_come_where_their_runs_are_done(script, monkeypatch, capfd, failing, status, tables):
    """Without runs, and with a program that says how it was called in place of the tables."""
    monkeypatch.setattr(sweep, "run_all", lambda runs, engine, stop_request: [Ended(runs[0], 2, "wrong")] if failing else [])
    assert sweep.main([script("$PYTHON run.py $P --log_dir 'a b'\n$PYTHON -c 'print(\"the table\")'")]) == status
    out, errors = capfd.readouterr()
    assert ("the table" in out) == tables
    assert errors == ("experiments/sweep.sh: 1 of 1 runs failed: a b; the same command tries again\n" if failing else "")


def test_tables_that_fail_are_named(script, monkeypatch, capfd):
    monkeypatch.setattr(sweep, "run_all", lambda runs, engine, stop_request: [])
    assert sweep.main([script("$PYTHON run.py $P --log_dir a\n$PYTHON -c 'raise SystemExit(2)'")]) == 1
    assert capfd.readouterr().err == "experiments/sweep.sh: this failed: python -c 'raise SystemExit(2)'; the same command tries again\n"


def test_a_killed_sweep_started_again_ends_like_its_runs_alone(tiny, script, root, environment, trainer, finished, lasting, tmp_path):
    runs = tmp_path / "my runs"
    first, second = (" ".join(tiny(name)) for name in ("NormalNN", "LWF"))
    path = script(f"$PYTHON run.py {first} --log_dir '{runs}/first'\n"
                  f"$PYTHON run.py {second} --load_model_dir '{runs}/first' --log_dir '{runs}/second'\n"
                  f"$PYTHON -m utils.reports.tables '{runs}/first' '{runs}/second'")
    command = ["sh", str(root / "experiments" / "sweep.sh"), path, "--runs_per_gpu", "2"]
    environment = {**environment, "PYTHON": sys.executable}
    process = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL)
    console = runs / "first" / "console.log"
    while "epoch 1/2" not in (console.read_text() if console.exists() else ""):
        assert process.poll() is None
        time.sleep(0.1)
    process.kill()
    process.wait()
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert [f"{runs}/{name}" in done.stdout for name in ("first   done  final accuracy", "second  done  final accuracy")] == [True, True]
    assert "accuracy (%) after task" in done.stdout
    assert "resuming: repeat" in console.read_text()
    assert lasting(runs / "first") == lasting(finished("NormalNN"))
    trainer(tmp_path / "alone", "LWF", "--load_model_dir", runs / "first").run()
    assert lasting(runs / "second") == lasting(tmp_path / "alone")
