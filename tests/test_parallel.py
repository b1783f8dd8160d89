"""run.py --parallel: repeats side by side leave what one after the other do."""

import errno
import itertools
import math
import os
import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from kill import ending
from pretended_gpu import GPU, pretended

import run
from utils.errors import RunError, UserError
from utils.sweeps.engines import Ended, Local, Run
from utils.sweeps.parallel import ParallelTrainer
from utils.sweeps.turns import Turns
from utils.tensors import read_tensors
from utils.training.stop import Stopped


@pytest.fixture
def main(monkeypatch, capsys, tiny, environment, tmp_path):
    """run.py in this process, into tmp_path / "run": main(learner, flag, ...) -> (exit status, stdout, lines of stderr)."""
    for name in ("OMP_NUM_THREADS", "PYTHONUNBUFFERED"):
        monkeypatch.setenv(name, environment[name])

    def start(learner, *flags):
        monkeypatch.setattr(sys, "argv", ["run.py", *tiny(learner, *flags, "--log_dir", tmp_path / "run")])
        status = run.main()
        out, errors = capsys.readouterr()
        return status, out, errors.splitlines()

    return start


def checkpoint(folder):
    """The latest, without times; tensors as lists."""
    def plain(value):
        if isinstance(value, dict):
            return {name: plain(part) for name, part in value.items() if name not in ("seconds", "log")}
        if isinstance(value, list):
            return [plain(part) for part in value]
        return value.tolist() if hasattr(value, "tolist") else value

    return plain(read_tensors(folder / "checkpoint.pt"))


def test_repeats_side_by_side_leave_what_one_after_the_other_do(main, finished, tmp_path):
    flags = "--repeat 2 --schedule 1 --power_iters 1 --batch_size 128 --no_figures 0".split()
    status, out, errors = main("AlwaysBeDreaming", *flags, "--parallel", "2")
    assert (status, errors) == (0, [])
    assert out.splitlines()[-1].startswith("final accuracy: ") and "over 2 repeats" in out.splitlines()[-1]
    alone = finished("AlwaysBeDreaming", *flags)
    assert ending(tmp_path / "run") == ending(alone)
    assert checkpoint(tmp_path / "run") == checkpoint(alone)


def test_repeats_begun_side_by_side_and_killed_go_on_even_without_the_flag(tiny, environment, root, main, finished, tmp_path):
    flags = ("--repeat", "2", "--schedule", "1")
    command = [sys.executable, str(root / "run.py"), *tiny("NormalNN", *flags, "--parallel", "2", "--log_dir", tmp_path / "run")]
    parent = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert any("  done" in line for line in parent.stdout)
    parent.kill()
    parent.communicate(timeout=60)
    status, out, errors = main("NormalNN", *flags)
    assert (status, errors) == (0, [])
    assert ending(tmp_path / "run") == ending(finished("NormalNN", *flags))


def test_a_signal_stops_all_repeats(main, monkeypatch, tmp_path):
    started, start = [], Local.start

    def start_and_stop(self, run):
        start(self, run)
        started.append(self.processes[run][0])
        if len(started) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Local, "start", start_and_stop)
    status, _, (line,) = main("NormalNN", "--repeat", "3", "--parallel", "2")
    assert (status, line) == (143, "run.py: stopped by SIGTERM, 0 of 3 runs are done; the same command resumes them")
    assert len(started) == 2 and all(process.returncode for process in started)


def test_a_repeat_that_fails_stops_no_other_of_those_that_join_a_finished_one(main, trainer, finished, monkeypatch, tmp_path):
    trainer(tmp_path / "run", "NormalNN", "--repeat", "1", "--schedule", "1").run()
    flags, child = ("--repeat", "3", "--schedule", "1"), ParallelTrainer.child

    def damaged(self, repeat):
        made = child(self, repeat)
        if repeat == 1:
            (made.folder / "checkpoint.pt").write_bytes(b"not a checkpoint")
        return made

    with monkeypatch.context() as patched:
        patched.setattr(ParallelTrainer, "child", damaged)
        status, out, (line,) = main("NormalNN", *flags, "--parallel", "2")
    assert status == 1
    assert line.startswith("run.py: repeat 2: --log_dir") and "1 of 2 repeats failed" in line
    assert [name in out for name in ("repeat 1  done", "repeat 2  failed", "repeat 3  done")] == [False, True, True]
    assert sorted(path.name for path in (tmp_path / "run" / "parallel").iterdir()) == ["repeat-2", "repeat-3"]
    shutil.rmtree(tmp_path / "run" / "parallel" / "repeat-2")
    assert main("NormalNN", *flags, "--parallel", "2")[::2] == (0, [])
    found, expected = ending(tmp_path / "run"), ending(finished("NormalNN", *flags))
    assert [line.replace("repeat 1/1 ", "repeat 1/3 ") for line in found.pop("output.log")] == expected.pop("output.log")
    assert found == expected


