"""Dreams and ABD; golden numbers pin every term (tests/golden/inversion*.json, abd.json)."""

import pytest
import torch
from conftest import serve
from torch import nn

from learners import LEARNERS, REGISTRY
from learners.abd import AlwaysBeDreaming
from learners.dreaming import class_balance
from models import ResNet
from tests.learners.conftest import DREAMING
from utils.command_line import parse
from utils.errors import UserError


def test_a_class_of_probability_0_gives_no_nan():
    logits = torch.full((8, 10), -1e4)
    logits[:, 3] = 1e4
    logits.requires_grad_()
    loss = class_balance(logits)
    loss.backward()
    assert loss.item() == pytest.approx(1) and logits.grad.isfinite().all()
    assert class_balance(torch.randn(4, 1)).item() == 0  # of a single class


def test_what_a_learner_cannot_do_is_refused_before_any_work(tiny, monkeypatch):
    class Extended(LEARNERS["RDFCIL"]):
        def more_terms(self, x_all, y_all, f, f_t):
            return {}

    with pytest.raises(UserError, match="no more_terms; extend ``terms`` instead"):
        Extended.check(parse(REGISTRY, tiny("RDFCIL")))
    with pytest.raises(UserError, match="--schedule"):  # two phases need two epochs
        parse(REGISTRY, tiny("CwD", "--schedule", "1"))

    def without_norms(settings):
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4))

    monkeypatch.setattr(AlwaysBeDreaming, "new_model", without_norms)
    with pytest.raises(UserError, match="^--model_name resnet8: .* this network has no BatchNorm2d"):
        parse(REGISTRY, tiny("AlwaysBeDreaming"))


@pytest.mark.parametrize("name", DREAMING)
def test_an_extension_adds_terms_without_running_a_network_again(second_task, name):
    learner, _, stages = second_task(name)
    x, y = next(serve(stages["learn"].batches))
    dreams, given, passes = torch.randn(len(x), 3, 32, 32), [], []
    learner.dream = lambda count: dreams
    plain = learner.eval().loss(x, y)
    learner.more_terms = lambda *parts: given.append(parts) or {"mine": parts[2].mean()}
    learner.model.conv1.register_forward_hook(lambda *_: passes.append(1))
    losses = learner.loss(x, y)
    assert passes == [1] and losses.pop("mine").requires_grad and losses == plain
    (x_all, y_all, f, f_t), = given
    assert torch.equal(x_all, torch.cat([x, dreams]))
    assert torch.equal(y_all, torch.cat([y, learner.teach(dreams).argmax(1)]))
    torch.testing.assert_close(f, learner.model.features(x_all))
    torch.testing.assert_close(f_t, learner.teacher.eval().features(x_all))


# ABD


@pytest.mark.parametrize("seen_alone", [False, True])
def test_finetune_seen_leaves_unseen_outputs_out_of_l_ft(second_task, seen_alone):
    learner, task, stages = second_task("AlwaysBeDreaming", finetune_seen=seen_alone)
    stages["learn"].loss(*next(serve(stages["learn"].batches)))["finetune"].backward()
    reached = len(learner.model.last.bias.grad.nonzero())
    assert reached == (task.seen if seen_alone else 10)


def test_abds_batch_norm_learns_as_by_two_updates_from_the_second_task_on(problem, monkeypatch):
    def declared(settings):
        model = ResNet(1, 10)
        model.bn1.momentum, model.layer1[0].bn1.momentum = 0.01, None
        return model

    monkeypatch.setattr(AlwaysBeDreaming, "new_model", declared)
    learner, tasks = problem("AlwaysBeDreaming")
    for task, momentum, own in ((tasks[0], 0.1, 0.01), (tasks[1], 0.19, 1 - 0.99**2)):
        learner.start_task(task)
        norms = [layer for layer in learner.model.modules() if isinstance(layer, nn.BatchNorm2d)]
        first, average, *others = (layer.momentum for layer in norms)
        assert first == pytest.approx(own) and average is None
        assert others == pytest.approx([momentum] * 5)
