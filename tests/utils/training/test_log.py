"""output.log and metrics.jsonl, and the time left."""

import dataclasses
from types import SimpleNamespace

import pytest

from tests.utils.training.conftest import ABD, lines_of, records
from utils.training import journal
from utils.training.log import Log, duration
from utils.training.state import Place


@pytest.mark.parametrize("end", ['{"epo', '{"epoch": 2}\n', None])
def test_what_came_after_the_checkpoint_is_truncated(tmp_path, end):
    """Half a record, a whole one, and records that a user deleted."""
    log = Log(tmp_path)
    log.line("accuracy ± 1")
    log.record(epoch=1)
    assert lines_of(tmp_path) == ["accuracy ± 1"] and records(tmp_path) == [{"epoch": 1}]  # at once
    sizes = log.sizes()
    log.line("accuracy ± 2")
    log.close()
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text() + end) if end else path.unlink()
    again = Log(tmp_path)
    again.truncate(sizes)
    again.line("again")
    again.record(epoch=2, again=True)
    again.close()
    assert lines_of(tmp_path) == ["accuracy ± 1", "again"]
    assert records(tmp_path) == [{"epoch": 1}] * bool(end) + [{"epoch": 2, "again": True}]


@pytest.mark.parametrize(("seconds", "text"), [
    (89.4, "89 s"), (90, "2 min"), (5400, "1.5 h"), (86400, "24.0 h"), (float("nan"), "an unknown time")])
def test_durations_are_said_as_a_person_says_them(seconds, text):
    assert duration(seconds) == text


# The time left


class Clocked:
    """A run of two repeats of three tasks, whose clock is moved by hand."""

    def __init__(self, monkeypatch, **settings):
        self.now = 0.0
        monkeypatch.setattr(journal, "time", SimpleNamespace(monotonic=lambda: self.now))
        self.left = journal.TimeLeft()
        settings = SimpleNamespace(**{"repeat": 2, "load_model_dir": "", **settings})
        self.run = SimpleNamespace(place=Place(), tasks=[None] * 3, settings=settings)
        self.dream = SimpleNamespace(name="dream", epochs=2)
        self.learn = SimpleNamespace(name="learn", epochs=4)

    def begin(self, task, *stages, repeat=0):
        self.run.place = Place(repeat, task)
        self.left.begin_task(task == 0, stages)

    def epochs(self, stage, seconds):
        """Pass epochs of these lengths; what is left after each."""
        said = []
        for number, length in enumerate(seconds, 1):
            self.left.began = self.now
            self.now += length
            self.left.end_epoch((stage.name, self.run.place.task == 0))
            said.append(self.left.left(self.run, stage, number))
        return said


def test_time_left_covers_the_stage_then_the_task_then_the_run_as_kinds_are_timed(monkeypatch):
    clock = Clocked(monkeypatch)
    clock.begin(0, clock.learn)
    assert clock.left.left(clock.run, clock.learn, 0) == ""
    assert clock.epochs(clock.learn, [10] * 4)[0] == "30 s left in this task"
    clock.begin(1, clock.dream, clock.learn)
    assert clock.epochs(clock.dream, [5] * 2) == ["5 s left in this stage", "0 s left in this stage"]
    # 3 epochs here, a task of 2 * 5 + 4 * 8; a repeat of a first task of 4 * 10 and two such tasks
    assert clock.epochs(clock.learn, [8])[0] == duration(3 * 8 + 42 + 40 + 2 * 42) + " left"
    clock.begin(2, clock.dream, clock.learn, repeat=1)
    assert clock.epochs(clock.learn, [8] * 4)[2:] == ["8 s left", "0 s left"]


# What a run says


def test_the_log_has_every_epoch_also_if_the_terminal_has_few(trainer, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(journal, "PACE", 1e9)
    trainer(tmp_path, "NormalNN", "--schedule", 3, "--max_task", 1).run()
    printed = [line for line in capsys.readouterr().out.splitlines() if "  epoch " in line]
    logged = [line for line in lines_of(tmp_path) if "  epoch " in line]
    assert len(logged) == 3 and printed == [logged[0], logged[2]]
    for part in ("repeat 1/1  task 1/1  learn  epoch 3/3", "lr 0.05", "classification ", " s ", "left)"):
        assert part in logged[-1]


def test_the_updating_line_has_time_left_place_accuracy_and_losses(trainer, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    run, texts = trainer(tmp_path, "NormalNN"), []
    bar = next(one for one in run.listeners if isinstance(one, journal.Journal)).bar
    monkeypatch.setattr(bar, "set_description_str", texts.append)
    run.run()
    assert texts[0] == "repeat 1/1  task 1/2  learn  epoch 1/2"
    assert "0 s left  repeat 1/1  task 2/2  learn  epoch 2/2  accuracy " in texts[-1]
    assert "%  classification " in texts[-1]
    assert not [line for line in capsys.readouterr().out.splitlines() if "  epoch " in line]


def test_abd_says_once_that_a_task_of_one_class_has_no_local_loss(problem, tmp_path):
    learner, (_, task) = problem(ABD)
    log = Log(tmp_path)
    listener = journal.Journal(log)
    for index, seen in ((1, 4), (2, 3), (3, 3)):
        task = dataclasses.replace(task, index=index, seen=seen)
        listener.stages_began(SimpleNamespace(place=Place(0, index), learner=learner, task=task), [])
    log.close()
    line, = lines_of(tmp_path)
    assert line.startswith("the loss local is 0 in a task of one new class")
