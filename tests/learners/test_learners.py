"""Each published learner on a tiny problem, without the trainer; golden numbers pin the losses
(tests/test_conformance.py)."""

import pytest
import torch
from conftest import train
from torch import nn

from learners import LEARNERS
from models import Classifier
from tests.learners.conftest import DREAMING, PUBLISHED, prepare, same, state


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_learner_learns_two_tasks_from_the_teacher_of_the_one_before(problem, name):
    learner, tasks = problem(name)
    for task in tasks:
        learner.begin_task(task)
        learner.start_task(task)
        before, streams = state(learner), learner.streams.state_dict()
        stages = learner.stages(task)
        assert same(before, learner)  # asking for the stages changes nothing
        assert all(torch.equal(value, streams[key]) for key, value in learner.streams.state_dict().items())
        assert not next(stage for stage in stages if stage.name == "learn").optimizer.state
        teacher, model = state(learner.teacher), state(learner.model)
        for stage in stages:
            losses = train(learner, stage)
            assert losses and all(v.isfinite() and v.ndim == 0 for step in losses for v in step.values())
            assert same(teacher, learner.teacher)
            assert not any(p.requires_grad or p.grad is not None for p in learner.teacher.parameters())
        assert not same(model, learner.model) and not same(state(learner.model), learner.teacher)
        learner.end_task(task)
        assert same(state(learner.model), learner.teacher)
    before = state(learner)
    assert learner.eval().predict(torch.randn(5, 3, 32, 32)).shape == (5, 10)
    assert same(before, learner)


def test_the_learners_of_the_publications_are_there_each_with_a_docstring_and_a_file_of_its_own():
    kinds = {name: LEARNERS[name] for name in PUBLISHED}
    assert {name: kind.learner_type for name, kind in kinds.items()} == PUBLISHED
    assert len({kind.__module__ for kind in kinds.values()}) == len(kinds)
    assert all(kind.__doc__ for kind in kinds.values())


@pytest.mark.parametrize("name", ["LWF", "ETE", "BIC", "LWF_MC", *DREAMING])
def test_the_first_task_is_learned_as_base_learns_it_where_it_is_shared(problem, name):
    losses = []
    for which in ("NormalNN", name):
        torch.manual_seed(0)
        learner, tasks = problem(which, batch_size=16)
        losses.append([sum(step.values()).item() for step in train(learner, prepare(learner, tasks[0])[0])])
    shared = LEARNERS["NormalNN"].shares_first_task(LEARNERS[name])
    assert (losses[0] == losses[1]) == shared == (name not in ("AlwaysBeDreaming", "LWF_MC"))


def test_which_learners_share_their_first_task():
    shared = [name for name in PUBLISHED if LEARNERS[name].first_task == LEARNERS["NormalNN"].first_task]
    assert sorted(shared) == ["BIC", "DeepInversionGenBN", "DeepInversionLWF", "ETE", "LWF", "NormalNN"]
    alone = [LEARNERS[name].first_task for name in ("AlwaysBeDreaming", "LWF_MC", "Generative_Replay")]
    assert all(alone) and len(set(alone)) == 3
    assert LEARNERS["CwD"].shares_first_task(LEARNERS["RDFCIL"])
    same = type("Same", (LEARNERS["LWF"],), {})
    other = type("Other", (LEARNERS["LWF"],), {"loss": lambda self, x, y: {}})  # maybe another
    told = type("Told", (other,), {"first_task": LEARNERS["LWF"].first_task})
    assert [kind.shares_first_task(LEARNERS["LWF"]) for kind in (same, other, told)] == [True, False, True]
    assert [name for name in PUBLISHED if LEARNERS["RFD"].shares_first_task(LEARNERS[name])] == ["RFD"]


class Unordered(Classifier):
    """Declares its layers in another order than they run in."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 64, 3, padding=1), nn.Conv2d(64, 64, 3, padding=1)
        self.bn1, self.bn2 = nn.BatchNorm2d(64), nn.BatchNorm2d(64)
        self.last = nn.Linear(64, 10)

    def first_stage(self, images):
        return self.bn1(self.conv1(images)).relu()

    def later_stages(self, maps):
        return self.bn2(self.conv2(maps))


def test_a_network_is_evaluated_as_it_is_whatever_the_order_in_which_it_declares_its_layers(problem):
    learner, (task, _) = problem("NormalNN")
    learner.model, images = Unordered(), torch.randn(6, 3, 32, 32)
    for _ in range(3):
        learner.model(images)  # in training mode: its norms have seen something
    expected = learner.eval().predict(images)
    with learner.evaluating():
        torch.testing.assert_close(learner.predict(images), expected)
        assert not any(isinstance(layer, nn.BatchNorm2d) for layer in learner.model.modules())
    assert type(learner.model.bn1) is nn.BatchNorm2d


def test_the_learning_rate_falls_to_a_tenth_at_each_milestone(problem):
    learner, tasks = problem("NormalNN", schedule=[2, 3, 5], lr=0.1)
    stage, = prepare(learner, tasks[0])
    assert stage.epochs == 5
    assert [stage.start_epoch(epoch) for epoch in range(5)] == pytest.approx([0.1, 0.1, 0.01, 0.001, 0.001])


def test_the_optimiser_takes_the_settings(problem):
    learner, tasks = problem("NormalNN", lr=0.3, momentum=0.8, weight_decay=2e-4)
    group, = prepare(learner, tasks[0])[0].optimizer.param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.3, 0.8, 2e-4)
    assert len(group["params"]) == len(list(learner.model.parameters()))
    learner, tasks = problem("NormalNN", optimizer="Adam", lr=0.001, momentum=0.8)
    optimizer = prepare(learner, tasks[0])[0].optimizer
    assert isinstance(optimizer, torch.optim.Adam)
    assert optimizer.param_groups[0]["betas"] == (0.8, 0.999)
