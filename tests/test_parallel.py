"""run.py --parallel: repeats side by side leave what one after the other do."""

import os
import shutil
import signal
import subprocess
import sys

import pytest
from kill import ending

import run
from utils.files import read_tensors
from utils.sweeps.engines import Local
from utils.sweeps.parallel import ParallelTrainer
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
    flags = "--repeat 2 --schedule 1 --power_iters 1 --batch_size 128".split()
    status, out, errors = main("AlwaysBeDreaming", *flags, "--parallel", "2")
    assert (status, errors) == (0, [])
    assert out.splitlines()[-1].startswith("final accuracy: ") and "over 2 repeats" in out.splitlines()[-1]
    alone = finished("AlwaysBeDreaming", *flags)
    assert ending(tmp_path / "run") == ending(alone)
    assert checkpoint(tmp_path / "run") == checkpoint(alone)


def test_repeats_begun_side_by_side_and_killed_go_on_even_without_the_flag(tiny, environment, root, main, finished, tmp_path):
    flags = ("--repeat", "2", "--schedule", "2")
    command = [sys.executable, str(root / "run.py"), *tiny("NormalNN", *flags, "--parallel", "2", "--log_dir", tmp_path / "run")]
    parent = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert "done" in parent.stdout.readline()
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
    trainer(tmp_path / "run", "NormalNN", "--repeat", "1", "--schedule", "2").run()
    flags, child = ("--repeat", "3", "--schedule", "2"), ParallelTrainer.child

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
    (tmp_path / "run" / "args.yaml").touch()
    trainer(tmp_path / "run", "NormalNN", "--overwrite", "1")
    assert not (tmp_path / "run" / "parallel").exists()
