"""Every learner's stages captured and replayed on a pretended GPU, a whole run, and faults it must catch."""

import gc
import itertools

import pytest
import torch
import whole_runs
from pretended_gpu import GPU, Wrong, pretended
from steps import enter
from torch.nn import functional as F

from tests.learners.conftest import PUBLISHED
from utils.device import set_deterministic
from utils.errors import RunError
from utils.training.listeners import Listener
from utils.training.measures import measure
from utils.training.step import TrainingStep


@pytest.fixture
def machine(monkeypatch):
    monkeypatch.setattr("utils.training.step.EAGER_STEPS", 1)
    set_deterministic(True)
    with pretended() as machine:
        yield machine
    set_deterministic(False)


def steps(learner, stage, **options):
    """Take two steps in each of the first epochs of a stage, of which the first is not captured."""
    step = TrainingStep(stage, learner.streams, graph=True, **options)
    for epoch in range(min(4, stage.epochs)):
        enter(learner, stage, epoch)
        for start in itertools.islice(stage.batches.starts(epoch), 2):
            yield step(start)
    gc.collect()


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_stage_is_captured_and_replayed_with_deterministic_kernels(machine, problem, name):
    epochs = {"schedule": [3]} if name == "BIC" else {}  # one step of its bias stage each
    learner, tasks = problem(name, device=GPU, train_aug=True, deterministic=1, batch_size=8, **epochs)
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
    """From the first step of an epoch to its end the host waits once."""

    def __init__(self, machine):
        self.machine, self.first = machine, None

    def step_taken(self, run):
        self.first = self.machine.waits.total() if self.first is None else self.first

    def epoch_ended(self, run, epoch):
        assert self.machine.waits.total() == self.first + 1, run.heading(epoch.stage, epoch.number)
        self.first = None


def test_a_whole_run_gives_the_numbers_of_the_cpu_and_waits_once_per_epoch(machine):
    got = whole_runs.measure("abd", "--gpuid", "0", "--max_task", "2", listeners=[Watch(machine)])
    assert whole_runs.differences("abd", got, whole_runs.stored_run("abd")["tasks"][:2]) == []


# Planted faults


@pytest.fixture
def base(machine, problem):
    """Take the first task's steps of Base with a fault added to its loss, or a change on the way:
    base(fault, change) -> the losses."""
    def run(fault=lambda learner, h, y: (h * learner.constant).sum(), change=None, **options):
        learner, (task, _) = problem("NormalNN", device=GPU, schedule=[4, 5])
        learner.constant = torch.ones(10, device=GPU)
        learner.start_task(task)
        stage, = learner.stages(task)
        plain = stage.loss
        stage.loss = lambda x, y: {**plain(x, y), "fault": fault(learner, learner.model(x), y)}
        losses = []
        for values in steps(learner, stage, **options):
            losses.append(values)
            if change and len(losses) == 3:
                change(learner, stage)
        return losses

    return run


LOSSES = {
    "_local_scalar_dense.* while capturing": lambda learner, h, y: h.sum() * h.max().item(),
    "with a mask while capturing": lambda learner, h, y: h[y == 0].sum(),
    "tensors on cuda:0 and on cpu": lambda learner, h, y: (h * torch.ones(10)).sum(),
    "a generator of cpu": lambda learner, h, y: (
        h * torch.rand(10, generator=torch.Generator(), device=h.device)).sum(),
    "not registered with the graph": lambda learner, h, y: (
        h * torch.rand(10, generator=learner.streams.order, device=h.device)).sum(),
    "copy to host while capturing": lambda learner, h, y: h.sum() * h.detach().cpu().max().to(h.device),
    "torch.tensor while capturing": lambda learner, h, y: h.sum() * torch.tensor(1.0, device=h.device),
    "no deterministic implementation": lambda learner, h, y: (
        F.pad(h[None, None], (1, 1, 1, 1), mode="reflect").sum())}


@pytest.mark.parametrize("message", LOSSES)
def test_a_fault_in_a_loss_is_caught(base, message):
    with pytest.raises((Wrong, RunError), match=message):  # the latter names what went wrong in a capture
        base(LOSSES[message])


def test_a_stage_that_cannot_be_captured_runs_step_by_step(base):
    said = []
    losses = base(lambda learner, h, y: h.sum() * h.max().item(), fall_back=said.append)
    assert len(losses) == 8 and all(values.isfinite().all() for values in losses)
    line, = said
    assert line.startswith("--graph: the stage learn cannot be captured as a CUDA graph (_local_scalar_dense")
    assert line.endswith("--graph off runs it step by step, as this stage does now")


def test_a_gpu_that_fails_in_a_capture_is_no_fault_of_the_capture(base, machine):
    def failing(learner, h, y):
        if machine.graph:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return h.sum() * 0

    with pytest.raises(RuntimeError, match="^CUDA out of memory"):
        base(failing)


def test_a_rate_that_is_a_number_is_captured_again_when_it_changes(base, machine):
    base(change=lambda learner, stage: stage.optimizer.param_groups[0].update(lr=0.001))
    assert machine.captures == 3 * ["learn"]  # the next epoch has a tensor again


CHANGES = {
    "momentum": lambda learner, stage: stage.optimizer.param_groups[0].update(momentum=0.5),
    "mode": lambda learner, stage: learner.model.eval(),
    "constant": lambda learner, stage: setattr(learner, "constant", torch.ones(10, device=GPU))}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_after_the_capture_is_caught(base, change):
    with pytest.raises(Wrong, match="changed after the capture|freed before a replay"):
        base(change=CHANGES[change])
