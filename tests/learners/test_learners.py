"""Each published learner on a tiny problem, without the trainer; golden numbers pin the losses
(tests/test_conformance.py)."""

import dataclasses

import pytest
import torch
from conftest import serve, train
from torch import nn

from learners import LEARNERS
from models import classifier
from models.batch_norm import BatchNorm2d
from tests.learners.conftest import DREAMING, PUBLISHED, learn_task, prepare, same, state


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_learner_learns_two_tasks(problem, name):
    assert LEARNERS[name].learner_type == PUBLISHED[name] and LEARNERS[name].__doc__
    learner, tasks = problem(name)
    for task in tasks:
        learner.begin_task(task)
        learner.start_task(task)
        before, streams = state(learner), learner.streams.state_dict()
        stages = learner.stages(task)
        assert same(before, learner)  # asking for the stages changes nothing
        assert all(torch.equal(value, streams[key]) for key, value in learner.streams.state_dict().items())
        for stage in stages:
            losses = train(learner, stage)
            assert losses and all(v.isfinite() and v.ndim == 0 for step in losses for v in step.values())
        learner.end_task(task)
        assert same(state(learner.model), learner.teacher)
    before = state(learner)
    assert learner.eval().predict(torch.randn(5, 3, 32, 32)).shape == (5, 10)
    assert same(before, learner)


@pytest.mark.parametrize("name", ["LWF", "ETE", "BIC", "LWF_MC", *DREAMING])
def test_the_first_task_is_learned_as_base_learns_it_where_it_is_shared(problem, name):
    losses = []
    for which in ("NormalNN", name):
        learner, tasks = problem(which, batch_size=16)
        losses.append([sum(step.values()).item() for step in train(learner, prepare(learner, tasks[0])[0])])
    shared = LEARNERS["NormalNN"].shares_first_task(LEARNERS[name])
    assert (losses[0] == losses[1]) == shared == (name not in ("AlwaysBeDreaming", "LWF_MC"))


def test_which_learners_share_their_first_task():
    alone = [LEARNERS[name].first_task for name in ("AlwaysBeDreaming", "LWF_MC", "Generative_Replay")]
    assert all(alone) and len({*alone, LEARNERS["NormalNN"].first_task}) == 4
    assert LEARNERS["CwD"].shares_first_task(LEARNERS["RDFCIL"])
    same = type("Same", (LEARNERS["LWF"],), {})
    other = type("Other", (LEARNERS["LWF"],), {"loss": lambda self, x, y: {}})  # maybe another
    told = type("Told", (other,), {"first_task": LEARNERS["LWF"].first_task})
    assert [kind.shares_first_task(LEARNERS["LWF"]) for kind in (same, other, told)] == [True, False, True]
    assert [name for name in PUBLISHED if LEARNERS["RFD"].shares_first_task(LEARNERS[name])] == ["RFD"]


def test_a_network_is_evaluated_by_a_folded_copy(problem):
    learner, (task, _) = problem("NormalNN")
    images, kept = torch.randn(6, 3, 32, 32), learner.model
    learner.model(images)  # in training mode: its norms have seen something
    expected = learner.eval().predict(images)
    learner.train()
    with learner.evaluating():
        torch.testing.assert_close(learner.predict(images), expected)
        assert not any(isinstance(layer, nn.BatchNorm2d) for layer in learner.model.modules())
    assert learner.model is kept and type(kept.bn1) is BatchNorm2d


def test_a_rate_may_fall_along_a_cosine_and_the_optimiser_be_adam(problem):
    learner, tasks = problem("NormalNN", schedule=[2, 4], lr=0.4, schedule_type="cosine")
    stage, = prepare(learner, tasks[0])
    rates = [stage.start_epoch(epoch) for epoch in range(5)]
    assert rates == pytest.approx([0.4, 0.3414, 0.2, 0.0586, 0], abs=1e-4)
    learner, tasks = problem("NormalNN", optimizer="Adam", lr=0.001, momentum=0.8)
    optimizer = prepare(learner, tasks[0])[0].optimizer
    assert isinstance(optimizer, torch.optim.Adam)
    assert optimizer.param_groups[0]["betas"] == (0.8, 0.999)


def test_a_backbone_from_elsewhere_is_taken_and_may_be_frozen(problem, tmp_path):
    theirs = classifier("resnet", "resnet8", 3)
    state = {f"module.{name}": tensor for name, tensor in theirs.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "w")
    learner, tasks = problem("AlwaysBeDreaming", weights=str(tmp_path / "w"), freeze=True)
    assert learner.notes(tasks[0]) == [f"weights from {tmp_path / 'w'}"] and not learner.notes(tasks[1])
    for task in tasks:
        learn_task(learner, task)
    before = {name: t for name, t in theirs.state_dict().items() if not name.startswith("last.")}
    assert all(torch.equal(learner.model.state_dict()[name], t) for name, t in before.items())
    assert learner.model.last.weight.requires_grad and not learner.model.conv1.weight.requires_grad


# Settings in losses


def distillation(problem, name, **settings):
    """The terms of one step of the second task that distil."""
    learner, (first, second) = problem(name, **settings)
    learner.start_task(first)
    learner.end_task(first)
    stages = prepare(learner, second)
    with torch.no_grad():  # the model is no longer its teacher
        for parameter in learner.model.parameters():
            parameter.mul_(1.1)
    stage = next(stage for stage in stages if stage.name == "learn")
    learner.eval()
    losses = stage.loss(*next(iter(serve(stage.batches))))
    return torch.stack([value.detach() for term, value in losses.items() if "distillation" in term])


@pytest.mark.parametrize("name", ["LWF", "ETE", "BIC", "Generative_Replay", *DREAMING])
def test_mu_and_the_temperature_reach_the_loss(problem, name):
    once, twice, warmer = (
        distillation(problem, name, **more) for more in ({"mu": 0.1}, {"mu": 0.2}, {"mu": 0.1, "temp": 4.0}))
    assert once.any()
    torch.testing.assert_close(twice, once * (1 if name == "BIC" else 2))
    assert torch.allclose(warmer, once) == (name == "AlwaysBeDreaming")


@pytest.mark.parametrize(("name", "memory", "reads"), [
    ("NormalNN", 0, False), ("NormalNN", 40, True), ("LWF", 0, False), ("LWF", 40, True),
    ("LWF_MC", 0, False), ("ETE", 40, False), ("BIC", 40, False),
    ("Generative_Replay", 0, False), ("AlwaysBeDreaming", 0, False),
    ("DeepInversionGenBN", 0, True), ("DeepInversionLWF", 0, True)])
def test_who_reads_class_weights(problem, name, memory, reads):
    learner, (task, _) = problem(name, DW=True, memory=memory)
    of_class = [torch.nonzero(task.train.labels == label).flatten() for label in (0, 1)]
    few = dataclasses.replace(task, train=task.train[torch.cat([of_class[0][:6], of_class[1][:18]])])
    next(serve(prepare(learner, few)[-1].batches))
    assert (learner.class_weights is not None) == reads == LEARNERS[name].reads_DW(memory)
    if reads:
        torch.testing.assert_close(learner.class_weights, torch.tensor([26 / (7 * 2), 26 / (19 * 2)]))
