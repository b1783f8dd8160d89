import pytest
import torch
from torch import nn

from models import GENERATORS, Frozen, Generator, ResNet, folded
from models.frozen import NormWithStatistics

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


def test_a_folded_generator_keeps_the_batch_norms_that_follow_no_convolution():
    generator = lived_in(Generator(*GENERATORS["CIFAR_GEN_SMALL"]))
    noise = torch.randn(3, 1000, dtype=torch.double)
    one = folded(generator, (1000,))
    torch.testing.assert_close(one(noise), generator.eval()(noise))
    left = [layer for layer in one.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert len(left) == 2  # after the linear layer, after tanh


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
