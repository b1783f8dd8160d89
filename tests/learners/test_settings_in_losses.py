"""The weight and the temperature of the distillation reach the loss of every learner that distils."""

import pytest
import torch
from conftest import serve

DISTIL = ["LWF", "ETE", "Generative_Replay", "DeepInversionGenBN", "DeepInversionLWF"]


def distillation(problem, name, **settings):
    """The terms of one step of the second task that distil."""
    learner, (first, second) = problem(name, **settings)
    learner.start_task(first)
    learner.end_task(first)
    learner.streams.start(0, 1)
    learner.begin_task(second)
    learner.start_task(second)
    with torch.no_grad():  # the model is no longer its teacher
        for parameter in learner.model.parameters():
            parameter.mul_(1.1)
    stage = next(stage for stage in learner.stages(second) if stage.name == "learn")
    learner.eval()
    losses = stage.loss(*next(iter(serve(stage.batches))))
    return torch.stack([value.detach() for term, value in losses.items() if "distillation" in term])


@pytest.mark.parametrize("name", [*DISTIL, "BIC"])
def test_the_temperature_reaches_the_loss(problem, name):
    assert not torch.allclose(distillation(problem, name, temp=2.0), distillation(problem, name, temp=4.0))


@pytest.mark.parametrize("name", [*DISTIL, "AlwaysBeDreaming"])
def test_mu_scales_the_distillation(problem, name):
    once, twice = (distillation(problem, name, mu=mu) for mu in (0.1, 0.2))
    assert once.any()
    torch.testing.assert_close(twice, 2 * once)
