import math

import pytest
import torch
from conftest import train
from torch import nn
from torch.nn import functional as F

from learners.abd import AlwaysBeDreaming
from learners.dreaming import class_balance, smoothness, statistics_distance
from models import Observed, ResNet
from tests.learners.conftest import DREAMING, same, state
from utils.errors import UserError

# Class balance


@pytest.mark.parametrize("classes", [2, 7, 100])
def test_balance_is_0_where_all_classes_are_equally_frequent(classes):
    assert class_balance(torch.zeros(5, classes)).item() == pytest.approx(0, abs=1e-6)
    assert class_balance(1e4 * torch.eye(classes)).item() == pytest.approx(0, abs=1e-6)


def test_balance_is_1_where_one_class_is_seen_alone():
    logits = torch.zeros(8, 10)
    logits[:, 3] = 50
    assert class_balance(logits).item() == pytest.approx(1, abs=1e-6)


def test_a_class_of_probability_0_gives_no_nan():
    logits = torch.full((8, 10), -1e4)
    logits[:, 3] = 1e4
    logits.requires_grad_()
    loss = class_balance(logits)
    loss.backward()
    assert loss.item() == pytest.approx(1)
    assert logits.grad.isfinite().all()


def test_one_class_alone_is_balanced():
    assert class_balance(torch.randn(4, 1)).item() == 0


# Statistics


@pytest.fixture
def network():
    """With running statistics that differ from layer to layer."""
    network = ResNet(1, 10).eval()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
    return network


def distance(teacher, images):
    _, mean, var = teacher(images)
    return statistics_distance(mean, var, teacher)


def test_statistics_distance_is_the_mean_over_layers_of_the_mean_kl_divergence(network):
    images, each = torch.randn(8, 3, 32, 32), []
    normal = torch.distributions.Normal

    def note(layer, inputs):
        mean, std = inputs[0].mean((0, 2, 3)), inputs[0].std((0, 2, 3), correction=0)
        running = normal(layer.running_mean, layer.running_var.sqrt())
        each.append(torch.distributions.kl_divergence(running, normal(mean, std)).mean())

    observed = Observed(network)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.register_forward_pre_hook(note)
    network(images)
    assert len(each) == 7
    torch.testing.assert_close(distance(observed, images), torch.stack(each).mean())


def test_statistics_distance_of_constant_channels_is_finite(network):
    assert distance(Observed(network), torch.ones(4, 3, 32, 32)).isfinite()


# Smoothness


def test_smoothness_uses_the_published_kernel():
    row = [math.exp(-(((i - 2) / 2) ** 2)) for i in range(5)]
    kernel = torch.tensor([[a * b for b in row] for a in row])
    kernel = (kernel / kernel.sum()).expand(3, 1, 5, 5)
    images = torch.randn(4, 3, 32, 32)
    blurred = F.conv2d(F.pad(images, (2, 2, 2, 2), mode="reflect"), kernel, groups=3)
    torch.testing.assert_close(smoothness(images), F.mse_loss(images, blurred))


# The stages


def test_dreams_are_trained_before_every_task_but_the_first(problem):
    learner, (first, second) = problem("AlwaysBeDreaming")
    learner.start_task(first)
    assert [stage.name for stage in learner.stages(first)] == ["learn"]
    learner.start_task(second)
    assert [stage.name for stage in learner.stages(second)] == ["dream", "learn"]


@pytest.mark.parametrize("name", DREAMING)
def test_each_stage_changes_its_own_network_alone(second_task, name):
    learner, _, stages = second_task(name)
    learner.generator.train()
    sum(stages["dream"].loss().values()).backward()
    weights = [p for p in learner.generator.parameters() if p.ndim > 1]  # a bias before a norm has no effect
    assert all(p.grad.any() for p in weights)
    model, generator = state(learner.model), state(learner.generator)
    train(learner, stages["dream"])
    assert same(model, learner.model) and not same(generator, learner.generator)
    learner.eval()
    noise, draw = torch.randn(4, 1000), learner.noise
    learner.noise = lambda count: noise
    torch.testing.assert_close(learner.dream(4), learner.generator(noise))  # as it is after its training
    learner.noise, generator = draw, state(learner.generator)
    learner.generator.zero_grad()
    train(learner, stages["learn"])
    assert same(generator, learner.generator) and not same(model, learner.model)
    assert all(p.grad is None for p in learner.generator.parameters())


def test_adam_lives_on_from_task_to_task(problem):
    learner, tasks = problem("AlwaysBeDreaming", other_split_size=2)
    optimizers = []
    for task in tasks[1], tasks[1]:
        learner.start_task(task)
        stage = learner.stages(task)[0]
        train(learner, stage)
        optimizers.append(stage.optimizer)
    assert optimizers[0] is optimizers[1] is learner.lasting_optimizers()["dream"]
    assert {value["step"].item() for value in optimizers[0].state.values()} == {4}  # 2 iterations each


def test_adam_is_the_published_one(problem):
    learner, _ = problem("AlwaysBeDreaming", deep_inv_params=[0.002, 50.0, 1e-3, 1e3, 1.0])
    group, = learner.dream_optimizer.param_groups
    assert (group["lr"], group["betas"], group["weight_decay"]) == (0.002, (0.9, 0.999), 0)


def test_the_dream_loss_has_the_weights_of_the_settings(problem):
    learner, (_, task) = problem("AlwaysBeDreaming", deep_inv_params=[1e-3, 3.0, 5.0, 2.0, 7.0])
    learner.start_task(task)
    learner.eval()
    noise = torch.randn(16, 1000)
    learner.noise = lambda count: noise
    x = learner.generator(noise)
    h = learner.teacher(x)[:, : task.old]
    _, mean, var = learner.observed_teacher(x)
    losses = learner.dream_loss()
    torch.testing.assert_close(losses["content"], 7 * F.cross_entropy(h / 2, h.argmax(1)))
    torch.testing.assert_close(losses["balance"], class_balance(h))
    distance = statistics_distance(mean, var, learner.observed_teacher)
    torch.testing.assert_close(losses["statistics"], 3 * distance)
    torch.testing.assert_close(losses["smoothness"], 5 * smoothness(x))


def test_dreams_are_fresh_and_come_from_the_noise_stream_alone(problem):
    learner, _ = problem("AlwaysBeDreaming")
    learner.eval()
    before = learner.streams.state_dict()
    first, second = learner.dream(3), learner.dream(3)
    assert first.shape == (3, 3, 32, 32)
    assert not torch.equal(first, second)
    assert not first.requires_grad
    after = learner.streams.state_dict()
    assert [name for name in before if not torch.equal(before[name], after[name])] == ["noise"]


def test_stored_values_count_the_model_and_the_generator(problem):
    for name in ("AlwaysBeDreaming", "Generative_Replay"):
        learner, _ = problem(name)
        parts = (learner.model, learner.generator)
        assert learner.stored_values() == sum(p.numel() for part in parts for p in part.parameters())


# Networks of one's own


def test_a_network_without_batch_norm_is_refused_by_learners_that_dream(problem, monkeypatch):
    def without_norms(settings):
        model = ResNet(1, 10)
        for name, layer in list(model.named_modules()):
            if isinstance(layer, nn.BatchNorm2d):
                model.set_submodule(name, nn.GroupNorm(2, layer.num_features))
        return model

    monkeypatch.setattr(AlwaysBeDreaming, "new_model", without_norms)
    with pytest.raises(UserError, match="ResNet has no BatchNorm2d"):
        problem("AlwaysBeDreaming")
