import pytest
import torch
from conftest import train

from tests.learners.conftest import learn_task, prepare, same, state


@pytest.fixture
def learner_and_tasks(problem):
    return problem("Generative_Replay")


def test_images_are_in_the_unit_range(problem):
    learner, _ = problem("Generative_Replay")
    assert not learner.normalised
    images = learner.dream(4)
    assert images.shape == (4, 3, 32, 32)
    assert 0 < images.min() < images.max() < 1


def test_the_old_generator_is_the_generator_of_the_task_before(learner_and_tasks):
    learner, tasks = learner_and_tasks
    first = state(learner.old_generator)
    learn_task(learner, tasks[0])
    assert not same(first, learner.old_generator)
    before = state(learner.generator)
    assert same(before, learner.old_generator)
    for stage in prepare(learner, tasks[1]):
        train(learner, stage)
    assert same(before, learner.old_generator)
    assert not same(before, learner.generator)


def test_solver_and_generator_do_not_touch_each_other(learner_and_tasks):
    learner, tasks = learner_and_tasks
    learn_task(learner, tasks[0])
    learner.zero_grad()
    x, y = torch.rand(8, 3, 32, 32), torch.randint(2, 4, (8,))
    learner.start_task(tasks[1])
    losses = learner.loss(x, y)
    (losses["classification"] + losses["distillation"]).backward(retain_graph=True)
    assert all(p.grad is None for p in learner.generator.parameters())
    grads = [p.grad.clone() for p in learner.model.parameters()]
    (losses["reconstruction"] + losses["divergence"]).backward()
    assert all(torch.equal(p.grad, before) for p, before in zip(learner.model.parameters(), grads))
    assert all(p.grad is not None for p in learner.generator.parameters())


def test_the_divergence_of_the_normal_distribution_is_0(learner_and_tasks):
    learner, _ = learner_and_tasks
    with torch.no_grad():
        for layer in (learner.generator.q_mean, learner.generator.q_logvar):
            layer.weight.zero_()
            layer.bias.zero_()
    losses = learner.generator_loss(torch.rand(4, 3, 32, 32), torch.ones(4))
    assert losses["divergence"].item() == 0
    assert losses["reconstruction"].item() > 0
