import math

import pytest
import torch
from torch import nn

from models import GENERATORS, RESNETS, Generator, ResNet, image_sides
from models.batch_norm import BatchNorm2d
from models.resnet import BasicBlock


def count(network):
    return sum(p.numel() for p in network.parameters())


def test_resnet32_has_the_published_parameters():
    assert count(ResNet(RESNETS["resnet32"], 100)) == 470_004


def test_the_generator_has_the_published_parameters():
    assert count(Generator(*GENERATORS["CIFAR_GEN"])) == 8_423_939


@pytest.mark.parametrize(
    ("name", "depth"), [("resnet8", 8), ("resnet14", 14), ("resnet32", 32), ("resnet18", 14)])
def test_depth_counts_convolutions_and_the_classifier(name, depth):
    layers = [m for m in ResNet(RESNETS[name], 10).modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert len(layers) == depth


def test_stages_have_16_32_and_64_channels_at_32_16_and_8_pixels():
    network = ResNet(5, 10).eval()
    shapes = []
    for stage in (network.layer1, network.layer2, network.layer3):
        stage.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[1:])))
    network(torch.randn(1, 3, 32, 32))
    assert shapes == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]


@pytest.mark.parametrize(("inputs", "outputs"), [(16, 32), (32, 64)])
def test_the_shortcut_halves_the_image_and_adds_zero_channels_on_both_sides(inputs, outputs):
    x = torch.randn(2, inputs, 8, 8)
    zeros = torch.zeros(2, (outputs - inputs) // 2, 4, 4)
    expected = torch.cat([zeros, x[:, :, ::2, ::2], zeros], 1)
    assert torch.equal(BasicBlock(inputs, outputs, 2).shortcut(x), expected)


def test_relu_follows_the_addition():
    block = BasicBlock(16, 16, 1).eval()
    nn.init.zeros_(block.bn2.weight)
    x = torch.randn(2, 16, 8, 8)
    assert torch.equal(block(x), x.relu())


def test_initial_weights_are_he_normal():
    torch.manual_seed(0)
    network = ResNet(RESNETS["resnet32"], 100)
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            weight = module.weight.detach().flatten()
            expected = math.sqrt(2 / module.weight[0].numel())
            error = 1 / math.sqrt(len(weight))
            assert weight.std().item() == pytest.approx(expected, rel=4 * error)
            assert abs(weight.mean().item()) < 5 * error * expected
            beyond = (weight.abs() > 2 * expected).float().mean().item()
            assert beyond == pytest.approx(0.0455, abs=0.03)  # normal, not uniform


def test_the_classifiers_bias_has_torchs_default():
    torch.manual_seed(0)
    bias = ResNet(1, 1000).last.bias
    assert 0.9 / 8 < bias.abs().max() <= 1 / 8
    assert bias.std().item() == pytest.approx(1 / 8 / math.sqrt(3), rel=0.1)


@pytest.mark.parametrize(
    ("name", "size"), [("CIFAR_GEN", 32), ("CIFAR_GEN_SMALL", 32), ("TINYIMNET_GEN", 64), ("IMNET_GEN", 224)])
def test_generators_make_images_of_their_size(name, size):
    generator = Generator(*GENERATORS[name])
    assert image_sides("generator")[name] == size
    assert generator(torch.randn(2, Generator.noise_size)).shape == (2, 3, size, size)


@pytest.mark.parametrize("name", GENERATORS)
def test_generators_end_in_tanh_and_batch_norm_without_affine(name):
    *_, tanh, norm = [m for m in Generator(*GENERATORS[name]).modules() if not list(m.children())]
    assert isinstance(tanh, nn.Tanh)
    assert isinstance(norm, nn.BatchNorm2d)
    assert (norm.affine, norm.num_features) == (False, 3)


def test_the_inner_batch_norms_have_the_published_eps():
    norms = [m.eps for m in Generator(*GENERATORS["CIFAR_GEN"]).modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms == [1e-5, 0.8, 0.8, 1e-5]


def test_batch_norm_is_torchs_without_the_count_of_batches():
    mine, theirs = BatchNorm2d(3, momentum=0.3), nn.BatchNorm2d(3, momentum=0.3)
    assert list(mine.state_dict()) == list(theirs.state_dict())
    for training in (True, False):
        x = torch.randn(4, 3, 5, 5)
        torch.testing.assert_close(mine.train(training)(x), theirs.train(training)(x))
    torch.testing.assert_close(mine.running_var, theirs.running_var)
    assert (mine.num_batches_tracked, theirs.num_batches_tracked) == (0, 1)
