"""Faults that a pretended GPU must catch, stage by stage on the capture path; whole runs are in test_pretended_gpu_runs.py."""

import gc
import itertools

import pytest
import torch
from conftest import LEARNERS
from pretended_gpu import GPU, Wrong
from pretended_gpu.machine import Generator, Stream
from torch import nn
from torch.nn import functional as F
from utils.training.failures import mean_losses

from dataloaders.batches import Images, InMemory
from learners.base import Stage
from utils.device import set_deterministic
from utils.errors import RunError
from utils.training.measures import measure
from utils.training.step import TrainingStep

CAUGHT = (Wrong, RunError)  # the latter names what went wrong in a capture


def steps(learner, stage, epochs=5, count=3):
    """So many steps in each epoch of a stage, captured after the first ones; the rate falls on the way."""
    step = TrainingStep(stage, learner.streams, graph=True)
    for epoch in range(min(epochs, stage.epochs)):
        learner.eval()
        stage.trained.train()
        stage.start_epoch(epoch)
        for start in itertools.islice(stage.batches.starts(epoch), count):
            yield step(start)
    assert step.graph is not None
    gc.collect()


def test_the_host_waits_once_for_an_epochs_losses_and_the_check_of_its_weights(machine, problem):
    learner, _ = problem("AlwaysBeDreaming", device=GPU)
    losses = [torch.rand(3, device=GPU) for _ in range(4)]
    machine.waits.clear()
    launched = machine.launches
    assert set(mean_losses(losses, ["a", "b", "c"], learner, "here")) == {"a", "b", "c"}
    assert [count for (what, _), count in machine.waits.items() if what != "synchronize"] == [1]
    assert machine.launches - launched < 12  # whatever the number of weights


@pytest.fixture
def deterministic():
    set_deterministic(True)
    yield
    set_deterministic(False)


@pytest.mark.parametrize("name", LEARNERS)
def test_a_deterministic_run_uses_no_kernel_that_torch_would_refuse(machine, deterministic, problem, name):
    learner, tasks = problem(name, device=GPU, train_aug=True, deterministic=1)
    for task in tasks:
        learner.start_task(task)
        for stage in learner.stages(task):
            step = TrainingStep(stage, learner.streams)
            stage.trained.train()
            stage.start_epoch(0)
            assert step(next(stage.batches.starts(0))).isfinite().all()
        learner.end_task(task)
        measure(learner, [task])


# Planted faults: each must be caught


class Faulty:
    """The first task of Base with something wrong in its loss."""

    def __init__(self, problem, loss=lambda learner, h, y: h.sum() * 0, **options):
        self.learner, (self.task, _) = problem("NormalNN", device=GPU, schedule=[4, 5], **options)
        self.learner.start_task(self.task)
        self.stage, = self.learner.stages(self.task)
        plain = self.stage.loss

        def faulty(x, y):
            losses = plain(x, y)
            return {**losses, "fault": loss(self.learner, self.learner.model(x), y)}

        self.stage.loss = faulty

    def run(self):
        for _ in steps(self.learner, self.stage):
            pass


LOSSES = {
    "item": (lambda learner, h, y: h.sum() * h.max().item(), "_local_scalar_dense.*while capturing"),
    "boolean mask": (lambda learner, h, y: h[y == 0].sum(), "with a mask while capturing"),
    "constant on the CPU": (lambda learner, h, y: (h * torch.ones(10)).sum(), "tensors on cuda:0 and on cpu"),
    "generator of the CPU": (lambda learner, h, y: (h * torch.rand(10, generator=torch.Generator(), device=h.device)).sum(), "a generator of cpu"),
    "generator that is not registered": (
        lambda learner, h, y: (h * torch.rand(10, generator=learner.streams.order, device=h.device)).sum(), "not registered with the graph"),
    "copy to the host": (lambda learner, h, y: h.sum() * h.detach().cpu().max().to(h.device), "copy to host while capturing"),
    "copy from the host": (lambda learner, h, y: h.sum() * torch.tensor(1.0, device=h.device), "torch.tensor while capturing"),
    "seeding within a step": (lambda learner, h, y: h.sum() * (learner.streams.noise.manual_seed(0) is not None), "manual_seed while capturing"),
}


def test_a_kernel_that_is_not_deterministic_is_caught(machine, deterministic, problem):
    fault = Faulty(problem, lambda learner, h, y: F.pad(h.view(1, 1, *h.shape), (1, 1, 1, 1), mode="reflect").sum())
    with pytest.raises(Wrong, match="reflection_pad2d_backward.* has no deterministic implementation"):
        fault.run()


