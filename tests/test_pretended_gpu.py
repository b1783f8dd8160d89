"""Every learner's stages captured and replayed on a pretended GPU, a whole run, and faults that it must
catch."""

import gc
import itertools
import signal

import numpy as np
import pytest
import torch
import whole_runs
from conftest import tiny_flags, write_pictures
from pretended_gpu import GPU, Wrong
from pretended_gpu.machine import Generator, Stream
from torch import nn
from torch.nn import functional as F

from dataloaders.batches import Images, InMemory, Pixels
from dataloaders.coreset import herding
from dataloaders.image_files import ImageFiles
from learners import REGISTRY
from learners.base import Stage
from run import build_trainer
from tests.learners.conftest import PUBLISHED
from utils.command_line import parse
from utils.device import open_device, set_deterministic
from utils.errors import RunError, Stopped
from utils.training.folder import RunFolder
from utils.training.listeners import Listener
from utils.training.measures import measure
from utils.training.step import TrainingStep, mean_losses

CAUGHT = (Wrong, RunError)  # the latter names what went wrong in a capture


def steps(learner, stage, epochs=5, count=3):
    """Take some steps in each epoch of a stage, captured after the first ones; the rate falls on the way."""
    step = TrainingStep(stage, learner.streams, graph=True)
    for epoch in range(min(epochs, stage.epochs)):
        learner.eval()
        stage.trained.train()
        stage.start_epoch(epoch)
        for start in itertools.islice(stage.batches.starts(epoch), count):
            yield step(start)
    assert step.graph is not None
    gc.collect()


@pytest.fixture
def deterministic():
    set_deterministic(True)
    yield
    set_deterministic(False)


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_stage_is_captured_and_replayed_with_deterministic_kernels(
        machine, deterministic, problem, monkeypatch, name):
    monkeypatch.setattr("utils.training.step.EAGER_STEPS", 1)
    epochs = {"schedule": [3]} if name == "BIC" else {}  # one step of its bias stage each
    learner, tasks = problem(
        name, device=GPU, train_aug=True, deterministic=1, batch_size=8, power_iters=3, **epochs)
    for task in tasks:
        learner.begin_task(task)
        learner.start_task(task)
        for stage in learner.stages(task):
            machine.captures.clear()
            assert all(losses.isfinite().all() for losses in steps(learner, stage))
            assert machine.captures == [stage.name]
        learner.end_task(task)
    measure(learner, tasks)


class Watch(Listener):
    """From the first step of an epoch to its end the host waits once; every stage is captured once."""

    def __init__(self, machine):
        self.machine, self.first = machine, None

    def step_taken(self, run):
        if self.first is None:
            self.first = self.machine.waits.total()

    def epoch_ended(self, run, epoch):
        assert self.machine.waits.total() == self.first + 1, run.heading(epoch.stage, epoch.number)
        self.first = None

    def stage_ended(self, run, stage):
        assert self.machine.captures == [stage.name]  # also where the rate falls
        self.machine.captures.clear()


def test_a_whole_run_gives_the_numbers_of_the_cpu_and_waits_once_per_epoch(machine, monkeypatch):
    monkeypatch.setattr("utils.training.step.EAGER_STEPS", 1)

    def watched(*arguments):
        trainer = build_trainer(*arguments)
        trainer.listeners.append(Watch(machine))
        return trainer

    monkeypatch.setattr(whole_runs, "build_trainer", watched)
    got = whole_runs.measure("abd", "--gpuid", "0", "--max_task", "2")
    assert whole_runs.differences("abd", got, whole_runs.stored_run("abd")[:2]) == []


class StopAt(Listener):
    """The signal that Slurm sends, at a step."""

    def __init__(self, step):
        self.left = step

    def step_taken(self, run):
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGTERM)


def test_a_run_that_is_stopped_on_captured_steps_ends_as_an_undisturbed_one(machine, tmp_path):
    def run(folder, stop=0):
        more = ("--max_task", 2, "--batch_size", 6, "--power_iters", 5, "--train_aug", "--gpuid", 0)
        settings = parse(REGISTRY, tiny_flags("AlwaysBeDreaming", *more, "--log_dir", tmp_path / folder))
        device = open_device(settings)
        trainer = build_trainer(settings, whole_runs.made_up_images(), RunFolder(settings), device)
        trainer.listeners.append(StopAt(stop))
        trainer.run()
        left = tmp_path / folder / "models" / "repeat-1" / "task-2"
        return {path.name: path.read_bytes() for path in left.iterdir()}

    undisturbed = run("undisturbed")
    with pytest.raises(Stopped):
        run("stopped", stop=8 + 5 + 7)
    assert run("stopped") == undisturbed


