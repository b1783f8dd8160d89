"""Each learner on a tiny problem, without the trainer; golden numbers pin the losses (tests/test_conformance.py)."""

import shutil
import subprocess
import sys

import pytest
import torch
from conftest import serve, train

from learners import LEARNERS
from tests.learners.conftest import DREAMING, PUBLISHED, prepare, same, state

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


def test_the_learners_of_the_publications_are_there():
    assert {name: kind.learner_type for name, kind in LEARNERS.items() if name in PUBLISHED} == PUBLISHED


def test_every_learner_has_a_docstring_and_a_file_of_its_own():
    assert len({kind.__module__ for kind in LEARNERS.values()}) == len(LEARNERS)
    assert all(kind.__doc__ for kind in LEARNERS.values())


def test_a_new_file_is_a_new_learner(root, tmp_path, environment):
    shutil.copytree(root, tmp_path / "copy", ignore=shutil.ignore_patterns(".*", "__pycache__", "datasets", "outputs", "tests"))
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