@pytest.mark.parametrize("fault", LOSSES)
def test_a_fault_in_a_loss_is_caught(machine, problem, fault):
    loss, message = LOSSES[fault]
    with pytest.raises(CAUGHT, match=message):
        Faulty(problem, loss).run()


def test_without_a_fault_all_is_well(machine, problem):
    Faulty(problem).run()


def test_a_stage_that_cannot_be_captured_is_one_line_with_the_remedy(machine, problem):
    loss, _ = LOSSES["item"]
    with pytest.raises(RunError, match=r"^--graph: the stage learn cannot be captured as a CUDA graph \(_local_scalar_dense.*\); --graph off runs"):
        Faulty(problem, loss).run()


@pytest.mark.parametrize("message", ["CUDA out of memory. Tried to allocate 2.00 GiB", "CUDA error: unspecified launch failure"])
def test_a_gpu_that_fails_in_a_capture_is_no_fault_of_the_capture(machine, problem, message):
    def failing(learner, h, y):
        if machine.graph:
            raise RuntimeError(message)
        return h.sum() * 0

    with pytest.raises(RuntimeError, match=f"^{message}"):
        Faulty(problem, failing).run()


def test_a_stage_that_cannot_be_captured_runs_step_by_step_where_that_is_allowed(machine, problem):
    loss, _ = LOSSES["item"]
    faulty, said = Faulty(problem, loss, train_aug=True), []
    step = TrainingStep(faulty.stage, faulty.learner.streams, graph=True, fall_back=said.append)
    faulty.learner.train()
    faulty.stage.start_epoch(0)
    losses = [step(start) for epoch in range(3) for start in faulty.stage.batches.starts(epoch)]
    assert len(losses) > 5 and all(values.isfinite().all() for values in losses) and step.graph is None
    line, = said
    assert line.startswith("--graph: the stage learn cannot be captured")
    assert line.endswith("--graph off runs it step by step, as this stage does now")


def test_random_numbers_that_a_failed_capture_still_holds_are_caught(machine, problem, monkeypatch):
    monkeypatch.setattr(Generator, "graphsafe_set_state", lambda self, other: None)
    with pytest.raises(Wrong, match="Offset increment outside graph capture"):
        test_a_stage_that_cannot_be_captured_runs_step_by_step_where_that_is_allowed(machine, problem)


def test_labels_on_the_cpu_are_caught(machine, problem):
    faulty = Faulty(problem)
    source = faulty.task.train.source
    elsewhere = InMemory(source.stored, source.labels.cpu(), source.pixels)
    data = faulty.stage.batches.data
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


def plain_rates(stage, epoch):
    """In the place of Stage.start_epoch: rates that are numbers, which a capture takes as they are."""
    for group in stage.optimizer.param_groups:
        group["lr"] = 0.01 * 0.1**epoch


def test_a_rate_that_is_a_number_is_captured_again_when_it_falls(machine, problem, monkeypatch):
    monkeypatch.setattr(Stage, "start_epoch", plain_rates)
    Faulty(problem).run()  # five epochs, the first without a capture
    assert machine.captures == 4 * ["learn"]


def test_a_rate_that_falls_without_the_captured_step_seeing_it_is_caught(machine, problem, monkeypatch):
    monkeypatch.setattr(Stage, "start_epoch", plain_rates)
    monkeypatch.setattr(TrainingStep, "outdated", lambda self: False)
    with pytest.raises(Wrong, match="changed after the capture"):
        Faulty(problem).run()


def test_gradients_from_before_the_capture_are_caught(machine, problem, monkeypatch):
    faulty = Faulty(problem)
    zero = faulty.stage.optimizer.zero_grad
    monkeypatch.setattr(faulty.stage.optimizer, "zero_grad", lambda: zero(set_to_none=False))
    with pytest.raises(CAUGHT, match="gradients from before the capture"):
        faulty.run()


def test_a_momentum_that_changes_after_the_capture_is_caught(machine, problem):
    faulty = Faulty(problem)
    with pytest.raises(Wrong, match="a batch norm's momentum"):
        for number, _ in enumerate(steps(faulty.learner, faulty.stage)):
            if number == 5:
                next(layer for layer in faulty.learner.modules() if isinstance(layer, nn.BatchNorm2d)).momentum = 0.5


def test_a_tensor_that_is_freed_before_a_replay_is_caught(machine, problem):
    faulty = Faulty(problem, lambda learner, h, y: (h * learner.constant[0]).sum())
    faulty.learner.constant = [torch.ones(10, device=GPU)]
    with pytest.raises(Wrong, match="freed before a replay"):
        for number, _ in enumerate(steps(faulty.learner, faulty.stage)):
            if number == 5:
                faulty.learner.constant[0] = torch.ones(10, device=GPU)
                gc.collect()