# What the host waits for


def test_the_host_waits_once_for_an_epochs_losses_and_the_check_of_its_weights(machine, problem):
    learner, _ = problem("AlwaysBeDreaming", device=GPU)
    losses = [torch.rand(3, device=GPU) for _ in range(4)]
    machine.waits.clear()
    assert set(mean_losses(losses, ["a", "b", "c"], learner, "here")) == {"a", "b", "c"}
    assert [count for (what, _), count in machine.waits.items() if what != "synchronize"] == [1]


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


def test_images_on_disk_are_sent_without_a_wait_and_herding_waits_for_nothing(machine, tmp_path):
    write_pictures(tmp_path, [f"{place}.JPEG" for place in range(6)], 64, 0)
    labels, pixels = torch.zeros(6, dtype=torch.long, device=GPU), Pixels((0.5,), (0.5,), GPU)
    source = ImageFiles(np.array(sorted(tmp_path.iterdir())), labels, pixels, 0)
    rows, random = torch.arange(6, device=GPU).split(2), torch.Generator(GPU)
    features = torch.rand(50, 8, device=GPU)
    machine.waits.clear()
    assert len(herding(features, 20)) == 20 and not machine.waits
    assert [images.device for images in source.fetch(rows, random)] == 3 * [GPU]
    assert machine.waits.total() == 1  # for the rows


# Planted faults


class Faulty:
    """The first task of Base with something wrong in its loss."""

    def __init__(self, problem, loss=lambda learner, h, y: h.sum() * 0, **options):
        self.learner, (self.task, _) = problem("NormalNN", device=GPU, schedule=[4, 5], **options)
        self.learner.start_task(self.task)
        self.stage, = self.learner.stages(self.task)
        plain = self.stage.loss
        self.stage.loss = lambda x, y: {**plain(x, y), "fault": loss(self.learner, self.learner.model(x), y)}

    def run(self):
        for _ in steps(self.learner, self.stage):
            pass


LOSSES = {
    "item": (lambda learner, h, y: h.sum() * h.max().item(), "_local_scalar_dense.*while capturing"),
    "boolean mask": (lambda learner, h, y: h[y == 0].sum(), "with a mask while capturing"),
    "constant on the CPU": (lambda learner, h, y: (h * torch.ones(10)).sum(), "tensors on cuda:0 and on cpu"),
    "generator of the CPU": (
        lambda learner, h, y: (h * torch.rand(10, generator=torch.Generator(), device=h.device)).sum(),
        "a generator of cpu"),
    "generator that is not registered": (
        lambda learner, h, y: (h * torch.rand(10, generator=learner.streams.order, device=h.device)).sum(),
        "not registered with the graph"),
    "copy to the host": (
        lambda learner, h, y: h.sum() * h.detach().cpu().max().to(h.device), "copy to host while capturing"),
    "copy from the host": (
        lambda learner, h, y: h.sum() * torch.tensor(1.0, device=h.device), "torch.tensor while capturing"),
    "seeding within a step": (
        lambda learner, h, y: h.sum() * (learner.streams.noise.manual_seed(0) is not None),
        "manual_seed while capturing"),
}


@pytest.mark.parametrize("fault", LOSSES)
def test_a_fault_in_a_loss_is_caught(machine, problem, fault):
    loss, message = LOSSES[fault]
    with pytest.raises(CAUGHT, match=message):
        Faulty(problem, loss).run()


def test_a_kernel_that_is_not_deterministic_is_caught(machine, deterministic, problem):
    fault = Faulty(problem, lambda learner, h, y: F.pad(h[None, None], (1, 1, 1, 1), mode="reflect").sum())
    with pytest.raises(Wrong, match="reflection_pad2d_backward.* has no deterministic implementation"):
        fault.run()