def test_after_a_join_that_failed_no_other_repeat_joins(main, finished, monkeypatch, tmp_path):
    flags, joins = "--repeat 2 --schedule 1 --max_task 1".split(), []

    def full(*given):
        joins.append(given)
        raise OSError(errno.ENOSPC, "No space left on device", "results.yaml")

    with monkeypatch.context() as patched:
        patched.setattr("utils.sweeps.parallel.save_results", full)
        status, _, (line,) = main("NormalNN", *flags, "--parallel", "2")
    assert (status, len(joins)) == (1, 1)
    assert "No space left on device" in line and "1 of 2 repeats failed" in line
    assert main("NormalNN", *flags, "--parallel", "2")[::2] == (0, [])
    assert ending(tmp_path / "run") == ending(finished("NormalNN", *flags))


def test_a_repeat_goes_on_from_the_checkpoint_before_where_the_latest_is_gone(main, finished, monkeypatch, tmp_path):
    """As after a kill between the two renames."""
    flags = "--repeat 2 --schedule 1 --max_task 1".split()
    with monkeypatch.context() as patched:
        patched.setattr(ParallelTrainer, "join", lambda *given: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            main("NormalNN", *flags, "--parallel", "2")
    latest = tmp_path / "run" / "parallel" / "repeat-1" / "checkpoint.pt"
    latest.unlink()
    assert main("NormalNN", *flags)[::2] == (0, [])
    assert "resuming: repeat 1/2, all tasks done" in (tmp_path / "run" / "output.log").read_text()
    assert ending(tmp_path / "run") == ending(finished("NormalNN", *flags))


def test_a_repeat_that_begins_later_takes_no_other_data(trainer, tmp_path):
    parallel = trainer(tmp_path / "run", "NormalNN", "--repeat", "2", "--parallel", "2")
    known = read_tensors(parallel.child(1).folder / "checkpoint.pt")["data"]
    assert known and known == parallel.state.data


def test_a_run_in_the_middle_of_a_repeat_is_refused(main, trainer, monkeypatch, tmp_path):
    begun = trainer(tmp_path / "run", "NormalNN", "--repeat", "2")

    save = begun.save

    def stop():
        save()
        if begun.state.stage:
            begun.stop_request.signal = signal.SIGTERM

    monkeypatch.setattr(begun, "save", stop)
    with pytest.raises(Stopped):
        begun.run()
    status, _, (line,) = main("NormalNN", "--repeat", "2", "--parallel", "2")
    assert status == 2
    assert line.startswith("run.py: --parallel 2: ") and "in the middle of a repeat (repeat 1, task 1" in line
    assert not (tmp_path / "run" / "parallel").exists()


def test_what_is_left_of_a_repeat_that_joined_goes(main, trainer, tmp_path):
    flags = ("--schedule", "1", "--max_task", "1")
    trainer(tmp_path / "run", "NormalNN", *flags).run()
    (tmp_path / "run" / "parallel" / "repeat-1" / "models").mkdir(parents=True)
    assert main("NormalNN", *flags)[::2] == (0, [])
    assert not (tmp_path / "run" / "parallel").exists()


def test_what_cannot_run_is_refused_before_the_old_run_is_deleted(main, trainer, tmp_path):
    trainer(tmp_path / "run", "NormalNN", "--schedule", "1", "--max_task", "1").run()
    status, _, (line,) = main("NormalNN", "--parallel", "2", "--overwrite", "1", "--batch_size", "5000")
    assert status == 2 and "--batch_size 5000" in line
    assert (tmp_path / "run" / "results-acc").exists()


def test_overwriting_deletes_repeats_that_were_begun_side_by_side(trainer, tmp_path):
    (tmp_path / "run" / "parallel" / "repeat-1").mkdir(parents=True)
    (tmp_path / "run" / "args.yaml").write_text("no_figures: false\n")
    trainer(tmp_path / "run", "NormalNN", "--overwrite", "1")
    assert not (tmp_path / "run" / "parallel").exists()


# On a GPU: in one process


@pytest.mark.parametrize(("name", "repeats", "flags"), [
    ("NormalNN", 3, "--schedule 1"), ("AlwaysBeDreaming", 2, "--schedule 1 --power_iters 4 --no_figures 0")])
def test_repeats_that_share_a_gpu_leave_what_one_after_the_other_do(main, tmp_path, name, repeats, flags):
    flags = f"--repeat {repeats} {flags} --gpuid 0".split()
    with pretended():
        assert main(name, *flags)[::2] == (0, [])
        alone = (tmp_path / "run").rename(tmp_path / "alone")
        status, out, errors = main(name, *flags, "--parallel", "2")
    assert (status, errors) == (0, [])
    assert sorted(line.split("  ")[0] for line in out.splitlines() if "  done" in line) == [f"repeat {number}" for number in range(1, repeats + 1)]
    assert ending(tmp_path / "run") == ending(alone)
    assert checkpoint(tmp_path / "run") == checkpoint(alone)
    assert not (tmp_path / "run" / "parallel").exists()


@pytest.fixture
def shared(tmp_path, monkeypatch):
    """An engine that shares the pretended GPU, its turns in the order in which they were taken, and a run of it by number."""
    took = []

    class Steps:
        """A trainer of so many steps; then it raises what is given."""

        def __init__(self, number, count, error=None):
            self.number, self.count, self.error, self.folder = number, count, error, SimpleNamespace(release=lambda: took.append("released"))

        def steps(self):
            for _ in range(self.count):
                took.append((self.number, torch.cuda.current_stream()))
                print(f"a step of {self.number}")
                yield
            if self.error:
                raise self.error

    trainers = {}
    monkeypatch.setattr("utils.sweeps.turns.ROUND", math.inf)
    with pretended():
        engine = Turns(GPU, 2, lambda run: trainers[run.name])

        def begin(number, *what):
            trainers[str(number)] = Steps(number, *what)
            one = Run(str(number), [], tmp_path / str(number))
            engine.start(one)
            return one

        yield engine, took, begin


def test_runs_take_turns_each_on_a_stream_of_its_own_and_say_all_into_their_console(shared, capsys):
    engine, took, begin = shared
    first, second = begin(1, 2), begin(2, 3)
    assert not engine.free()
    assert [how for _ in range(2) for how in engine.ended()] == [Ended(first, 0), Ended(second, 0)]
    assert engine.free()
    assert [what if what == "released" else what[0] for what in took] == [1, 2, 1, 2, "released", 2, "released"]
    streams = {number: {stream for one, stream in (what for what in took if what != "released") if one == number} for number in (1, 2)}
    assert [len(each) for each in streams.values()] == [1, 1] and streams[1] != streams[2]
    assert torch.cuda.default_stream() not in streams[1] | streams[2]
    assert first.last_lines() == ["a step of 1"] * 2
    assert capsys.readouterr().out == ""


def test_a_run_takes_the_stream_of_one_that_has_ended(shared):
    engine, took, begin = shared
    for number in range(5):
        begin(number, 1)
        while not engine.ended():
            pass
    assert len({what[1] for what in took if what != "released"}) == 1


@pytest.mark.parametrize(("error", "status", "said"), [
    (RunError("the disk is full"), 1, "the disk is full"), (UserError("--lr: is wrong"), 2, "--lr: is wrong"),
    (Stopped(signal.SIGTERM, "stopped by SIGTERM"), 143, "stopped by SIGTERM"), (KeyError("a defect"), 1, "KeyError: 'a defect'")])
def test_a_run_that_fails_says_why_and_stops_no_other(shared, error, status, said):
    engine, _, begin = shared
    failing, other = begin(1, 1, error), begin(2, 4)
    assert engine.ended() == [Ended(failing, status)]
    assert failing.last_lines()[-1] == said
    assert engine.ended() == [Ended(other, 0)]


def test_a_signal_stops_all_repeats_that_share_a_gpu_and_they_are_resumed(main, monkeypatch, tmp_path):
    flags = "--repeat 2 --schedule 2 --gpuid 0".split()
    steps = itertools.count(1)
    with pretended():
        assert main("NormalNN", *flags)[::2] == (0, [])
        alone = (tmp_path / "run").rename(tmp_path / "alone")
        with monkeypatch.context() as patches:
            advance = Turns.advance

            def stopping(self, turn):
                if next(steps) == 12:
                    os.kill(os.getpid(), signal.SIGTERM)
                return advance(self, turn)

            patches.setattr(Turns, "advance", stopping)
            status, _, (line,) = main("NormalNN", *flags, "--parallel", "2")
        assert (status, line) == (143, "run.py: stopped by SIGTERM, 0 of 2 runs are done; the same command resumes them")
        assert main("NormalNN", *flags, "--parallel", "2")[::2] == (0, [])
    assert ending(tmp_path / "run") == ending(alone)
