"""Runs that are stopped, killed or damaged anywhere and resumed: they end like those that were not."""

import errno
import functools
import os
import shutil

import pytest
import torch
from conftest import TWO_PHASES

from dataloaders.batches import Iterations
from tests.utils.training.test_trainer import ABD, Stopped, accuracies, records
from utils.errors import RunError, UserError
from utils.files import read_tensors, write_tensors
from utils.training.trainer import Trainer

# Stopped and started again


@pytest.mark.parametrize(("name", "lost"), [
    ("NormalNN", False), *((name, True) for name in ("NormalNN", "BIC", "Generative_Replay", ABD, "RFD")),
    *(pytest.param(name, True, marks=pytest.mark.slow) for name in ("ETE", "CwD"))])
def test_a_run_stopped_at_every_checkpoint_ends_like_an_undisturbed_one(finished, trainer, lasting, tmp_path, monkeypatch, name, lost):
    dreams = name in (ABD, "Generative_Replay", *TWO_PHASES)
    more = ("--no_figures", "0") if dreams else ()
    undisturbed = finished(name, *more)
    monkeypatch.setattr("learners.dreaming.Iterations", functools.partial(Iterations, round=2))
    save = Trainer.save
    saves = []

    def stopping(self):
        if lost and self.saved_once:
            raise Stopped
        save(self)
        saves.append((self.state.place.repeat, self.state.place.task, self.state.place.stage, self.state.place.epoch))
        self.saved_once = True
        if not lost:
            raise Stopped

    monkeypatch.setattr(Trainer, "save", stopping)
    monkeypatch.setattr(Trainer, "saved_once", False, raising=False)
    for _ in range(20):
        try:
            trainer(tmp_path, name, *more).run()
            break
        except Stopped:
            continue
    second = {ABD: [(0, 1, 0, 1), (0, 1, 0, 2), (0, 1, 1, 1), (0, 1, 1, 2)]}.get(name, [(0, 1, 0, 1), (0, 1, 0, 2)])
    second += {"ETE": [(0, 1, 1, 1), (0, 1, 1, 2)], "BIC": [(0, 1, 1, 1), (0, 1, 1, 2)]}.get(name, [])
    first = [(0, 0, 0, 1), (0, 0, 0, 2)]
    if name in TWO_PHASES:  # of an epoch each, of which the first task has one
        first, second = first[:1], [(0, 1, 0, 1), (0, 1, 0, 2), (0, 1, 1, 1), (0, 1, 2, 1)]
    assert saves == [(0, 0, 0, 0), *first, (0, 1, 0, 0), *second, (0, 2, 0, 0), (1, 0, 0, 0)]
    assert lasting(tmp_path) == lasting(undisturbed)
    assert accuracies(tmp_path) == accuracies(undisturbed)
    figures = {path.name for path in tmp_path.rglob("*.png")}
    assert figures == {path.name for path in undisturbed.rglob("*.png")}
    assert ("dreams-after-task-1.png" in figures) == dreams
    if name not in (ABD, *TWO_PHASES):  # rounds of two iterations have records of their own
        assert records(tmp_path) == records(undisturbed)


def test_where_writing_takes_long_checkpoints_wait_for_the_end_of_the_stage(trainer, tmp_path, monkeypatch):
    monkeypatch.setattr("utils.training.folder.SAVING_SHARE", 1e-9)
    save, saves = Trainer.save, []
    monkeypatch.setattr(Trainer, "save", lambda self: (save(self), saves.append((self.state.place.task, self.state.place.epoch))))
    trainer(tmp_path).run()
    assert saves == [(0, 0), (0, 2), (1, 0), (1, 2), (2, 0), (0, 0)]


def test_naive_rehearsal_stopped_within_a_task_resamples_what_it_had(finished, trainer, lasting, tmp_path, monkeypatch):
    more = ("--memory", "40", "--max_task", "3", "--schedule", "2")
    undisturbed = finished("NormalNN", *more)
    save = Trainer.save

    def stopping(self):
        save(self)
        if (self.state.place.task, self.state.place.epoch) == (2, 1) and not (tmp_path / "stopped").exists():
            (tmp_path / "stopped").touch()
            raise Stopped

    monkeypatch.setattr(Trainer, "save", stopping)
    with pytest.raises(Stopped):
        trainer(tmp_path, "NormalNN", *more).run()
    trainer(tmp_path, "NormalNN", *more).run()
    assert lasting(tmp_path) == lasting(undisturbed)


