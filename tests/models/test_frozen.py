"""Networks, also as a user may write them: frozen, observed and evaluated they compute what they compute
themselves, and what can be folded is."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from models import GENERATORS, Classifier, Frozen, Generator, Observed, ResNet, classifier
from models.batch_norm import BatchNorm2d
from models.folding import check_copies, folded
from models.frozen import NormWithStatistics
from utils.errors import UserError

SHAPE = (3, 8, 8)


class Net(Classifier):
    """Convolutions and norms of 4 channels, and what a subclass makes of them."""

    feature_size = 4

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.bn2, self.bn1 = BatchNorm2d(4), nn.BatchNorm2d(4)  # not in the order in which they run
        self.last = nn.Linear(4, 5)

    def first_stage(self, images):
        return F.relu(self.bn1(self.conv1(images)), inplace=True)

    def later_stages(self, maps):
        return self.bn2(self.conv2(maps))


class NormTwice(Net):
    def later_stages(self, maps):
        return self.bn1(self.conv2(maps))


class ChangedInBetween(Net):
    def later_stages(self, maps):
        return self.bn2(self.conv2(maps).mul_(2))


class Hooked(Net):
    def __init__(self):
        super().__init__()
        self.conv2.register_forward_hook(lambda layer, inputs, output: output.abs())


class Subclassed(Net):
    class Norm(nn.BatchNorm2d):
        def forward(self, x):
            return 2 * super().forward(x)

    class Conv(nn.Conv2d):
        def forward(self, x):
            return F.conv2d(x, self.weight / self.weight.norm(), padding=1)

    def __init__(self):
        super().__init__()
        self.bn1, self.conv2 = self.Norm(4), self.Conv(4, 4, 3, padding=1, bias=False)


class Branching(Net):
    """Takes the norm or leaves it out, as the images have it."""

    def first_stage(self, images):
        return self.bn1(self.conv1(images))

    def later_stages(self, maps):
        y = self.conv2(maps)
        return self.bn2(y) if maps.mean() > 0 else y


class OwnForward(Net):
    """Has features and outputs, and no stages."""

    first_stage, later_stages = Classifier.first_stage, Classifier.later_stages

    def features(self, images):
        return self.bn2(self.conv2(self.bn1(self.conv1(images)))).mean((2, 3))

    def forward(self, images):
        return self.last(self.features(images.flip(3)))


# How many norms are folded, and the names of those with statistics in the order in which they run.
NETWORKS = {
    Net: (2, "bn1 bn2"),
    NormTwice: (0, "bn1 bn1"),
    ChangedInBetween: (0, "bn1 bn2"),
    Hooked: (1, "bn1 bn2"),
    Subclassed: (0, "bn1 bn2"),
    Branching: (0, None),
    OwnForward: (2, "bn1 bn2"),
    lambda: classifier("rdfcil_resnet", "resnet8", 5): (7, None),
    lambda: classifier("rdfcil_resnet", "resnet18", 5): (20, None),
}


@torch.no_grad()
def lived_in(network):
    """With batch norms that have seen something."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None:
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
            if layer.affine:
                layer.weight.uniform_(0.5, 1.5)
                layer.bias.normal_()
    return network


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_frozen_and_an_observed_network_compute_what_the_network_does(kind):
    network = lived_in(kind()).to(memory_format=torch.channels_last)
    images, random = torch.randn(6, *SHAPE), torch.random.get_rng_state()
    frozen = Frozen(network, SHAPE)
    assert torch.equal(torch.random.get_rng_state(), random) and network.training
    network.eval()
    torch.testing.assert_close(frozen(images), network(images), rtol=1e-4, atol=1e-5)
    assert not frozen(images).requires_grad
    torch.testing.assert_close(frozen.features(images), network.features(images), rtol=1e-4, atol=1e-5)
    if kind is not OwnForward:
        expected = network.first_stage(images)
        torch.testing.assert_close(frozen.first_stage(images), expected, rtol=1e-4, atol=1e-5)
    after, before = (
        sum(type(layer) is nn.Identity for layer in net.modules()) for net in (frozen.network, network))
    assert after - before == NETWORKS[kind][0]

    observed, images = Observed(network), images.requires_grad_()
    seen = []
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None:
            layer.register_forward_pre_hook(
                lambda layer, inputs: seen.append((layer, inputs[0].detach().clone())))
    expected = network.features(images)
    features, mean, var = observed(images)
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)
    names = {layer: name for name, layer in network.named_modules()}
    assert NETWORKS[kind][1] in (" ".join(names[layer] for layer, _ in seen), None)
    expected = [
        torch.cat(parts) for parts in zip(*(
            (x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0), layer.running_mean, layer.running_var)
            for layer, x in seen))]
    torch.testing.assert_close([mean, var, observed.mean, observed.var], expected, rtol=1e-4, atol=1e-5)
    assert observed.share.sum().item() == pytest.approx(1)


def test_a_network_whose_copy_computes_with_the_original_is_refused():
    class Keeping(Net):
        def __init__(self):
            super().__init__()
            self.block = lambda x: self.bn2(self.conv2(x))

        def later_stages(self, maps):
            return self.block(maps)

    with pytest.raises(UserError, match="a copy of Keeping computes with layers of the network that it was"):
        check_copies(Keeping(), SHAPE)
    for kind in NETWORKS:
        check_copies(kind(), SHAPE)


def test_a_folded_generator_keeps_the_batch_norms_that_follow_no_convolution():
    generator = lived_in(Generator(*GENERATORS["CIFAR_GEN_SMALL"])).double()
    noise = torch.randn(3, 1000, dtype=torch.double)
    one = folded(generator, (1000,))
    torch.testing.assert_close(one(noise), generator.eval()(noise))
    left = [layer for layer in one.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert len(left) == 2  # after the linear layer, after tanh


@pytest.mark.parametrize("made", [lambda: ResNet(1, 7), lambda: Generator(*GENERATORS["CIFAR_GEN_SMALL"])])
def test_casting_once_is_what_autocast_does_in_every_step(made):
    network = lived_in(made())
    shape = (1000,) if isinstance(network, Generator) else (3, 32, 32)
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
