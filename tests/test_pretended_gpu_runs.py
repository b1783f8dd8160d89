"""Whole runs on a pretended GPU, as run.py starts them: the numbers of a learner of each kind (with --slow of every one), a stop and a
resume, the diagnosis, a first task taken over."""

import json
import signal

import numpy as np
import pytest
import torch
import whole_runs
from conftest import tiny_flags, write_pictures
from pretended_gpu import GPU, pretended

from dataloaders.batches import Pixels
from dataloaders.coreset import herding
from dataloaders.image_files import ImageFiles
from learners import LEARNERS, REGISTRY, Learner
from run import build_trainer
from utils.command_line import parse
from utils.device import open_device, probe
from utils.errors import Stopped
from utils.files import on_cpu, read_tensors
from utils.reports.diagnose import diagnose
from utils.training.folder import RunFolder
from utils.training.listeners import Listener
from utils.training.measures import measure


class Watch(Listener):
    """From the first step of an epoch to its end the host waits once and sends nothing; every stage is captured once."""

    def __init__(self, machine):
        self.machine = machine
        self.first = None

    def step_taken(self, run):
        if self.first is None:
            self.first = self.machine.waits.total()

    def epoch_ended(self, run, epoch):
        assert self.machine.waits.total() == self.first + 1, run.heading(epoch.stage, epoch.number)
        self.first = None

    def stage_ended(self, run, stage):
        assert self.machine.captures == [stage.name]  # also where the rate falls
        self.machine.captures.clear()


@pytest.fixture
def watched(machine, monkeypatch):
    """The small whole runs, with captures so early that each is replayed. Checkpoints leave the GPU and are not written, which would take
    half of the time."""
    monkeypatch.setattr("utils.training.step.EAGER_STEPS", 1)
    monkeypatch.setattr(RunFolder, "save", lambda folder, state: on_cpu(state))

    def build(*arguments):
        trainer = build_trainer(*arguments)
        trainer.listeners.append(Watch(machine))
        return trainer

    monkeypatch.setattr(whole_runs, "build_trainer", build)


BRIEF = ("base", "lwf_mc", "e2e", "bic", "dgr", "abd", "rfd")  # one of every kind of step; those of the others are alike


@pytest.mark.parametrize("name", [name if name in BRIEF else pytest.param(name, marks=pytest.mark.slow) for name in whole_runs.RUNS])
def test_a_small_whole_run_gives_the_numbers_stored_of_the_cpu(watched, name):
    assert whole_runs.differences(name, whole_runs.measure(name, "--gpuid", "0"), whole_runs.stored_run(name)) == []


def test_a_loss_that_waits_for_the_host_is_caught_though_its_stage_falls_back_to_plain_steps(watched, monkeypatch):
    learner = LEARNERS["NormalNN"]
    plain = learner.loss
    monkeypatch.setattr(learner, "loss", lambda self, x, y: {name: loss + 0 * loss.item() for name, loss in plain(self, x, y).items()})
    with pytest.raises(AssertionError, match="task 1/3  learn"):
        whole_runs.measure("base", "--gpuid", "0")


# A run that is stopped, and what is made of a finished one


class StopAt(Listener):
    """The signal that Slurm sends, at a step."""

    def __init__(self, step):
        self.left = step

    def step_taken(self, run):
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGTERM)


def run(machine, folder, *more, stop=0):
    """Three tasks of ABD, as run.py does them; a stage has 8 steps, a dreaming one 6."""
    flags = ("--max_task", 3, "--batch_size", 6, "--power_iters", 6, "--train_aug", "--gpuid", 0, "--log_dir", folder, *more)
    settings = parse(REGISTRY, tiny_flags("AlwaysBeDreaming", *flags))
    device = open_device(settings)
    probe(device)
    trainer = build_trainer(settings, whole_runs.made_up_images(), RunFolder(settings), device)
    trainer.listeners += [Watch(machine), StopAt(stop)]
    trainer.run()
    return folder


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    with pretended() as machine:
        return run(machine, tmp_path_factory.mktemp("undisturbed"), "--no_figures", 0)