def test_a_run_that_stops_in_its_second_repeat_ends_like_an_undisturbed_one(finished, trainer, lasting, tmp_path, monkeypatch):
    more = ("--repeat", "2", "--max_task", "3")
    save = Trainer.save

    def stopping(self):
        if (self.state.place.repeat, self.state.place.task, self.state.place.epoch) == (1, 1, 2):
            raise Stopped
        save(self)

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(Trainer, "save", stopping)
        trainer(tmp_path, "NormalNN", *more).run()
    trainer(tmp_path, "NormalNN", *more).run()
    assert lasting(tmp_path) == lasting(finished("NormalNN", *more))
    assert records(tmp_path) == records(finished("NormalNN", *more))


def test_the_generators_adam_lives_on_in_a_run_that_stopped_between_tasks(finished, trainer, lasting, tmp_path, monkeypatch):
    more = ("--max_task", "3", "--schedule", "1")
    save = Trainer.save

    def stopping(self):
        save(self)
        if (self.state.place.task, self.state.place.stage) == (2, 0):
            raise Stopped

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(Trainer, "save", stopping)
        trainer(tmp_path, ABD, *more).run()
    trainer(tmp_path, ABD, *more).run()
    assert lasting(tmp_path) == lasting(finished(ABD, *more))


def test_more_repeats_extend_a_finished_run(finished, copied, trainer, lasting):
    more = ("--max_task", "3")
    folder = copied("NormalNN", *more)
    trainer(folder, "NormalNN", *more, "--repeat", 2).run()
    assert lasting(folder) == lasting(finished("NormalNN", "--repeat", "2", *more))
    assert records(folder) == records(finished("NormalNN", "--repeat", "2", *more))


def test_a_finished_run_trains_nothing_and_says_the_same_again(copied, trainer, lasting, monkeypatch, capsys):
    pictured = ("--no_figures", "0")
    folder = copied(ABD, *pictured)
    before, metrics = lasting(folder), records(folder)
    log = (folder / "output.log").read_text()
    monkeypatch.setattr(Trainer, "train_stage", None)
    capsys.readouterr()
    trainer(folder, ABD, *pictured).run()
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1].startswith("final accuracy: ") and f"figures:  {folder / 'figures'}" in printed
    assert (folder / "output.log").read_text() == log.partition("\n\n")[0] + "\n" + printed
    assert len(printed.splitlines()) == len(log.partition("\n\n")[2].splitlines()) + 1  # the empty line before it
    assert (lasting(folder), records(folder)) == (before, metrics)


def test_a_run_that_only_lacks_its_last_checkpoint_has_all_tasks_done(copied, trainer, lasting, monkeypatch):
    folder = copied("NormalNN")
    before = lasting(folder)
    (folder / "checkpoint.pt").unlink()
    monkeypatch.setattr(Trainer, "train_stage", None)
    trainer(folder, "NormalNN").run()
    assert lasting(folder) == before
    assert "resuming: repeat 1/1, all tasks done" in (folder / "output.log").read_text()


def test_a_finished_run_whose_results_were_deleted_leaves_them_again(copied, trainer, lasting, monkeypatch):
    folder = copied("NormalNN")
    before = lasting(folder)
    for name in ("acc", "mem", "time"):
        shutil.rmtree(folder / f"results-{name}")
    assert lasting(folder) != before
    monkeypatch.setattr(Trainer, "train_stage", None)
    trainer(folder, "NormalNN").run()
    assert lasting(folder) == before


def test_overwrite_starts_from_scratch_and_leaves_a_strangers_file_alone(copied, trainer, lasting, finished):
    folder = copied("NormalNN")
    (folder / "notes.txt").write_text("mine")
    trainer(folder, "NormalNN", "--overwrite", 1).run()
    assert (folder / "notes.txt").read_text() == "mine"
    assert (folder / "output.log").read_text().count("task 1/2  learn  epoch 1/2") == 1
    assert lasting(folder) == lasting(finished("NormalNN"))


def test_other_settings_on_a_runs_folder_are_refused_by_name(copied, trainer):
    with pytest.raises(UserError, match=r"--log_dir.*\(lr 0.05 there, 0.2 here\)"):
        trainer(copied("NormalNN"), "NormalNN", "--lr", 0.2)


