"""Does what docs/your-own-network.md says, and loads weights from elsewhere."""

import re

import utils.torchvision_cpu  # noqa: F401  (before torchvision)

import pytest
import torch
import torchvision
from conftest import train

from learners import REGISTRY
from models import NETWORKS, Frozen, classifier, load_backbone
from utils.command_line import parse
from utils.errors import UserError


def test_the_page_makes_a_network_that_abd_learns(root, tiny, problem, monkeypatch):
    page = (root / "docs" / "your-own-network.md").read_text(encoding="utf-8")
    code, = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(code, {"__name__": "models.wide"})
    monkeypatch.setitem(NETWORKS, ("", "wide"), NETWORKS.pop(("", "wide")))  # until the test ends
    monkeypatch.setitem(REGISTRY.flags["model_name"], "choices", ["wide"])
    assert parse(REGISTRY, tiny("AlwaysBeDreaming", "--model_name", "wide")).model_name == "wide"
    learner, (task, _) = problem("AlwaysBeDreaming", model_name="wide")
    learner.start_task(task)
    train(learner, learner.stages(task)[0])
    images, frozen = torch.randn(2, 3, 32, 32), Frozen(learner.model, (3, 32, 32))
    torch.testing.assert_close(frozen(images), learner.eval().predict(images), rtol=1e-4, atol=1e-5)


def test_torchvisions_weights_are_taken_and_what_does_not_fit_is_a_line(tmp_path):
    theirs, path = torchvision.models.resnet18().eval(), str(tmp_path / "resnet18.pth")
    torch.save(theirs.state_dict(), path)
    ours, small = (classifier("resnet", "torchvision_resnet18", 10, side).eval() for side in (224, 32))
    assert load_backbone(ours, path) == f"weights from {path}"
    assert load_backbone(small, path) == f"weights from {path}, but for conv1.weight"
    images, theirs.fc = torch.randn(2, 3, 96, 96), torch.nn.Identity()
    torch.testing.assert_close(ours.features(images), theirs(images))
    with pytest.raises(UserError, match="nothing in .* fits ResNet"):
        load_backbone(classifier("resnet", "resnet8", 10), path)
