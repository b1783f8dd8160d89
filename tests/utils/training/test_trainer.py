"""Whole runs in this process: what they leave, that they repeat to the byte, and what is refused."""

import math
import sys
import threading

import numpy as np
import pytest
import torch

from learners import REGISTRY, Learner
from learners.lwf import LWF
from learners.naive import NormalNN
from run import build_trainer
from tests.utils.training.conftest import ABD, lines_of, read, records
from utils.command_line import parse
from utils.errors import RunError, UserError
from utils.files import read_tensors
from utils.training.folder import Place, RunFolder
from utils.training.listeners import Listener

CPU = torch.device("cpu")
UNEVEN = ("--task_sizes", 2, 1, "--schedule", 1)
TWICE = (*UNEVEN, "--repeat", 2)


# What a run leaves


class Recorder(Listener):
    """Notes each moment with the place, and the generator that the second task learns from."""

    def __init__(self):
        self.told, self.generator = [], {}
        for moment in (name for name in vars(Listener) if not name.startswith("_")):
            setattr(self, moment, self.note(moment))

    def note(self, moment):
        def note(run=None, *_):
            self.told.append((moment, *(vars(run.place).values() if run else ())))
            if self.told[-1] == ("epoch_began", 0, 1, 1, 0):
                self.generator = {k: v.clone() for k, v in run.learner.generator.state_dict().items()}

        return note


def test_a_run_tells_each_moment_repeats_to_the_byte_and_leaves_the_published_files(
        finished, trainer, lasting, tmp_path):
    torch.manual_seed(12345)  # no result depends on the global random state
    run, recorder = trainer(tmp_path, ABD), Recorder()
    run.listeners.append(recorder)
    run.run()

    def epoch(task, stage, number):
        place = (0, task, stage, number)
        return [("epoch_began", *place), *[("step_taken", *place)] * 4, ("epoch_ended", *place)]

    assert recorder.told == [
        ("repeat_began", 0, 0, 0, 0), ("stages_began", 0, 0, 0, 0), *epoch(0, 0, 0), *epoch(0, 0, 1),
        ("stage_ended", 0, 0, 0, 2), ("task_ended", 0, 0, 1, 0), ("stages_began", 0, 1, 0, 0),
        *epoch(1, 0, 0), ("stage_ended", 0, 1, 0, 1),
        *epoch(1, 1, 0), *epoch(1, 1, 1), ("stage_ended", 0, 1, 1, 2),
        ("task_ended", 0, 1, 2, 0), ("run_ended", 1, 0, 0, 0), ("close",)]
    saved = torch.load(tmp_path / "models" / "repeat-1" / "task-1" / "generator.pth", weights_only=True)
    assert all(torch.equal(saved[name], value) for name, value in recorder.generator.items())

    assert lasting(tmp_path) == lasting(finished(ABD)) and records(tmp_path) == records(finished(ABD))
    accuracies = ("global", "pt", "pt-local", "over-images", "old", "new", "top1", "top5", "ncm")
    networks = ("task-1/class", "task-1/generator", "task-2/class")
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == {
        "args.yaml", "output.log", "metrics.jsonl", "provenance.yaml",
        "checkpoint.pt", "checkpoint-previous.pt", "run.lock", "results-mem/global.yaml",
        "results-time/global.yaml", *(f"results-acc/{name}.yaml" for name in accuracies),
        "results-acc/confusion-repeat-1.npy", "results-acc/classes-repeat-1.yaml",
        "models/repeat-1/classes.yaml", *(f"models/repeat-1/{name}.pth" for name in networks)}
    epochs = [one for one in records(tmp_path) if "epoch" in one]
    assert [(one["task"], one["stage"]) for one in epochs[1:4]] == [(1, "learn"), (2, "dream"), (2, "learn")]
    assert (epochs[3]["lr"], epochs[4]["lr"]) == pytest.approx((0.05, 0.005))
    assert set(epochs[4]["losses"]) == {"local", "finetune", "distillation"}
    networks = run.state.learner.model, run.state.learner.generator
    parameters = sum(p.numel() for network in networks for p in network.parameters())
    assert [row[0] for row in read(tmp_path / "results-mem" / "global.yaml")["history"]] == [parameters] * 2


def test_files_records_and_log_agree_on_every_measure(finished):
    folder = finished("NormalNN", *TWICE)
    names = {"global": "accuracy", "over-images": "accuracy_over_images"}
    names |= {name: name for name in ("old", "new", "top1", "top5", "ncm")}
    recorded = [one for one in records(folder) if "accuracy" in one]
    for file, name in names.items():
        values = [[np.nan if one[name] is None else one[name] for one in recorded if one["repeat"] == repeat]
                  for repeat in (1, 2)]
        history = read(folder / "results-acc" / f"{file}.yaml")["history"]
        np.testing.assert_equal(history, np.transpose(values).tolist())
    matrix = np.array(read(folder / "results-acc" / "pt.yaml")["history"])
    assert recorded[1]["accuracy"] == pytest.approx(matrix[:, 1, 0].mean())
    assert (matrix[:, :, 0] != matrix[:, :, 1]).any()  # repeats differ
    local = np.array(read(folder / "results-acc" / "pt-local.yaml")["history"])
    assert recorded[1]["by_task_local"] == local[:, 1, 0].tolist()
    for repeat in (1, 2):
        confusion = np.load(folder / "results-acc" / f"confusion-repeat-{repeat}.npy")
        last = [one for one in recorded if one["repeat"] == repeat][-1]
        assert 100 * confusion.diagonal().sum() / confusion.sum() == pytest.approx(last["top1"])
        assert 100 * confusion[2, 2] / confusion[2].sum() == pytest.approx(last["new"])
        mean, images = (f"{last[name]:.1f} %" for name in ("accuracy", "accuracy_over_images"))
        both = f"accuracy {mean} mean of tasks, {images} over images"
        assert any(both in line for line in lines_of(folder))


