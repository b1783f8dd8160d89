"""Always Be Dreaming: its losses and its batch norm."""

import copy

import pytest
import torch
from conftest import train
from torch import nn
from torch.nn import functional as F


def test_abd_balances_the_classifier_alone(second_task, batch):
    learner, _, stages = second_task("AlwaysBeDreaming")
    losses = stages["learn"].loss(*batch(stages["learn"]))
    losses["finetune"].backward()
    reached = {name for name, p in learner.model.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached == {"last.weight", "last.bias"}


def test_abd_keeps_features_without_touching_the_classifier(second_task, batch):
    learner, _, stages = second_task("AlwaysBeDreaming")
    train(learner, stages["learn"])
    learner.zero_grad()
    losses = stages["learn"].loss(*batch(stages["learn"]))
    losses["distillation"].backward()
    reached = {name for name, p in learner.model.named_parameters() if p.grad is not None and p.grad.any()}
    assert "conv1.weight" in reached
    assert not any(name.startswith("last") for name in reached)


def test_abds_local_loss_ignores_old_and_unseen_outputs(second_task, batch):
    learner, task, stages = second_task("AlwaysBeDreaming")
    losses = stages["learn"].loss(*batch(stages["learn"]))
    losses["local"].backward()
    moved = learner.model.last.bias.grad != 0
    assert torch.nonzero(moved).flatten().tolist() == list(range(task.old, task.seen))


def test_abd_weighs_old_and_new_by_their_share(second_task, batch):
    learner, task, stages = second_task("AlwaysBeDreaming")
    x, y = batch(stages["learn"])
    dreams = torch.randn(len(x), 3, 32, 32)
    learner.dream = lambda count: dreams
    learner.eval()
    h, y_dream = learner.model(torch.cat([x, dreams])), learner.teacher(dreams)[:, : task.old].argmax(1)
    each = F.cross_entropy(h, torch.cat([y, y_dream]), reduction="none")
    expected = (each * 0.5).mean()  # two old and two new classes
    losses = learner.loss(x, y)
    torch.testing.assert_close(losses["finetune"], expected)
    torch.testing.assert_close(losses["local"], 0.5 * F.cross_entropy(h[: len(x), 2:4], y - 2))


def test_abds_batch_norm_learns_as_by_two_updates(second_task, batch):
    learner, _, stages = second_task("AlwaysBeDreaming")
    norm = learner.model.bn1
    assert norm.momentum == pytest.approx(0.19)
    twice = copy.deepcopy(norm)
    twice.momentum = 0.1
    x = torch.randn(8, 16, 4, 4)
    norm.train()(x)
    twice.train()(x)
    twice(x)
    torch.testing.assert_close(norm.running_mean, twice.running_mean)
    torch.testing.assert_close(norm.running_var, twice.running_var)


def test_abds_batch_norm_has_the_usual_momentum_in_the_first_task(problem):
    learner, tasks = problem("AlwaysBeDreaming")
    for task, momentum in (*zip(tasks, (0.1, 0.19)), (tasks[0], 0.1)):
        learner.start_task(task)
        assert [m.momentum for m in learner.model.modules() if isinstance(m, nn.BatchNorm2d)] == pytest.approx([momentum] * 7)
        assert {m.momentum for m in learner.teacher.modules() if isinstance(m, nn.BatchNorm2d)} == {0.1}
