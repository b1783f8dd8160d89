import copy

import pytest
import torch
from conftest import each_epoch, train

from utils.training.step import EAGER_STEPS, TrainingStep

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
LEARNERS = ["NormalNN", "LWF_MC", "Generative_Replay", "DeepInversionGenBN", "AlwaysBeDreaming", "CwD", "RFD"]


def trained(problem, name, device="cpu", epochs=3, **options):
    """The losses of every step of a learner's two tasks, and its state after them."""
    learner, tasks = problem(name, device=device, schedule=[1, epochs], power_iters=12)
    losses = []
    for task in tasks:
        learner.begin_task(task)
        learner.start_task(task)
        for stage in learner.stages(task):
            step = TrainingStep(stage, learner.streams, **options)
            for epoch in each_epoch(learner, stage):
                losses += [step(start) for start in stage.batches.starts(epoch)]
            assert len(step.names) == len(losses[-1])
        learner.end_task(task)
    return losses, copy.deepcopy(learner.state_dict())


def test_a_step_is_the_plain_loop(problem):
    losses, state = trained(problem, "LWF_MC")
    learner, tasks = problem("LWF_MC", schedule=[1, 3], power_iters=12)
    plain = []
    for task in tasks:
        learner.begin_task(task)
        learner.start_task(task)
        for stage in learner.stages(task):
            plain += [torch.stack(list(terms.values())).detach() for terms in train(learner, stage)]
        learner.end_task(task)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(losses, plain, strict=True))
    assert all(torch.equal(value, state[name]) for name, value in learner.state_dict().items() if isinstance(value, torch.Tensor))


@pytest.mark.parametrize("name", LEARNERS)
def test_in_bf16_losses_are_those_of_fp32_nearly(problem, name):
    first = [trained(problem, name, epochs=2, bf16=bf16)[0][0] for bf16 in (False, True)]
    assert all(losses.dtype == torch.float32 for losses in first)
    torch.testing.assert_close(*first, rtol=0.05, atol=0.05)
    assert not torch.equal(*first)


def test_in_bf16_weights_and_their_gradients_stay_in_fp32(problem):
    _, state = trained(problem, "AlwaysBeDreaming", epochs=2, bf16=True)
    assert {value.dtype for value in state.values() if isinstance(value, torch.Tensor) and value.is_floating_point()} == {torch.float32}


@cuda
@pytest.mark.parametrize("name", LEARNERS)
def test_a_captured_step_does_what_a_step_does(problem, name):
    """With a change of the learning rate on the way, over more steps than run before a capture."""
    plain, graph = (trained(problem, name, device="cuda", epochs=EAGER_STEPS, graph=graph) for graph in (False, True))
    torch.testing.assert_close(plain[0], graph[0], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(plain[1], graph[1], rtol=1e-2, atol=1e-2)


@cuda
def test_a_captured_step_draws_what_a_step_draws(problem):
    """The random streams stand where they would without a graph."""
    streams = []
    for graph in (False, True):
        learner, (task, _) = problem("AlwaysBeDreaming", device="cuda", schedule=[5])
        learner.start_task(task)
        stage, = learner.stages(task)
        step = TrainingStep(stage, learner.streams, graph=graph)
        for epoch in each_epoch(learner, stage):
            for start in stage.batches.starts(epoch):
                step(start)
        streams.append(learner.streams.state_dict())
    assert all(torch.equal(streams[0][name], streams[1][name]) for name in streams[0])
