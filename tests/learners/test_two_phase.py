"""R-DFCIL, CwD and RFD on a tiny problem; golden numbers pin their losses (tests/successors.py)."""

import pytest
import torch
from conftest import TWO_PHASES, serve, train
from torch import nn

from learners.base import Stage
from learners.cwd import class_statistics
from models import HeadPairs
from tests.learners.conftest import state

FAMILY = {"model_type": "rdfcil_resnet", "transforms": "rdfcil"}


def changed(before, network):
    return {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}


@pytest.fixture
def second_task(problem):
    """A learner that has learned its first task, in front of the second: (learner, task, {stage name:
    stage})."""

    def build(name, **more):
        learner, tasks = problem(name, **{**FAMILY, "schedule": [3], "lr": 0.05, "momentum": 0.9, **more})
        for task in tasks:
            learner.streams.start(0, task.index)
            learner.begin_task(task)
            learner.start_task(task)
            stages = learner.stages(task)
            if task.index:
                return learner, task, {stage.name: stage for stage in stages}
            assert [stage.name for stage in stages] == ["learn"]
            train(learner, stages[0])
            learner.end_task(task)

    return build


@pytest.mark.parametrize("name", TWO_PHASES)
def test_in_the_second_phase_the_heads_alone_learn_and_no_statistic_moves(second_task, name):
    learner, _, stages = second_task(name)
    train(learner, stages["learn"])
    before = state(learner.model)
    train(learner, stages["heads"])
    moved = changed(before, learner.model)
    assert moved
    assert all(name.startswith("last.") for name in moved)


@pytest.mark.parametrize("name", TWO_PHASES)
def test_one_optimiser_goes_through_both_phases_with_its_momentum(second_task, name):
    learner, _, stages = second_task(name)
    assert stages["heads"].optimizer is stages["learn"].optimizer
    train(learner, stages["learn"])
    head = next(learner.model.last.parameters())
    momentum = stages["learn"].optimizer.state[head]["momentum_buffer"].clone()
    backbone = stages["learn"].optimizer.state[learner.model.conv1.weight]["momentum_buffer"].clone()
    assert momentum.any()
    train(learner, stages["heads"])
    buffers = stages["heads"].optimizer.state
    assert not torch.equal(buffers[head]["momentum_buffer"], momentum)
    assert torch.equal(buffers[learner.model.conv1.weight]["momentum_buffer"], backbone)


def test_the_second_phase_is_a_share_of_the_epochs_at_a_rate_of_its_own(second_task):
    _, _, stages = second_task("RDFCIL", schedule=[8, 12, 20], lr=0.1)
    rates = [stages["learn"].start_epoch(epoch) for epoch in range(stages["learn"].epochs)]
    assert rates == pytest.approx([0.1] * 8 + [0.01] * 4 + [0.001] * 4)
    heads = stages["heads"]
    assert [heads.start_epoch(epoch) for epoch in range(heads.epochs)] == pytest.approx([0.005] * 4)


@pytest.mark.parametrize("name", TWO_PHASES)
def test_both_phases_count_classes_and_the_weights_are_of_the_epoch_before(second_task, name):
    learner, task, stages = second_task(name)
    steps = len(train(learner, stages["learn"]))
    assert learner.counts.sum() == steps * 2 * learner.settings.batch_size
    dreamed, real = learner.counts[: task.old].sum(), learner.counts[task.old : task.seen].sum()
    assert dreamed == real
    assert torch.equal(learner.weights, torch.ones_like(learner.weights))
    heads = stages["heads"]
    heads.start_epoch(0)
    made = learner.weights.clone()
    assert made[: task.seen].min() == 1
    learner.eval()
    heads.loss(*next(serve(heads.batches)))
    assert torch.equal(learner.weights, made)
    heads.start_epoch(1)
    counts = learner.counts[: task.seen]
    expected = counts.sum() / counts.clamp(min=1)
    torch.testing.assert_close(learner.weights[: task.seen], expected / expected.min())


@pytest.mark.parametrize("name", TWO_PHASES)
def test_a_task_begins_with_a_generator_and_heads_of_its_own_always_the_same(second_task, name):
    (one, task, _), (other, _, _) = second_task(name), second_task(name)
    assert not changed(state(one), other)
    before = state(one)
    one.begin_task(task)
    assert not changed(before, one)
    one.streams.start(0, task.index + 1)
    one.begin_task(task)
    renewed = changed(before, one)
    assert any(name.startswith("generator.") for name in renewed)
    heads = {name for name in renewed if name.startswith("model.")}
    assert heads and all(name.startswith("model.last.") for name in heads)
    old, new = before_weight(before, one), one.model.last.weight
    assert not torch.equal(old[task.old : task.seen], new[task.old : task.seen])
    assert torch.equal(old[: task.old], new[: task.old])