def test_validation_is_marked_wherever_an_accuracy_is_shown(finished, lasting):
    more = ("--max_task", 1, "--schedule", 1)
    folder = finished("NormalNN", "--validation", *more)
    for path in (folder / "results-acc").glob("*.yaml"):
        assert read(path).get("validation") is (None if "classes" in path.name else True)
    assert records(folder)[-1]["validation"] is True
    assert "validation" not in read(folder / "results-mem" / "global.yaml")
    lines = [line for line in lines_of(folder) if "accuracy" in line]
    assert lines[-1].startswith("final accuracy: ") and all("validation" in line for line in lines)
    plain = finished("NormalNN", *more)
    assert not any("validation" in line for line in lines_of(plain))
    assert "validation" not in read(plain / "results-acc" / "global.yaml")


def test_a_repeat_is_the_first_of_a_run_with_its_seed(finished, digits, tmp_path):
    """From the recorded settings; order, weights and streams: one number stands for all."""
    both = finished("NormalNN", *TWICE)
    flags = ["--config", str(both / "args.yaml"), "--seed", "1", "--repeat", "1", "--log_dir", str(tmp_path)]
    settings = parse(REGISTRY, flags)
    build_trainer(settings, digits, RunFolder(settings), CPU).run()
    for path in ("task-1/class.pth", "task-2/class.pth", "classes.yaml"):
        seeded, second, first = ((folder / "models" / repeat / path).read_bytes() for folder, repeat in (
            (tmp_path, "repeat-1"), (both, "repeat-2"), (both, "repeat-1")))
        assert seeded == second != first


# Numbers that go bad


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_the_run_within_the_epoch(trainer, tmp_path, monkeypatch, value):
    true_loss, steps = LWF.loss, []

    def loss(self, x, y):
        steps.append(None)
        return {name: term * (value if len(steps) >= 6 and name == "distillation" else 1)
                for name, term in true_loss(self, x, y).items()}

    monkeypatch.setattr(LWF, "loss", loss)
    with pytest.raises(RunError) as error:
        trainer(tmp_path, "LWF", "--schedule", 2, "--batch_size", 128).run()
    for part in ("task 2/2  learn  epoch 1/2", "step 2 of 2", "classification ", f"distillation {value}",
                 str(tmp_path / "checkpoint.pt"), "task 2, stage 1, 0 epochs done", "lower --lr"):
        assert part in str(error.value)
    assert "\n" not in str(error.value) and len(records(tmp_path)) == 3
    assert Place(**read_tensors(tmp_path / "checkpoint.pt")["place"]) == Place(0, 1)
    assert not (tmp_path / "models" / "repeat-1" / "task-2").exists()


@pytest.mark.parametrize("what", ["weights", "outputs"])
def test_weights_and_outputs_that_are_not_finite_stop_the_run(trainer, tmp_path, monkeypatch, what):
    more = ("--batch_size", 280, "--schedule", 1)
    expected = r"task 1/2  learn  epoch 1/1: .* is not finite after the last step, though all losses were"
    if what == "weights":
        more = (*more, "--lr", 1e38, "--weight_decay", 1e10)
    else:
        monkeypatch.setattr(Learner, "predict", lambda self, images: self.model(images) * math.inf)
        expected = "task 1/2: the model's outputs for some test images are not finite"
    with pytest.raises(RunError, match=expected):
        trainer(tmp_path, "NormalNN", *more).run()
    assert not (tmp_path / "models" / "repeat-1" / "task-1").exists()


@pytest.mark.parametrize("wrong", [lambda terms: sum(terms.values()), lambda terms: {"a": 1.0}])
def test_a_loss_that_returns_something_else_is_one_line_with_its_file(trainer, tmp_path, monkeypatch, wrong):
    true_loss = NormalNN.loss

    def loss(self, x, y):
        return wrong(true_loss(self, x, y))

    loss.__module__ = "learners.mine"
    monkeypatch.setattr(NormalNN, "loss", loss)
    with pytest.raises(RunError, match="^learners/mine.py: .*must return a dict of scalar tensors by name"):
        trainer(tmp_path, "NormalNN").run()


# Refused before any work


@pytest.mark.parametrize(("name", "flags", "message"), [
    ("NormalNN", ("--batch_size", 2000), r"--batch_size 2000: task 1 has \d+ images to learn, less than one"),
    ("NormalNN", ("--batch_size", 270, "--validation"), "--batch_size 270: task 1 has"),
    ("BIC", ("--memory", 19), "--memory 19: ")])
def test_what_has_no_batch_is_refused_and_deletes_nothing(copied, trainer, lasting, name, flags, message):
    folder = copied("NormalNN")
    before = lasting(folder)
    with pytest.raises(UserError, match=message):
        trainer(folder, name, "--overwrite", 1, *flags)
    assert lasting(folder) == before and (folder / "checkpoint.pt").exists()


class Page:
    """What a notebook may have in place of a stream."""

    def write(self, text):
        return len(text)

    def flush(self):
        pass


def test_a_run_in_a_thread_and_with_streams_that_lack_most_methods(trainer, tmp_path, monkeypatch):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, Page())
    done = []
    run = trainer(tmp_path, "NormalNN", "--max_task", 1).run
    thread = threading.Thread(target=lambda: done.append(run()))
    thread.start()
    thread.join()
    assert len(done[0].matrix) == 1
