"""Naive Rehearsal, LwF, E2E and BiC: what they learn from, hold out and keep. Golden numbers pin the
losses."""

import pytest
import torch
from conftest import train

from learners import LEARNERS
from tests.learners.conftest import changed, learn_task, prepare, state
from utils.errors import UserError

LEARNERS_WITH_CORESET = ["NormalNN", "LWF", "ETE", "BIC"]


@pytest.fixture
def remembering(problem):
    """A learner with a coreset of its first task's images, at the beginning of the second: (learner, tasks,
    stages by name)."""

    def build(name, **settings):
        learner, tasks = problem(name, **{"memory": 40, **settings})
        assert torch.equal(learner.data(tasks[0]).rows, tasks[0].train.rows)
        assert [stage.name for stage in prepare(learner, tasks[0])] == ["learn"]
        learn_task(learner, tasks[0])
        return learner, tasks, {stage.name: stage for stage in prepare(learner, tasks[1])}

    return build


def test_rehearsal_resamples_as_many_old_images_as_the_task_has_and_keeps_what_it_drew(remembering):
    learner, (_, task), stages = remembering("LWF")
    data = stages["learn"].batches.data
    assert torch.equal(data[: len(task.train)].rows, task.train.rows)
    old = data[len(task.train) :]
    assert len(old) == len(task.train)
    kept = set(learner.coreset.images(task.train.source).rows.tolist())
    assert set(old.rows.tolist()) <= kept and len(set(old.rows.tolist())) > len(kept) / 2
    assert torch.equal(learner.data(task).rows, data.rows)  # the same choice when a stopped run asks again
    learner.end_task(task)
    after = learner.coreset.images(task.train.source)
    assert after.labels.bincount().tolist() == [10] * 4
    assert (after.rows.bincount(minlength=240) <= data.rows.bincount(minlength=240)).all()


@pytest.mark.parametrize("name", [*LEARNERS_WITH_CORESET, "AlwaysBeDreaming", "Generative_Replay"])
def test_stored_values_are_the_models_a_kept_generators_and_the_coresets_pixels(problem, name):
    learner, (task, _) = problem(name, memory=40 if name in LEARNERS_WITH_CORESET else 0)
    learn_task(learner, task)
    networks = [learner.model, learner.generator] if hasattr(learner, "generator") else [learner.model]
    kept = sum(p.numel() for network in networks for p in network.parameters())
    assert learner.stored_values() == kept + learner.settings.memory * 32 * 32 * 3


def test_e2e_appends_the_coreset_and_balances_the_classifier_on_one_with_the_new_classes(remembering):
    learner, (_, task), stages = remembering("ETE", lr=0.5)
    learn, balance = stages["learn"], stages["balance"]
    assert torch.equal(learn.batches.data.rows, torch.cat([*learner.coreset.classes, task.train.rows]))
    train(learner, learn)
    data = balance.batches.data
    assert data.labels.tolist() == [0] * 10 + [1] * 10 + [2] * 10 + [3] * 10
    assert balance.start_epoch(0) == pytest.approx(0.005)  # a hundredth of the rate
    before = state(learner.model)
    train(learner, balance)
    moved = changed(before, learner.model)
    assert {key for key in moved if "running" not in key} == {"last.weight", "last.bias"}
    assert "bn1.running_mean" in moved  # the rest runs in training mode
    learner.end_task(task)
    assert torch.equal(learner.coreset.images(task.train.source).rows, data.rows)


def test_bic_holds_out_the_first_images_of_every_class_and_learns_two_numbers_on_them(remembering):
    learner, (_, task), stages = remembering("BIC")
    held, rest = stages["bias"].batches.data, stages["learn"].batches.data
    assert held.labels.bincount().tolist() == [2] * 4  # 40 // 10 // 2
    for label in (0, 1):
        assert held[held.labels == label].rows.tolist() == learner.coreset.classes[label][:2].tolist()
    new = task.train[task.train.labels == 2]
    assert held[held.labels == 2].rows.tolist() == new.rows[:2].tolist()
    whole = torch.cat([*learner.coreset.classes, task.train.rows])
    assert sorted([*held.rows.tolist(), *rest.rows.tolist()]) == sorted(whole.tolist())
    before = state(learner)
    train(learner, stages["bias"])
    moved = changed(before, learner)
    assert moved & {*dict(learner.named_parameters())} == {"bias.alpha.1", "bias.beta.1"}
    assert "model.bn1.running_mean" in moved


@pytest.mark.parametrize("bias_at_test", [False, True])
def test_bic_is_tested_without_its_bias_layers_unless_asked(problem, bias_at_test):
    learner, _ = problem("BIC", bias_at_test=bias_at_test)
    learner.eval()
    x = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        plain = learner.predict(x)
        learner.bias.alpha[1].fill_(2.0)
        learner.bias.beta[1].fill_(-1.0)
        corrected = learner.predict(x)
    torch.testing.assert_close(corrected[:, 2:4], 2 * plain[:, 2:4] - 1 if bias_at_test else plain[:, 2:4])
    assert torch.equal(corrected[:, [0, 1, 4, 9]], plain[:, [0, 1, 4, 9]])


# Too few images, refused before any work


@pytest.mark.parametrize("memory", [40, 90])  # 90: more than there are, 24 of each class
@pytest.mark.parametrize("name", LEARNERS_WITH_CORESET)
def test_the_images_to_learn_are_counted_before_any_work(remembering, name, memory):
    learner, (_, task), _ = remembering(name, memory=memory)
    count = learner.images_to_learn(learner.settings, [24] * 10, range(task.old, task.seen))
    assert count == len(learner.data(task))
    learner.settings.batch_size = 49
    with pytest.raises(UserError, match="^--batch_size 49: task 1 has 48 images to learn"):
        learner.check_data(learner.settings, [24] * 10)


@pytest.mark.parametrize(("name", "memory", "message"), [
    ("ETE", 0, "leaves no image for the stage balance of task 2"), ("ETE", 1, ""),
    ("BIC", 59, "leaves no image for the stage bias of task 4"), ("BIC", 80, "")])
def test_a_coreset_that_leaves_a_stage_without_images_is_refused(name, memory, message):
    settings = LEARNERS[name].Settings(
        dataset="Digits", memory=memory, first_split_size=2, other_split_size=2, batch_size=8, max_task=5)
    if not message:
        return LEARNERS[name].check_data(settings, [50] * 10)
    with pytest.raises(UserError, match=f"^--memory {memory}: {message}; it needs a larger coreset"):
        LEARNERS[name].check_data(settings, [50] * 10)