def before_weight(before, learner):
    """The logits' matrix as it was: [classes, features]."""
    last = learner.model.last
    if isinstance(last, HeadPairs):
        count = len(last.ranges)
        first, second = (
            [before[f"model.last.{layer}.{task}"] for task in range(count)] for layer in ("first", "second"))
        return torch.cat([b @ a for a, b in zip(first, second)])
    return before["model.last.weight"]


@pytest.mark.parametrize("name", TWO_PHASES)
def test_the_generators_optimiser_does_not_live_on(second_task, name):
    learner, _, stages = second_task(name)
    assert learner.lasting_optimizers() == {}
    assert not stages["dream"].optimizer.state
    train(learner, stages["dream"])
    assert stages["dream"].optimizer.state


@pytest.mark.parametrize("name", TWO_PHASES)
def test_kept_between_tasks_are_the_model_and_cwds_statistics(second_task, name):
    learner, task, _ = second_task(name)
    kept = sum(p.numel() for p in learner.model.parameters())
    assert learner.stored_values() == kept + (task.seen * 64 + 64 * 64 if name == "CwD" else 0)


def test_the_first_task_is_learned_in_its_first_phase_alone(problem):
    learner, (task, _) = problem("RDFCIL", **FAMILY, schedule=[4, 10])
    learner.begin_task(task)
    learner.start_task(task)
    (stage,) = learner.stages(task)
    assert isinstance(stage, Stage)
    assert stage.epochs == 8


@pytest.mark.parametrize("name", TWO_PHASES)
def test_real_and_dreamed_images_are_normalised_apart(second_task, name, monkeypatch):
    learner, _, stages = second_task(name)
    seen = []
    layer = learner.model.bn1
    layer.register_forward_pre_hook(lambda layer, inputs: seen.append(len(inputs[0])))
    learner.eval()
    stages["learn"].trained.train()
    x, y = next(serve(stages["learn"].batches))
    dreams = []
    dream = learner.dream
    monkeypatch.setattr(learner, "dream", lambda count: dreams.append(dream(count)) or dreams[0])
    before = layer.running_mean.clone()
    stages["learn"].loss(x, y)
    assert seen == [len(x)] * 2
    expected = before
    for images in (x, dreams[0]):
        maps = nn.functional.conv2d(images, learner.model.conv1.weight, padding=1)
        expected = 0.9 * expected + 0.1 * maps.mean((0, 2, 3))
    torch.testing.assert_close(layer.running_mean, expected, rtol=1e-4, atol=1e-5)


def test_rfds_relay_moves_the_later_stages_a_third_time(second_task):
    moves = {}
    for name in ("RDFCIL", "RFD"):
        learner, _, stages = second_task(name)
        calls = []
        for part in ("layer1", "layer2", "layer3"):
            layer = getattr(learner.model, part)
            layer.register_forward_hook(lambda *_, part=part, calls=calls: calls.append(part))
        learner.eval()
        stages["learn"].trained.train()
        stages["learn"].loss(*next(serve(stages["learn"].batches)))
        moves[name] = [calls.count(part) for part in ("layer1", "layer2", "layer3")]
    assert moves == {"RDFCIL": [2, 2, 2], "RFD": [2, 3, 3]}


def test_cwd_keeps_statistics_of_the_task_and_of_dreams_of_the_old_classes(second_task):
    learner, task, stages = second_task("CwD")
    assert learner.has_mean.tolist() == [place < task.old for place in range(len(learner.has_mean))]
    first = learner.means[: task.old].clone()
    for stage in stages.values():
        train(learner, stage)
    learner.end_task(task)
    assert learner.has_mean[task.old : task.seen].all()
    assert not learner.has_mean[task.seen :].any()
    assert not torch.equal(learner.means[: task.old], first)
    assert (torch.linalg.eigvalsh(learner.covariance.double()) > -1e-6).all()


def test_class_statistics_are_means_and_the_covariance_within_classes():
    features, labels = torch.randn(40, 5, dtype=torch.float64), torch.arange(40) % 3
    means, present, covariance = class_statistics(features + 10 * labels.unsqueeze(1), labels, 4)
    assert present.tolist() == [True, True, True, False]
    assert not means[3].any()
    groups = [features[labels == label] for label in range(3)]
    apart = torch.cat([group - group.mean(0) for group in groups])
    torch.testing.assert_close(covariance, apart.T @ apart / 39)
