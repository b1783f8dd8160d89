"""One step of a stage, in full precision and in bf16. tests/pretended_gpu captures it without a GPU."""

import copy
import math

import pytest
import torch
from conftest import each_epoch
from torch import nn

from utils.training.step import EAGER_STEPS, NotFinite, TrainingStep, mean_losses


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
        learner.end_task(task)
    return losses, copy.deepcopy(learner.state_dict())


def test_in_bf16_losses_are_nearly_those_of_fp32_and_weights_stay_in_fp32(problem):
    full, _ = trained(problem, "AlwaysBeDreaming", epochs=2)
    half, state = trained(problem, "AlwaysBeDreaming", epochs=2, bf16=True)
    torch.testing.assert_close(full[0], half[0], rtol=0.05, atol=0.05)
    assert half[0].dtype == torch.float32 and not torch.equal(full[0], half[0])
    assert {value.dtype for value in state.values() if isinstance(value, torch.Tensor)
            and value.is_floating_point()} == {torch.float32}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["LWF_MC", "AlwaysBeDreaming", "RFD"])
def test_a_captured_step_does_what_a_step_does(problem, name):
    """With a change of the learning rate on the way, over more steps than run before a capture."""
    plain = trained(problem, name, device="cuda", epochs=EAGER_STEPS)
    graph = trained(problem, name, device="cuda", epochs=EAGER_STEPS, graph=True)
    torch.testing.assert_close(plain[0], graph[0], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(plain[1], graph[1], rtol=1e-2, atol=1e-2)


def test_the_mean_of_each_loss_by_its_name_and_which_is_not_finite():
    steps, network = torch.tensor([[1.0, 10.0], [3.0, 30.0]]), nn.Linear(1, 1)
    assert mean_losses(steps, ["a", "b"], network, "here") == {"a": 2.0, "b": 20.0}
    steps[1, 1] = math.nan
    with pytest.raises(NotFinite, match="^here: the losses of step 2 of 2 are not finite: a 3  b nan$"):
        mean_losses(steps, ["a", "b"], network, "here")
    nn.init.constant_(network.bias, math.inf)
    with pytest.raises(NotFinite, match="^here: bias is not finite after the last step"):
        mean_losses(steps[:1], ["a", "b"], network, "here")
