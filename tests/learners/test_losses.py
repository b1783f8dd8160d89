"""Parts of the learners' losses."""

import pytest
import torch
from conftest import serve
from torch.nn import functional as F

from learners import LEARNERS
from learners.base import distillation
from tests.learners.conftest import DREAMING, prepare


def test_distillation_is_cross_entropy_to_the_softened_teacher_without_a_factor():
    student, teacher = torch.randn(8, 5), torch.randn(8, 5)
    expected = F.cross_entropy(student / 2, (teacher / 2).softmax(1))
    torch.testing.assert_close(distillation(student, teacher, 2.0), expected)


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
    of_class = [torch.nonzero(task.train.labels == label).flatten() for label in (0, 1)]
    keep = torch.cat([of_class[0][:6], of_class[1][:18]])
    object.__setattr__(task, "train", task.train[keep])
    next(serve(prepare(learner, task)[0].batches))
    weight = torch.tensor([26 / (7 * 2), 26 / (19 * 2)])
    torch.testing.assert_close(learner.class_weights, weight)
    logits, y = torch.randn(4, 10), torch.tensor([0, 1, 1, 0])
    each = F.cross_entropy(logits[:, :2], y, reduction="none")
    torch.testing.assert_close(learner.classification(logits, y), (each * weight[y]).mean())


@pytest.mark.parametrize(("name", "memory", "reads"), [
    ("NormalNN", 0, False), ("NormalNN", 40, True), ("LWF", 0, False), ("LWF", 40, True),
    ("LWF_MC", 0, False), ("ETE", 40, False), ("BIC", 40, False),
    ("Generative_Replay", 0, False), ("AlwaysBeDreaming", 0, False),
    ("DeepInversionGenBN", 0, True), ("DeepInversionLWF", 0, True)])
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
        soft = torch.cat([t, t_dream]).div(2).softmax(1)
        kd = F.cross_entropy(torch.cat([h, h_dream])[:, :old] / 2, soft, reduction="none")
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
    left = {key for key, value in losses.items() if value.item()}
    assert left == ({"local", "finetune"} if name == "AlwaysBeDreaming" else {"classification"})


def test_lwf_mc_takes_old_targets_from_the_teacher(second_task, batch):
    learner, _, stages = second_task("LWF_MC")
    x, y = batch(stages["learn"])
    learner.eval()
    target = torch.cat([learner.teacher(x)[:, :2].sigmoid(), F.one_hot(y - 2, 2)], 1)
    expected = F.binary_cross_entropy(learner.model(x)[:, :4].sigmoid(), target, reduction="none")
    torch.testing.assert_close(learner.loss(x, y)["binary"], expected.sum(1).mean())