@pytest.mark.parametrize("message", ["CUDA out of memory. Tried to allocate 2 GiB", "CUDA error: unknown"])
def test_a_gpu_that_fails_in_a_capture_is_no_fault_of_the_capture(machine, problem, message):
    def failing(learner, h, y):
        if machine.graph:
            raise RuntimeError(message)
        return h.sum() * 0

    with pytest.raises(RuntimeError, match=f"^{message}"):
        Faulty(problem, failing).run()


def falling_back(problem):
    """The losses of a stage that can't be captured and runs step by step, and what is said of it."""
    faulty, said = Faulty(problem, LOSSES["item"][0], train_aug=True), []
    step = TrainingStep(faulty.stage, faulty.learner.streams, graph=True, fall_back=said.append)
    faulty.learner.train()
    faulty.stage.start_epoch(0)
    return [step(start) for epoch in range(3) for start in faulty.stage.batches.starts(epoch)], said


def test_a_stage_that_cannot_be_captured_runs_step_by_step(machine, problem, monkeypatch):
    losses, (line,) = falling_back(problem)
    assert len(losses) > 5 and all(values.isfinite().all() for values in losses)
    assert line.startswith("--graph: the stage learn cannot be captured as a CUDA graph (_local_scalar_dense")
    assert line.endswith("--graph off runs it step by step, as this stage does now")
    monkeypatch.setattr(Generator, "graphsafe_set_state", lambda self, other: None)
    with pytest.raises(Wrong, match="Offset increment outside graph capture"):
        falling_back(problem)


def test_labels_on_the_cpu_are_caught(machine, problem):
    faulty = Faulty(problem)
    source, data = faulty.task.train.source, faulty.stage.batches.data
    elsewhere = InMemory(source.stored, source.labels.cpu(), source.pixels)
    faulty.stage.batches.data = Images(elsewhere, data.rows)
    with pytest.raises(Wrong, match="a tensor on cpu with an index on cuda:0"):
        faulty.run()


@pytest.mark.parametrize("which", ["before", "after"])
def test_a_wait_between_streams_that_is_left_out_is_caught(machine, problem, monkeypatch, which):
    faulty = Faulty(problem)
    wait = Stream.wait_stream

    def left_out(self, other):
        if (other is machine.default) != (which == "before"):
            wait(self, other)

    monkeypatch.setattr(Stream, "wait_stream", left_out)
    with pytest.raises(Wrong, match="another stream"):
        for losses in steps(faulty.learner, faulty.stage):
            assert losses.cpu().isfinite().all()


def test_a_rate_that_is_a_number_is_captured_again_when_it_falls_or_the_fault_is_caught(
        machine, problem, monkeypatch):
    def plain_rates(stage, epoch):
        for group in stage.optimizer.param_groups:
            group["lr"] = 0.01 * 0.1**epoch

    monkeypatch.setattr(Stage, "start_epoch", plain_rates)
    Faulty(problem).run()  # five epochs, the first without a capture
    assert machine.captures == 4 * ["learn"]
    monkeypatch.setattr(TrainingStep, "plain_rates", lambda self: [])
    with pytest.raises(Wrong, match="changed after the capture"):
        Faulty(problem).run()


def test_gradients_from_before_the_capture_are_caught(machine, problem, monkeypatch):
    faulty = Faulty(problem)
    zero = faulty.stage.optimizer.zero_grad
    monkeypatch.setattr(faulty.stage.optimizer, "zero_grad", lambda: zero(set_to_none=False))
    with pytest.raises(CAUGHT, match="gradients from before the capture"):
        faulty.run()


@pytest.mark.parametrize("message", ["a batch norm's momentum", "freed before a replay"])
def test_what_changes_or_is_freed_after_the_capture_is_caught(machine, problem, message):
    faulty = Faulty(problem, lambda learner, h, y: (h * learner.constant[0]).sum())
    faulty.learner.constant = [torch.ones(10, device=GPU)]
    with pytest.raises(Wrong, match=message):
        for number, _ in enumerate(steps(faulty.learner, faulty.stage)):
            if number == 5 and "momentum" in message:
                norms = (layer for layer in faulty.learner.modules() if isinstance(layer, nn.BatchNorm2d))
                next(norms).momentum = 0.5
            elif number == 5:
                faulty.learner.constant[0] = torch.ones(10, device=GPU)
                gc.collect()
