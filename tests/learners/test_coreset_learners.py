"""Naive Rehearsal, LwF, E2E and BiC: what they learn from, hold out and keep. Golden numbers pin the losses."""

import dataclasses

import pytest
import torch
from conftest import serve, train

from dataloaders.batches import Images, InMemory, Pixels
from dataloaders.coreset import herding, nearest_to_mean
from dataloaders.tasks import Task
from learners.base import distillation
from learners.bic import BIC, BICSettings
from models import classifier
from tests.learners.conftest import learn_task, prepare, same, state
from utils.streams import Streams

RANKED = {"ETE": nearest_to_mean, "BIC": herding}


@pytest.fixture
def remembering(problem):
    """A learner with a coreset of its first task's images, at the beginning of the second: (learner, tasks, stages by name)."""

    def build(name, **settings):
        learner, tasks = problem(name, **{"memory": 40, **settings})
        learn_task(learner, tasks[0])
        return learner, tasks, {stage.name: stage for stage in prepare(learner, tasks[1])}

    return build


@pytest.mark.parametrize("name", ["NormalNN", "LWF"])
def test_rehearsal_resamples_as_many_old_images_as_the_task_has(remembering, name):
    learner, (_, task), stages = remembering(name)
    data = stages["learn"].batches.data
    assert torch.equal(data[: len(task.train)].rows, task.train.rows)
    old = data[len(task.train) :]
    assert len(old) == len(task.train)
    kept = set(learner.coreset.images(task.train.source).rows.tolist())
    assert set(old.rows.tolist()) <= kept
    assert len(set(old.rows.tolist())) > len(kept) / 2
    assert torch.equal(learner.data(task).rows, data.rows)  # the same choice when a stopped run asks again


@pytest.mark.parametrize("name", ["NormalNN", "LWF"])
def test_rehearsal_keeps_what_it_drew_from_all_that_was_learned(remembering, name):
    learner, (_, task), stages = remembering(name)
    data = stages["learn"].batches.data
    learner.end_task(task)
    kept = learner.coreset.images(task.train.source)
    assert kept.labels.bincount().tolist() == [10] * 4
    pool = data.rows.bincount(minlength=240)
    assert (kept.rows.bincount(minlength=240) <= pool).all()


@pytest.mark.parametrize("name", list(RANKED))
def test_ranked_coresets_choose_by_the_model_just_learned(remembering, name):
    learner, tasks, _ = remembering(name)
    learner.eval()
    for label in (0, 1):
        mine = tasks[0].train[(tasks[0].train.labels == label).nonzero().flatten()]
        with torch.no_grad():
            features = torch.cat([learner.model.features(x) for x, _ in mine.in_order()])
        assert torch.equal(learner.coreset.classes[label], mine.rows[RANKED[name](features, 20)])


@pytest.mark.parametrize("name", ["NormalNN", "LWF", "ETE", "BIC"])
def test_without_memory_and_in_the_first_task_there_are_only_the_tasks_images(problem, name):
    learner, tasks = problem(name)
    assert torch.equal(learner.data(tasks[0]).rows, tasks[0].train.rows)
    assert [stage.name for stage in prepare(learner, tasks[0])] == ["learn"]


@pytest.mark.parametrize("name", ["NormalNN", "LWF", "ETE", "BIC"])
def test_the_steps_expected_are_those_that_come(remembering, name):
    _, _, stages = remembering(name)
    for stage in stages.values():
        expected = stage.batches.steps(0)
        assert expected > 0
        assert len(list(serve(stage.batches))) == stage.batches.steps(0) == expected


@pytest.mark.parametrize("name", ["NormalNN", "LWF", "ETE", "BIC"])
def test_stored_values_count_the_coresets_pixels(remembering, name):
    learner, _, _ = remembering(name)
    parameters = sum(p.numel() for p in learner.model.parameters())
    assert learner.stored_values() == parameters + 40 * 32 * 32 * 3


# E2E


def test_e2e_appends_the_coreset_as_it_is(remembering):
    learner, (_, task), stages = remembering("ETE")
    assert torch.equal(stages["learn"].batches.data.rows, torch.cat([*learner.coreset.classes, task.train.rows]))


