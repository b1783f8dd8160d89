"""Naive Rehearsal, LwF, E2E and BiC: what they keep and refuse. Golden numbers and whole runs pin what they
learn from and hold out."""

import pytest
import torch

from learners import LEARNERS
from tests.learners.conftest import learn_task
from utils.errors import UserError

LEARNERS_WITH_CORESET = ["NormalNN", "LWF", "ETE", "BIC"]


@pytest.mark.parametrize("name", [
    *LEARNERS_WITH_CORESET, "AlwaysBeDreaming", "Generative_Replay", "RDFCIL", "CwD"])
def test_stored_values_are_those_of_all_that_a_learner_keeps(problem, name):
    learner, (task, _) = problem(name, memory=40 if name in LEARNERS_WITH_CORESET else 0)
    learn_task(learner, task)
    keeps = name in ("AlwaysBeDreaming", "Generative_Replay")
    networks = [learner.model, learner.generator] if keeps else [learner.model]
    kept = sum(p.numel() for network in networks for p in network.parameters())
    statistics = task.seen * 64 + 64 * 64 if name == "CwD" else 0
    assert learner.stored_values() == kept + statistics + learner.settings.memory * 32 * 32 * 3


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
def test_the_images_to_learn_are_counted_before_any_work(second_task, name, memory):
    learner, task, _ = second_task(name, memory=memory)
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
