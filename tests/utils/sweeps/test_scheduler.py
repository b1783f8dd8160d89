"""Runs side by side, with small programs in place of run.py."""

import dataclasses
import signal
import subprocess
import sys

import pytest

from utils.sweeps import scheduler
from utils.sweeps.engines import Local, Run
from utils.sweeps.scheduler import run_all
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
    monkeypatch.setattr(scheduler, "PATIENCE", 0.0)
    monkeypatch.setattr(scheduler, "is_locked", lambda lock: True)
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


def test_a_run_is_told_its_share(program, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    runs = [program(name, "print(os.environ['OMP_NUM_THREADS'])") for name in ("shared", "as it is")]
    runs[0].threads = 3
    assert run(runs) == {}
    assert [one.console.read_text() for one in runs] == ["3\n", "7\n"]