def test_e2e_balances_on_a_coreset_with_the_new_classes_in_it(remembering):
    learner, (_, task), stages = remembering("ETE")
    train(learner, stages["learn"])
    data = stages["balance"].batches.data
    assert data.labels.tolist() == [0] * 10 + [1] * 10 + [2] * 10 + [3] * 10
    train(learner, stages["balance"])
    learner.end_task(task)
    assert torch.equal(learner.coreset.images(task.train.source).rows, data.rows)


def test_e2es_balanced_stage_learns_the_classifier_alone_at_a_hundredth_of_the_rate(remembering):
    learner, _, stages = remembering("ETE", lr=0.5)
    balance = stages["balance"]
    assert balance.start_epoch(0) == pytest.approx(0.005)
    before = state(learner.model)
    train(learner, balance)
    moved = {key for key, value in learner.model.state_dict().items() if not torch.equal(value, before[key])}
    assert {key for key in moved if "running" not in key and "batches" not in key} == {"last.weight", "last.bias"}
    assert "bn1.running_mean" in moved  # the rest runs in training mode


def test_e2e_reads_the_teachers_first_outputs_where_a_task_is_larger_than_all_before(problem):
    learner, tasks = problem("ETE", first_split_size=2, other_split_size=4)
    tasks[1] = dataclasses.replace(tasks[1], seen=6)
    learner.start_task(tasks[1])
    learner.eval()
    x, y = torch.randn(4, 3, 32, 32), torch.randint(6, (4,))
    h, t = learner.model(x), learner.teacher(x)
    past = 2 / 6 * distillation(h[:, :2], t[:, :2], 2.0)
    expected = past + 4 / 6 * distillation(h[:, 2:6], t[:, :4], 2.0)
    torch.testing.assert_close(learner.balanced_loss(x, y)["distillation"], expected)


# BiC


def test_bic_holds_out_the_first_images_of_every_class(remembering):
    learner, (_, task), stages = remembering("BIC")
    held, rest = stages["bias"].batches.data, stages["learn"].batches.data
    assert held.labels.bincount().tolist() == [2] * 4  # 40 // 10 // 2
    assert [held[held.labels == label].rows.tolist() for label in (0, 1)] == [learner.coreset.classes[label][:2].tolist() for label in (0, 1)]
    new = task.train[task.train.labels == 2]
    assert held[held.labels == 2].rows.tolist() == new.rows[:2].tolist()
    whole = torch.cat([*learner.coreset.classes, task.train.rows])
    assert sorted([*held.rows.tolist(), *rest.rows.tolist()]) == sorted(whole.tolist())


def test_bics_bias_stage_learns_two_numbers(remembering):
    learner, _, stages = remembering("BIC")
    before = state(learner)
    train(learner, stages["bias"])
    moved = {key for key, value in learner.named_parameters() if not torch.equal(value, before[key])}
    assert moved == {"bias.alpha.1", "bias.beta.1"}
    assert same({key.removeprefix("teacher."): value for key, value in before.items() if key.startswith("teacher.")}, learner.teacher)
    assert not torch.equal(learner.model.bn1.running_mean, before["model.bn1.running_mean"])


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
    assert torch.equal(corrected[:, :2], plain[:, :2])
    assert torch.equal(corrected[:, 4:], plain[:, 4:])


@pytest.mark.parametrize("counts", [[50, 50, 50, 50], [50, 1, 2, 50], [50, 50, 50, 1]])
def test_bics_plan_counts_what_scarce_classes_have(counts):
    """Two classes, then two more, of so many images; a coreset of 60, so that three of a class are held out."""
    labels = torch.arange(4).repeat_interleave(torch.tensor(counts))
    images = Images.all_of(InMemory(torch.zeros(len(labels), 3, 1, 1, dtype=torch.uint8), labels, Pixels((0.0,) * 3, (1.0,) * 3)))
    settings = BICSettings(dataset="Digits", learner_name="BIC", learner_type="kd", memory=60, first_split_size=2, other_split_size=2)
    learner = BIC(settings, Streams(), classifier("resnet", "resnet8", 10))
    names = ("",) * 10
    first, second = (
        Task(index, 2 * index, 2 * index + 2, images[labels // 2 == index], images, names) for index in range(2))
    learner.coreset.rank(first.train, 2, lambda data: torch.randn(len(data), 4), herding)
    learn, held = learner.divide(second)
    assert BIC.planned_images(60, counts, 2, 4, len(second.train)) == {"learn": len(learn), "bias": len(held)}
