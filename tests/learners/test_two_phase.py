"""R-DFCIL, CwD and RFD on a tiny problem; golden numbers pin their losses (tests/successors.py)."""

import pytest
import torch
from conftest import TWO_PHASES, serve, train

from learners import LEARNERS, REGISTRY
from tests.learners.conftest import changed, learn_task, prepare, state
from utils import command_line
from utils.errors import UserError

FAMILY = {"model_type": "rdfcil_resnet", "transforms": "rdfcil", "schedule": [3], "lr": 0.05}


@pytest.mark.parametrize("name", TWO_PHASES)
def test_in_the_second_phase_the_heads_alone_learn_by_the_same_optimiser(second_task, name):
    learner, task, stages = second_task(name, **FAMILY)
    learn, heads = stages["learn"], stages["heads"]
    steps = len(train(learner, learn))
    assert learner.counts.sum() == steps * 2 * learner.settings.batch_size
    assert learner.counts[: task.old].sum() == learner.counts[task.old : task.seen].sum()  # dreams and images
    assert torch.equal(learner.weights, torch.ones_like(learner.weights))
    assert heads.optimizer is learn.optimizer
    backbone, head = learner.model.conv1.weight, next(learner.model.last.parameters())
    before, momentum = state(learner.model), [
        learn.optimizer.state[p]["momentum_buffer"].clone() for p in (backbone, head)]
    train(learner, heads)
    moved = changed(before, learner.model)
    assert moved and all(name.startswith("last.") for name in moved)
    after = [learn.optimizer.state[p]["momentum_buffer"] for p in (backbone, head)]
    assert [torch.equal(*pair) for pair in zip(momentum, after)] == [True, False]


def test_the_class_weights_are_of_the_classes_counted_up_to_the_epoch_before(second_task):
    learner, task, stages = second_task("RDFCIL", **FAMILY)
    heads = stages["heads"]
    learner.eval()
    learner.counts[: task.seen] = torch.tensor([1, 9, 3, 20])
    for _ in range(2):
        heads.start_epoch(0)
        made, counts = learner.weights.clone(), learner.counts[: task.seen].clone()
        torch.testing.assert_close(made[: task.seen], counts.max() / counts)
        heads.loss(*next(serve(heads.batches)))
        assert torch.equal(learner.weights, made)


def test_the_second_phase_is_a_share_of_the_epochs_at_a_rate_of_its_own(problem):
    learner, (first, second) = problem("RDFCIL", **{**FAMILY, "schedule": [8, 12, 20], "lr": 0.1})
    alone, = prepare(learner, first)  # a second phase would change nothing
    assert alone.epochs == 16
    _, learn, heads = prepare(learner, second)
    rates = [learn.start_epoch(epoch) for epoch in range(learn.epochs)]
    assert rates == pytest.approx([0.1] * 8 + [0.01] * 4 + [0.001] * 4)
    assert [heads.start_epoch(epoch) for epoch in range(heads.epochs)] == pytest.approx([0.005] * 4)


def test_two_phases_need_two_epochs(tiny):
    with pytest.raises(UserError, match="--schedule"):
        command_line.parse(REGISTRY, tiny("CwD", "--schedule", "1"))


def test_an_extension_that_these_losses_would_ignore_is_refused(tiny):
    class Extended(LEARNERS["RDFCIL"]):
        def more_terms(self, x_all, y_all, f, f_t):
            return {}

    with pytest.raises(UserError, match="no more_terms; extend ``terms`` instead"):
        Extended.check(command_line.parse(REGISTRY, tiny("RDFCIL")))


@pytest.mark.parametrize("name", TWO_PHASES)
def test_a_task_begins_with_a_generator_and_heads_of_its_own_always_the_same(problem, name):
    learner, (first, second) = problem(name, **FAMILY)
    prepare(learner, first)
    before, old = state(learner), learner.model.last.weight.detach().clone()
    prepare(learner, first)
    assert not changed(before, learner)
    prepare(learner, second)
    renewed = changed(before, learner)
    assert any(name.startswith("generator.") for name in renewed)
    assert all(name.startswith("model.last.") for name in renewed if name.startswith("model."))
    rows = (learner.model.last.weight != old).any(1)
    assert rows.tolist() == [second.old <= row < second.seen for row in range(len(rows))]


@pytest.mark.parametrize("name", TWO_PHASES)
def test_kept_between_tasks_are_the_model_and_cwds_statistics(problem, name):
    learner, (task, _) = problem(name, **FAMILY)
    learner.start_task(task)
    assert learner.lasting_optimizers() == {}
    kept = sum(p.numel() for p in learner.model.parameters())
    assert learner.stored_values() == kept + (task.seen * 64 + 64 * 64 if name == "CwD" else 0)


def test_cwd_keeps_statistics_of_the_task_and_of_dreams_of_the_old_classes(problem):
    learner, (first, second) = problem("CwD", **FAMILY)
    learn_task(learner, first)
    assert learner.has_mean.tolist() == [place < first.seen for place in range(10)]
    means = learner.means[: first.seen].clone()
    learn_task(learner, second)
    assert learner.has_mean[second.old : second.seen].all() and not learner.has_mean[second.seen :].any()
    assert not torch.equal(learner.means[: second.old], means)
    assert (torch.linalg.eigvalsh(learner.covariance.double()) > -1e-6).all()
