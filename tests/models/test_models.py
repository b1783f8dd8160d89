"""The networks of the publications. Golden numbers pin what they compute (forward, successors_forward)."""


import pytest
import torch
from torch import nn

from models import Generator, classifier, image_generator
from models.batch_norm import BatchNorm2d
from utils.errors import UserError


@pytest.mark.parametrize(("side", "parameters"), [(32, 11_220_132), (224, 11_227_812)])
def test_a_resnet18_has_torchvisions_parameters_with_a_stem_for_small_images(side, parameters):
    network = classifier("resnet", "torchvision_resnet18", 100, side)
    assert sum(p.numel() for p in network.parameters()) == parameters


@pytest.mark.parametrize(("name", "side"), [
    ("TINYIMNET_GEN", 64), ("TINYIMNET_GEN", 32), ("IMNET_GEN", 224), ("CIFAR_GEN", 28),
    ("CIFAR_GEN_SMALL", 96)])
def test_generators_make_images_of_4_to_8_times_a_power_of_two(name, side):
    generator = image_generator("generator", name, side)
    assert generator(torch.randn(2, Generator.noise_size)).shape == (2, 3, side, side)
    for kind, other in (("generator", 36), ("autoencoder", 224)):
        with pytest.raises(UserError, match=f"^--gen_model_name {name}: .*{other}"):
            image_generator(kind, name, other)
    if side in (32, 64):
        decoded = image_generator("autoencoder", "CIFAR_GEN_SMALL", side).decode(torch.randn(1, 256))
        assert decoded.shape == (1, 3, side, side)


@pytest.mark.parametrize("how", [{"momentum": None}, {"track_running_stats": False}, {"momentum": 0.3}])
def test_batch_norm_is_torchs_without_the_count_of_batches(how):
    ours, theirs = BatchNorm2d(4, **how), nn.BatchNorm2d(4, **how)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for _ in range(3):
        x = torch.randn(6, 4, 5, 5)
        assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours.eval()(x), theirs.eval()(x))
