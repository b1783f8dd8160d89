import pytest
import torch
from torch import nn

from models import Frozen, HeadPairs, Heads, RDFCILResNet, ResNet, classifier, folded
from models.rdfcil_resnet import PlainBlock


def count(network):
    return sum(p.numel() for name, p in network.named_parameters() if not name.startswith("last."))


@pytest.mark.parametrize(("name", "parameters"), [("resnet32", 463_504), ("resnet18", 11_168_832)])
def test_the_backbones_have_the_published_parameters(name, parameters):
    assert count(classifier("rdfcil_resnet", name, 10)) == parameters


def test_the_family_is_the_one_asked_for():
    assert type(classifier("resnet", "resnet8", 10)) is ResNet
    assert type(classifier("rdfcil_resnet", "resnet8", 10)) is RDFCILResNet


def trained(name):
    """A network whose batch norms differ from the identity, the last of each block included."""
    network = classifier("rdfcil_resnet", name, 7)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias)
    return network


def test_features_may_be_negative():
    images = torch.randn(8, 3, 32, 32)
    assert (trained("resnet8").features(images) < 0).any()
    assert (classifier("resnet", "resnet8", 7).features(images) >= 0).all()


def test_the_zero_channels_are_all_behind():
    x = torch.randn(2, 16, 8, 8)
    expected = torch.cat([x[:, :, ::2, ::2], torch.zeros(2, 16, 4, 4)], 1)
    assert torch.equal(PlainBlock(16, 32, 2).shortcut(x), expected)


def test_a_new_block_is_its_shortcut():
    network, x = RDFCILResNet(1, 10), torch.randn(2, 16, 8, 8)
    assert torch.equal(network.layer1(x), x)


@pytest.mark.parametrize(("name", "size"), [("resnet8", 32), ("resnet8", 64), ("resnet18", 64)])
def test_frozen_and_folded_networks_compute_the_same(name, size):
    network, images = trained(name).eval(), torch.randn(3, 3, size, size)
    frozen = Frozen(network, images.shape[1:])
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded(network, images.shape[1:]).modules())
    torch.testing.assert_close(frozen(images), network(images), rtol=1e-4, atol=1e-4)
    relayed = network.features_from(frozen.first_stage(images))
    torch.testing.assert_close(relayed, network.features(images), rtol=1e-4, atol=1e-4)


def test_of_imagenets_stages_only_the_first_block_ends_with_relu():
    network, x = trained("resnet18").eval(), torch.randn(2, 64, 8, 8)
    first, second = network.layer1
    assert (first(x) >= 0).all()
    assert (second(first(x)) < 0).any()
    assert network.feature_size == network.features(torch.randn(1, 3, 32, 32)).shape[1] == 512


def test_heads_draw_the_rows_of_their_task_alone():
    heads = Heads(64, 30)
    before = heads.weight.detach().clone()
    heads.start(range(10, 20))
    changed = (heads.weight != before).any(1)
    assert changed.tolist() == [10 <= row < 20 for row in range(30)]
    assert heads.bias is None
    assert heads.weight.std().item() == pytest.approx(0.001, rel=0.1)


def test_pairs_of_heads_are_two_linear_maps_joined_in_task_order():
    pairs = HeadPairs(64, [range(0, 5), range(5, 8)])
    for classes in pairs.ranges:
        pairs.start(classes)
    features = torch.randn(4, 64)
    layers = zip(pairs.first, pairs.second)
    expected = torch.cat([features @ first.T @ second.T for first, second in layers], 1)
    torch.testing.assert_close(pairs(features), expected)
    assert all(0.1 < weight.abs().max() <= 1 / 8 for weight in pairs.parameters())
    pairs(features).sum().backward()
    assert all(weight.grad is not None for weight in pairs.parameters())


def test_a_pair_that_starts_leaves_the_others_alone():
    pairs = HeadPairs(64, [range(0, 5), range(5, 8)])
    pairs.start(range(0, 5))
    first, second = pairs.weight.detach().split([5, 3])
    assert first.any()
    assert not second.any()
