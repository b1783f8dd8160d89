import pytest
import torch
from conftest import train

PUBLISHED = {
    "NormalNN": "default", "LWF": "kd", "LWF_MC": "kd", "ETE": "kd", "BIC": "kd", "Generative_Replay": "dgr",
    "DeepInversionGenBN": "datafree", "DeepInversionLWF": "datafree", "AlwaysBeDreaming": "datafree",
    "RDFCIL": "datafree", "CwD": "datafree", "RFD": "datafree"}  # {learner: its type}; there may be more
DREAMING = ["DeepInversionGenBN", "DeepInversionLWF", "AlwaysBeDreaming"]


def prepare(learner, task):
    """A task's stages, with the learner as the trainer has it before the first step."""
    learner.streams.start(0, task.index)
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
    """A learner that has learned its first task, at the beginning of the second: (learner, task, {stage name:
    stage})."""

    def build(name, **settings):
        learner, tasks = problem(name, **settings)
        learn_task(learner, tasks[0])
        learner.zero_grad()
        return learner, tasks[1], {stage.name: stage for stage in prepare(learner, tasks[1])}

    return build
