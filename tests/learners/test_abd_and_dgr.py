"""Always Be Dreaming: its losses and its batch norm. DGR: its two generators."""

import copy

import pytest
import torch
from conftest import train
from torch import nn
from torch.nn import functional as F

from learners.abd import AlwaysBeDreaming
from models import ResNet
from tests.learners.conftest import learn_task, prepare, same, state


def reached(learner):
    return {name for name, p in learner.model.named_parameters() if p.grad is not None and p.grad.any()}


def test_each_of_abds_losses_reaches_its_own_part_of_the_model(second_task, batch):
    learner, task, stages = second_task("AlwaysBeDreaming")
    train(learner, stages["learn"])
    parts = {}
    for loss in ("local", "finetune", "distillation"):
        learner.zero_grad()
        stages["learn"].loss(*batch(stages["learn"]))[loss].backward()
        parts[loss] = reached(learner)
        if loss == "local":  # old and unseen outputs are ignored
            moved = learner.model.last.bias.grad.nonzero().flatten().tolist()
            assert moved == list(range(task.old, task.seen))
    assert parts["finetune"] == {"last.weight", "last.bias"}
    assert "conv1.weight" in parts["distillation"]
    assert not any(name.startswith("last") for name in parts["distillation"])


def test_abd_weighs_old_and_new_by_their_share(second_task, batch):
    learner, task, stages = second_task("AlwaysBeDreaming")
    x, y = batch(stages["learn"])
    dreams = torch.randn(len(x), 3, 32, 32)
    learner.dream = lambda count: dreams
    learner.eval()
    h, y_dream = learner.model(torch.cat([x, dreams])), learner.teacher(dreams)[:, : task.old].argmax(1)
    each = F.cross_entropy(h, torch.cat([y, y_dream]), reduction="none")
    losses = learner.loss(x, y)
    torch.testing.assert_close(losses["finetune"], (each * 0.5).mean())  # two old and two new classes
    torch.testing.assert_close(losses["local"], 0.5 * F.cross_entropy(h[: len(x), 2:4], y - 2))


def test_abds_batch_norm_learns_as_by_two_updates_from_the_second_task_on(problem):
    learner, tasks = problem("AlwaysBeDreaming")
    for task, momentum in (*zip(tasks, (0.1, 0.19)), (tasks[0], 0.1)):
        learner.start_task(task)
        momenta = [m.momentum for m in learner.model.modules() if isinstance(m, nn.BatchNorm2d)]
        assert momenta == pytest.approx([momentum] * 7)
        assert {m.momentum for m in learner.teacher.modules() if isinstance(m, nn.BatchNorm2d)} == {0.1}
    learner.start_task(tasks[1])
    norm, x = learner.model.bn1, torch.randn(8, 16, 4, 4)
    twice = copy.deepcopy(norm)
    twice.momentum = 0.1
    norm.train()(x)
    twice.train()(x)
    twice(x)
    torch.testing.assert_close(norm.running_mean, twice.running_mean)
    torch.testing.assert_close(norm.running_var, twice.running_var)


def test_dgr_sees_images_in_the_unit_range_and_its_old_generator_is_that_of_the_task_before(problem):
    learner, tasks = problem("Generative_Replay")
    assert not learner.normalised
    images = learner.dream(4)
    assert images.shape == (4, 3, 32, 32) and 0 < images.min() < images.max() < 1
    first = state(learner.old_generator)
    learn_task(learner, tasks[0])
    assert not same(first, learner.old_generator)
    before = state(learner.generator)
    assert same(before, learner.old_generator)
    for stage in prepare(learner, tasks[1]):
        train(learner, stage)
    assert same(before, learner.old_generator) and not same(before, learner.generator)


def test_dgrs_solver_and_generator_do_not_touch_each_other(problem):
    learner, tasks = problem("Generative_Replay")
    learner.start_task(tasks[1])
    losses = learner.loss(torch.rand(8, 3, 32, 32), torch.randint(2, 4, (8,)))
    (losses["classification"] + losses["distillation"]).backward(retain_graph=True)
    assert all(p.grad is None for p in learner.generator.parameters())
    grads = [p.grad.clone() for p in learner.model.parameters()]
    (losses["reconstruction"] + losses["divergence"]).backward()
    assert all(torch.equal(p.grad, before) for p, before in zip(learner.model.parameters(), grads))
    assert all(p.grad is not None for p in learner.generator.parameters())


def test_abd_starts_from_the_momentum_that_a_network_declares(problem, monkeypatch):
    def declared(settings):
        model = ResNet(1, 10)
        model.bn1.momentum, model.layer1[0].bn1.momentum = 0.01, None
        return model

    monkeypatch.setattr(AlwaysBeDreaming, "new_model", declared)
    learner, tasks = problem("AlwaysBeDreaming")
    for task, momentum in zip(tasks, (0.01, 1 - 0.99**2)):
        learner.start_task(task)
        assert learner.model.bn1.momentum == pytest.approx(momentum)
        assert learner.model.layer1[0].bn1.momentum is None