def files(folder):
    """What a run leaves but times: {path: content}."""
    kept = [path for path in folder.rglob("*.*") if path.suffix in (".pth", ".png", ".npy", ".yaml")]
    left = {path.relative_to(folder).as_posix(): path.read_bytes() for path in kept}
    del left["args.yaml"], left["results-time/global.yaml"]  # the former names the folder
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    left["metrics.jsonl"] = [{name: value for name, value in line.items() if "seconds" not in name} for line in lines]
    return left


def test_a_run_that_is_stopped_twice_on_captured_steps_leaves_what_an_undisturbed_one_does(machine, undisturbed, tmp_path):
    for stage, step in (("dream", 8 + 5), ("learn", 6 + 7)):  # both of the second task, the latter in its last epoch
        with pytest.raises(Stopped):
            run(machine, tmp_path, "--no_figures", 0, stop=step)
        assert machine.captures.pop() == stage
    run(machine, tmp_path, "--no_figures", 0)
    mine, theirs = files(tmp_path), files(undisturbed)
    assert mine.keys() == theirs.keys() and len([name for name in mine if name.endswith(".png")]) == 5
    assert [name for name in mine if mine[name] != theirs[name]] == []


def test_a_finished_run_is_diagnosed_as_on_the_cpu(undisturbed):
    with pretended():
        found = diagnose(undisturbed, count=20, device=GPU)
    for task, values in diagnose(undisturbed, count=20).values.items():
        assert found.values[task] == pytest.approx(values, rel=1e-4, abs=1e-6)


def test_a_first_task_that_is_taken_over_leads_to_the_same_second(machine, undisturbed, tmp_path):
    run(machine, tmp_path, "--load_model_dir", undisturbed, "--max_task", 2)
    for task in (1, 2):
        path = f"models/repeat-1/task-{task}/class.pth"
        assert (tmp_path / path).read_bytes() == (undisturbed / path).read_bytes()


def test_in_bf16_a_run_is_nearly_that_of_fp32(machine, undisturbed, tmp_path):
    run(machine, tmp_path, "--precision", "bf16", "--max_task", 2)
    weights = read_tensors(tmp_path / "models" / "repeat-1" / "task-2" / "class.pth")
    assert {value.dtype for value in weights.values() if value.is_floating_point()} == {torch.float32}
    for mine, theirs in zip(files(tmp_path)["metrics.jsonl"][:2], files(undisturbed)["metrics.jsonl"]):
        assert mine["losses"] == pytest.approx(theirs["losses"], rel=0.1) and mine["losses"] != theirs["losses"]


# Between stages


def test_an_evaluation_waits_for_the_host_as_often_whatever_the_number_of_batches(machine, problem):
    learner, tasks = problem("NormalNN", device=GPU)
    waits = []
    for size in (500, 9):
        for task in tasks:
            for images in (task.train, task.test):
                object.__setattr__(images.source, "evaluation_batch", size)
        machine.waits.clear()
        measure(learner, tasks)
        waits.append(machine.waits.total())
    assert waits[0] == waits[1] < 12


def test_a_wait_at_every_batch_of_an_evaluation_would_be_seen(machine, problem, monkeypatch):
    predict = Learner.predict
    monkeypatch.setattr(Learner, "predict", lambda self, images: predict(self, images) * images.isfinite().all().item())
    with pytest.raises(AssertionError):
        test_an_evaluation_waits_for_the_host_as_often_whatever_the_number_of_batches(machine, problem)


def test_images_on_disk_are_sent_without_a_wait_and_an_epochs_rows_come_by_one(machine, tmp_path):
    write_pictures(tmp_path, [f"{place}.JPEG" for place in range(6)], 64, 0)
    source = ImageFiles(np.array(sorted(tmp_path.iterdir())), torch.zeros(6, dtype=torch.long, device=GPU), Pixels((0.5,), (0.5,), GPU), 0)
    rows, random = torch.arange(6, device=GPU).split(2), torch.Generator(GPU)
    machine.waits.clear()
    assert [images.device for images in source.fetch(rows, random)] == 3 * [GPU]
    assert machine.waits.total() == 1


def test_herding_waits_for_nothing(machine):
    features = torch.rand(50, 8, device=GPU)
    machine.waits.clear()
    assert len(herding(features, 20)) == 20 and not machine.waits
