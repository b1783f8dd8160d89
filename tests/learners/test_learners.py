"""Each learner on a tiny problem, without the trainer; golden numbers pin the losses (tests/test_conformance.py)."""

import copy
import shutil
import subprocess
import sys

import pytest
import torch
from conftest import serve, train
from torch import nn
from torch.nn import functional as F

from learners import LEARNERS
from learners.base import distillation

DREAMING = ["DeepInversionGenBN", "DeepInversionLWF", "AlwaysBeDreaming"]


def prepare(learner, task):
    """A task's stages, with the learner as the trainer has it before the first step."""
    learner.begin_task(task)
    learner.start_task(task)
    return learner.stages(task)


def learn_task(learner, task):
    for stage in prepare(learner, task):
        train(learner, stage)
    learner.end_task(task)


def state(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(before, network):
    return all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.fixture
def second_task(problem):
    """A learner that has learned its first task, at the beginning of the second: (learner, task, {stage name: stage})."""

    def build(name, **settings):
        learner, tasks = problem(name, **settings)
        learn_task(learner, tasks[0])
        learner.zero_grad()
        return learner, tasks[1], {stage.name: stage for stage in prepare(learner, tasks[1])}

    return build


@pytest.fixture
def batch(second_task):
    def draw(stage):
        return next(serve(stage.batches))

    return draw


# Every learner


@pytest.mark.parametrize("name", list(LEARNERS))
def test_a_learner_learns_two_tasks_with_finite_losses(problem, name):
    learner, tasks = problem(name)
    for task in tasks:
        before = state(learner.model)
        for stage in prepare(learner, task):
            losses = train(learner, stage)
            assert losses
            assert all(value.isfinite() and value.ndim == 0 for step in losses for value in step.values())
        learner.end_task(task)
        assert not same(before, learner.model)
    assert learner.predict(torch.randn(5, 3, 32, 32)).shape == (5, 10)


@pytest.mark.parametrize("name", list(LEARNERS))
def test_a_learner_fits_a_batch_that_it_sees_again_and_again(problem, name):
    learner, tasks = problem(name)
    stage = prepare(learner, tasks[0])[0]
    learner.train()
    x, y = next(serve(stage.batches))
    for _ in range(30):
        losses = stage.loss(x, y)
        stage.optimizer.zero_grad()
        sum(losses.values()).backward()
        stage.optimizer.step()
    with torch.no_grad():
        assert (learner.predict(x)[:, :2].argmax(1) == y).float().mean() > 0.9


@pytest.mark.parametrize("name", list(LEARNERS))
def test_the_teacher_stays_as_it_is_through_every_stage(second_task, name):
    learner, _, stages = second_task(name)
    before = state(learner.teacher)
    for stage in stages.values():
        train(learner, stage)
        assert same(before, learner.teacher)
        assert all(p.grad is None and not p.requires_grad for p in learner.teacher.parameters())


@pytest.mark.parametrize("name", list(LEARNERS))
def test_the_teacher_becomes_the_model_when_a_task_ends(second_task, name):
    learner, task, stages = second_task(name)
    train(learner, stages["learn"])
    assert not same(state(learner.model), learner.teacher)
    learner.end_task(task)
    assert same(state(learner.model), learner.teacher)


@pytest.mark.parametrize("name", list(LEARNERS))
def test_the_optimiser_starts_from_scratch_with_every_task(second_task, name):
    _, _, stages = second_task(name)
    assert not stages["learn"].optimizer.state


@pytest.mark.parametrize("name", list(LEARNERS))
def test_asking_for_the_stages_changes_nothing(problem, name):
    learner, tasks = problem(name)
    learner.start_task(tasks[1])
    before, streams = state(learner), learner.streams.state_dict()
    learner.stages(tasks[1])
    assert same(before, learner)
    assert all(torch.equal(value, streams[key]) for key, value in learner.streams.state_dict().items())


@pytest.mark.parametrize("name", list(LEARNERS))
def test_predictions_in_evaluation_mode_move_no_statistics(problem, name):
    learner, _ = problem(name)
    before = state(learner)
    learner.eval().predict(torch.randn(4, 3, 32, 32))
    assert same(before, learner)


def test_the_learners_are_those_of_the_publications():
    assert {name: kind.learner_type for name, kind in LEARNERS.items()} == {
        "NormalNN": "default", "LWF": "kd", "LWF_MC": "kd", "ETE": "kd", "BIC": "kd", "Generative_Replay": "dgr",
        "DeepInversionGenBN": "datafree", "DeepInversionLWF": "datafree", "AlwaysBeDreaming": "datafree",
        "RDFCIL": "datafree", "CwD": "datafree", "RFD": "datafree"}


def test_every_learner_has_a_docstring_and_a_file_of_its_own():
    assert len({kind.__module__ for kind in LEARNERS.values()}) == len(LEARNERS)
    assert all(kind.__doc__ for kind in LEARNERS.values())


def test_a_new_file_is_a_new_learner(root, tmp_path, environment):
    shutil.copytree(root, tmp_path / "copy", ignore=shutil.ignore_patterns(".git", ".venv", "datasets", "outputs", "tests"))
    idea = (root / "learners" / "naive.py").read_text().replace("class NormalNN", "class MyIdea")
    (tmp_path / "copy" / "learners" / "my_idea.py").write_text(idea)
    done = subprocess.run(
        [sys.executable, "-c", "from run import REGISTRY, parse; print(parse(REGISTRY, ['--learner_name', 'MyIdea']).learner_name)"],
        cwd=tmp_path / "copy", env=environment, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.returncode) == ("MyIdea\n", 0), done.stderr


@pytest.mark.parametrize("name", ["LWF", "ETE", "BIC", "LWF_MC", *DREAMING])
def test_the_first_task_is_learned_as_base_learns_it_where_it_is_shared(problem, name):
    losses = []
    for which in ("NormalNN", name):
        torch.manual_seed(0)
        learner, tasks = problem(which, batch_size=16)
        losses.append([sum(step.values()).item() for step in train(learner, prepare(learner, tasks[0])[0])])
    assert (losses[0] == losses[1]) == LEARNERS["NormalNN"].shares_first_task(LEARNERS[name]) == (name not in ("AlwaysBeDreaming", "LWF_MC"))


# Learning rate and optimiser


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


def test_adam_takes_its_first_beta_from_the_momentum(problem):
    learner, tasks = problem("NormalNN", optimizer="Adam", lr=0.001, momentum=0.8)
    optimizer = prepare(learner, tasks[0])[0].optimizer
    assert isinstance(optimizer, torch.optim.Adam)
    assert optimizer.param_groups[0]["betas"] == (0.8, 0.999)


# Parts of losses


def test_distillation_of_equal_logits_is_the_softened_entropy():
    logits = torch.randn(8, 5)
    softened = torch.distributions.Categorical(logits=logits / 2)
    torch.testing.assert_close(distillation(logits, logits, 2.0), softened.entropy().mean())


def test_distillation_is_cross_entropy_to_the_softened_teacher_without_a_factor():
    student, teacher = torch.randn(8, 5), torch.randn(8, 5)
    torch.testing.assert_close(distillation(student, teacher, 2.0), F.cross_entropy(student / 2, (teacher / 2).softmax(1)))


def test_classification_sees_only_the_seen_classes(problem):
    learner, tasks = problem("NormalNN")
    learner.start_task(tasks[0])
    logits = torch.randn(6, 10)
    y = torch.tensor([0, 1, 0, 1, 1, 0])
    loss = learner.classification(logits, y)
    logits[:, 2:] += 100
    assert learner.classification(logits, y) == loss


def test_class_weights_are_inverse_frequencies(problem):
    learner, (task, _) = problem("NormalNN", DW=True, memory=40)
    keep = torch.cat([torch.nonzero(task.train.labels == 0).flatten()[:6], torch.nonzero(task.train.labels == 1).flatten()[:18]])
    object.__setattr__(task, "train", task.train[keep])
    next(serve(prepare(learner, task)[0].batches))
    weight = torch.tensor([26 / (7 * 2), 26 / (19 * 2)])
    torch.testing.assert_close(learner.class_weights, weight)
    logits, y = torch.randn(4, 10), torch.tensor([0, 1, 1, 0])
    each = F.cross_entropy(logits[:, :2], y, reduction="none")
    torch.testing.assert_close(learner.classification(logits, y), (each * weight[y]).mean())


@pytest.mark.parametrize(("name", "memory", "reads"), [
    ("NormalNN", 0, False), ("NormalNN", 40, True), ("LWF", 0, False), ("LWF", 40, True), ("LWF_MC", 0, False), ("ETE", 40, False),
    ("BIC", 40, False), ("Generative_Replay", 0, False), ("AlwaysBeDreaming", 0, False), ("DeepInversionGenBN", 0, True),
    ("DeepInversionLWF", 0, True)])
def test_who_reads_class_weights(problem, name, memory, reads):
    learner, tasks = problem(name, DW=True, memory=memory)
    next(serve(prepare(learner, tasks[0])[-1].batches))
    assert (learner.class_weights is not None) == reads == LEARNERS[name].reads_DW(memory)


@pytest.mark.parametrize("name", ["DeepInversionGenBN", "DeepInversionLWF"])
def test_class_weights_weigh_the_distillation_of_images_and_dreams(second_task, batch, name):
    learner, _, stages = second_task(name, DW=True)
    x, y = batch(stages["learn"])
    assert learner.class_weights is not None
    dreams = learner.dream(len(x))
    learner.dream = lambda count: dreams
    w, mu, old = learner.class_weights, learner.settings.mu, learner.old
    h, h_dream = learner.model(torch.cat([x, dreams])).split(len(x))
    t, t_dream = learner.teach(x), learner.teach(dreams)
    w_dream = w[t_dream.argmax(1)]
    losses = learner.loss(x, y)
    if name == "DeepInversionLWF":
        kd = F.cross_entropy(torch.cat([h, h_dream])[:, :old] / 2, torch.cat([t, t_dream]).div(2).softmax(1), reduction="none")
        torch.testing.assert_close(losses["distillation"], mu * (torch.cat([w[y], w_dream]) * kd).mean())
    else:
        kd = F.cross_entropy(h[:, :old] / 2, (t / 2).softmax(1), reduction="none")
        padded = F.pad((t_dream / 2).softmax(1), (0, learner.seen - old))
        kd_dream = F.cross_entropy(h_dream[:, : learner.seen] / 2, padded, reduction="none")
        torch.testing.assert_close(losses["distillation"], mu * (w[y] * kd).mean())
        torch.testing.assert_close(losses["dream distillation"], mu * (w_dream * kd_dream).mean())


@pytest.mark.parametrize("name", ["LWF", *DREAMING])
def test_mu_0_leaves_no_distillation(second_task, batch, name):
    learner, _, stages = second_task(name, mu=0.0)
    losses = stages["learn"].loss(*batch(stages["learn"]))
    assert [value.item() for key, value in losses.items() if "distillation" in key] == [0] * (len(losses) - (2 if name == "AlwaysBeDreaming" else 1))


def test_lwf_mc_takes_old_targets_from_the_teacher(second_task, batch):
    learner, _, stages = second_task("LWF_MC")
    x, y = batch(stages["learn"])
    learner.eval()
    target = torch.cat([learner.teacher(x)[:, :2].sigmoid(), F.one_hot(y - 2, 2)], 1)
    expected = F.binary_cross_entropy(learner.model(x)[:, :4].sigmoid(), target, reduction="none").sum(1).mean()
    torch.testing.assert_close(learner.loss(x, y)["binary"], expected)


# Always Be Dreaming


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
