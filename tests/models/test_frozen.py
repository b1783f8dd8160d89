import pytest
import torch
from torch import nn
from torch.nn import functional as F

from models import GENERATORS, Frozen, Generator, Observed, ResNet, folded
from models.frozen import NormWithStatistics
from models.generator import UpsampledConv2d

SHAPE = (3, 32, 32)


@torch.no_grad()
def lived_in(network):
    """With batch norms that have seen something."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
            if layer.affine:
                layer.weight.uniform_(-1, 1)
                layer.bias.normal_()
    return network.double()


@pytest.fixture
def classifier():
    return lived_in(ResNet(1, 7))


@pytest.fixture
def images():
    return torch.randn(5, 3, 32, 32, dtype=torch.double)


def test_a_folded_generator_keeps_the_batch_norms_that_follow_no_convolution():
    generator = lived_in(Generator(*GENERATORS["CIFAR_GEN_SMALL"]))
    noise = torch.randn(3, 1000, dtype=torch.double)
    one = folded(generator, (1000,))
    torch.testing.assert_close(one(noise), generator.eval()(noise))
    left = [layer for layer in one.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert len(left) == 2  # after the linear layer, after tanh


def test_a_frozen_classifier_ignores_what_the_network_learns_later(classifier, images):
    frozen = Frozen(classifier, SHAPE)
    logits, features = classifier.eval()(images), classifier.features(images)
    with torch.no_grad():
        classifier.conv1.weight.zero_()
        classifier.last.weight.zero_()
    torch.testing.assert_close(frozen(images), logits.detach())
    torch.testing.assert_close(frozen.features(images), features.detach())
    assert not frozen(images).requires_grad and not frozen.features(images).requires_grad


def test_gradients_through_an_observed_classifier_are_those_of_a_plain_computation(classifier, images):
    observed, classifier = Observed(classifier), classifier.eval()
    seen = []
    for layer in classifier.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.register_forward_pre_hook(
                lambda layer, inputs: seen.append(torch.var_mean(inputs[0], (0, 2, 3), correction=0)))
    images.requires_grad_()
    features = classifier.features(images)
    var, mean = (torch.cat(parts) for parts in zip(*seen))
    weights = [torch.randn_like(part) for part in (features, mean, var)]
    gradients = [
        torch.autograd.grad(sum((part * weight).sum() for part, weight in zip(parts, weights)), images)
        for parts in (observed(images), (features, mean, var))]
    torch.testing.assert_close(*gradients)
    assert not any(p.requires_grad for p in observed.network.parameters())


@pytest.mark.parametrize("made", [lambda: ResNet(1, 7), lambda: Generator(*GENERATORS["CIFAR_GEN_SMALL"])])
def test_casting_once_is_what_autocast_does_in_every_step(made):
    network = lived_in(made()).float()
    shape = (1000,) if isinstance(network, Generator) else SHAPE
    plain, cast, x = Frozen(network, shape), Frozen(network, shape, bf16=True), torch.randn(4, *shape)
    with torch.autocast("cpu", torch.bfloat16):
        expected = plain(x)
    assert torch.equal(cast(x), expected) and cast(x).dtype == torch.float32  # inside autocast and outside
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(cast(x), expected)
        if isinstance(network, ResNet):
            assert torch.equal(cast.features(x), plain.features(x))
            assert cast.features(x).dtype == torch.float32
            assert cast.last.weight.dtype == torch.float32
    convolutions = [layer for layer in cast.network.modules() if isinstance(layer, nn.Conv2d)]
    assert {layer.weight.dtype for layer in convolutions} == {torch.bfloat16}


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
def test_a_norm_with_statistics_and_its_gradient_are_those_of_their_formulas(form):
    x = (3 + 2 * torch.randn(8, 5, 6, 7, dtype=torch.double)).to(memory_format=form).requires_grad_()
    scale, shift = torch.randn(2, 1, 5, 1, 1, dtype=torch.double)
    outputs = NormWithStatistics.apply(x, scale, shift)
    var, mean = torch.var_mean(x, (0, 2, 3), correction=0)
    torch.testing.assert_close(outputs, (scale * x + shift, mean, var))
    assert outputs[0].is_contiguous(memory_format=form)
    weights = [torch.randn_like(output) for output in outputs]
    mine, theirs = (
        torch.autograd.grad(sum((part * weight).sum() for part, weight in zip(parts, weights)), x)[0]
        for parts in (outputs, (scale * x + shift, mean, var)))
    torch.testing.assert_close(mine, theirs)
    assert mine.is_contiguous(memory_format=form)


@pytest.mark.parametrize("size", [(8, 8), (1, 1), (3, 5)])
def test_an_upsampled_convolution_is_nearest_upsampling_and_a_convolution(size):
    layer = UpsampledConv2d(6, 4).double()
    x = torch.randn(2, 6, *size, dtype=torch.double, requires_grad=True)
    plain = F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), layer.weight, layer.bias, padding=1)
    torch.testing.assert_close(layer(x), plain)
    torch.testing.assert_close(layer.as_transposed()(x), plain)
    weights = torch.randn_like(plain)
    inputs = [x, layer.weight, layer.bias]
    mine, theirs = (torch.autograd.grad((y * weights).sum(), inputs) for y in (layer(x), plain))
    torch.testing.assert_close(mine, theirs)