# A full disk, a vanished folder


def test_a_full_disk_ends_in_one_line_and_the_run_goes_on_when_it_is_mended(finished, trainer, lasting, tmp_path, monkeypatch):
    syncs = []

    def filling(descriptor):
        syncs.append(descriptor)
        if len(syncs) == 12:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", filling)
        with pytest.raises(RunError) as error:
            trainer(tmp_path, "NormalNN").run()
    assert "\n" not in str(error.value)
    for part in ("No space left on device", "the same command resumes it", "checkpoint.pt"):
        assert part in str(error.value)
    trainer(tmp_path, "NormalNN").run()
    assert lasting(tmp_path) == lasting(finished("NormalNN"))
    assert records(tmp_path) == records(finished("NormalNN"))


def test_a_folder_that_vanishes_ends_the_run_and_is_not_made_again(finished, trainer, lasting, tmp_path, monkeypatch):
    train_epoch = Trainer.train_epoch

    def moving(self, step, epoch):
        yield from train_epoch(self, step, epoch)
        if (self.state.place.task, epoch) == (1, 0):
            (tmp_path / "run").rename(tmp_path / "moved")

    with monkeypatch.context() as patch, pytest.raises(RunError, match=str(tmp_path / "run")):
        patch.setattr(Trainer, "train_epoch", moving)
        trainer(tmp_path / "run", "NormalNN").run()
    assert not (tmp_path / "run").exists()
    trainer(tmp_path / "moved", "NormalNN").run()
    assert lasting(tmp_path / "moved") == lasting(finished("NormalNN"))


@pytest.mark.parametrize("kind", ["cut", "flipped", "gone"])
def test_from_the_checkpoint_before_a_damaged_one_a_run_ends_like_an_undisturbed_one(finished, trainer, lasting, tmp_path, monkeypatch, capsys, kind):
    save = Trainer.save

    def stopping(self):
        save(self)
        if (self.state.place.task, self.state.place.stage) == (2, 0):
            raise Stopped

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(Trainer, "save", stopping)
        trainer(tmp_path, "NormalNN").run()
    path = tmp_path / "checkpoint.pt"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content[:-1] if kind == "cut" else content)
    if kind == "gone":
        path.unlink()
    trainer(tmp_path, "NormalNN").run()
    assert ("checkpoint.pt cannot be read" in (tmp_path / "output.log").read_text()) == (kind != "gone")
    assert lasting(tmp_path) == lasting(finished("NormalNN"))
    assert records(tmp_path) == records(finished("NormalNN"))
    assert accuracies(tmp_path) == accuracies(finished("NormalNN"))


def test_a_checkpoint_of_another_version_of_a_learner_is_one_line(copied, trainer):
    folder = copied("NormalNN", "--max_task", "3")
    state = read_tensors(folder / "checkpoint.pt")
    state["place"] = {"repeat": 0, "task": 1, "stage": 0, "epoch": 0}
    state["learner"]["new.weight"] = torch.ones(1)
    write_tensors(folder / "checkpoint.pt", state)
    with pytest.raises(RunError, match="another version of NormalNN") as error:
        trainer(folder, "NormalNN", "--max_task", "3").run()
    assert "\n" not in str(error.value)


def test_a_run_killed_before_its_first_checkpoint_starts_again(finished, trainer, lasting, tmp_path, monkeypatch):
    def stopping(self):
        raise Stopped

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(Trainer, "save", stopping)
        trainer(tmp_path, "NormalNN").run()
    (tmp_path / "metrics.jsonl").write_text('{"epo')
    trainer(tmp_path, "NormalNN").run()
    assert lasting(tmp_path) == lasting(finished("NormalNN"))
    assert records(tmp_path) == records(finished("NormalNN"))


def test_a_run_whose_records_are_damaged_goes_on_with_the_others(copied, trainer, capsys):
    run = copied("NormalNN")
    metrics = run / "metrics.jsonl"
    metrics.write_bytes(metrics.read_bytes()[:-7])
    trainer(run, "NormalNN", "--repeat", 2, "--no_figures", 0).run()
    assert "metrics.jsonl: 1 of" in capsys.readouterr().out
    assert {record["repeat"] for record in records(run)} == {1, 2}
    assert (run / "figures" / "repeat-2" / "losses.png").exists()
