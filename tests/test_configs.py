"""Protocols and methods in configs/."""

import numpy as np
import pytest
import yaml
from conftest import ROOT

from dataloaders.sets.imagenet import ilsvrc
from learners import LEARNERS, REGISTRY
from utils.command_line import parse

RDFCIL_PROTOCOLS = {  # -> classes of the first task and of each other one
    "cifar100-b50-t5": (50, 10), "cifar100-b50-t10": (50, 5), "cifar100-b50-t25": (50, 2),
    "cifar100-rdfcil": (10, 10), "tinyimagenet-b100-t5": (100, 20), "tinyimagenet-b100-t10": (100, 10),
    "tinyimagenet-b100-t25": (100, 4), "tinyimagenet-rdfcil": (20, 20)}
PUBLISHED = {"cifar100": 20, "cifar10": 2, "tinyimagenet": 10, "imagenet": 10}  # -> classes of each task
PROTOCOLS = (*PUBLISHED, "cifar100-resnet18-t10", "cifar100-laptop", "cifar100-tenth", "digits",
             "imagenet100-t10", "imagenet100-b50-t5", *RDFCIL_PROTOCOLS)
# Settings whose published default is not ours: a file or script that left one out would run with the default.
STATED = {"dataroot", "workers", "lr", "momentum", "batch_size", "schedule", "power_iters", "deep_inv_params",
          "beta", "first_split_size", "other_split_size"}
OURS = {"dataroot": "datasets", "lr": 0.1, "momentum": 0.9, "deep_inv_params": [1e-3, 50.0, 1e-3, 1e3, 1.0],
        "beta": 1.0, "temp": 2.0}
METHODS = {  # file of a method's settings -> learner, coreset
    "base": ("NormalNN", 0), "lwf": ("LWF", 0), "lwf_mc": ("LWF_MC", 0), "dgr": ("Generative_Replay", 0),
    "deep_inversion": ("DeepInversionGenBN", 0), "lwf_synthetic": ("DeepInversionLWF", 0),
    "abd": ("AlwaysBeDreaming", 0), "naive_rehearsal": ("NormalNN", 2000), "lwf_coreset": ("LWF", 2000),
    "e2e": ("ETE", 2000), "bic": ("BIC", 2000),
}
SUCCESSORS = {  # -> learner and the weights of its losses; smoothness
    "rdfcil": ({"learner_name": "RDFCIL", "old_logits_weight": 0.15, "angle_weight": 0.5}, 1e-3),
    "cwd": ({"learner_name": "CwD", "old_logits_weight": 0.15, "angle_weight": 0.5, "alignment_weight": 0.1,
             "consistency_weight": 0.05}, 0),
    "rfd": ({"learner_name": "RFD", "dist_dreams_weight": 0.15, "dist_real_weight": 0.15,
             "relay_weight": 0.05}, 1e-3)}


def combined(*names):
    """The settings that files in configs/ give together."""
    return parse(REGISTRY, ["--config", *(str(ROOT / "configs" / f"{name}.yaml") for name in names)])


def ours(settings):
    """What this project's files and scripts run with, whatever the defaults."""
    no_smoothing = {"deep_inv_params": [1e-3, 50.0, 0.0, 1e3, 1.0]} if settings.learner_name == "CwD" else {}
    assert {name: getattr(settings, name) for name in OURS} == {**OURS, **no_smoothing}
    assert settings.workers == (8 if settings.dataset == "ImageNet" else 0)
    assert settings.mu == (0.1 if settings.learner_name in ("AlwaysBeDreaming", "DeepInversionLWF") else 1)
    iterations = {250: 10000, 200: 5000}.get(settings.schedule[-1], 1000)
    assert settings.power_iters == {"Digits": 120, "ImageNet": 50000}.get(settings.dataset, iterations)


def published(settings, schedule=(100, 150, 200, 250), decay=2e-4):
    """The protocol of ABD's paper, but for the sizes of tasks."""
    large = settings.dataset == "ImageNet"
    schedule, decay = ((30, 60, 80, 90, 100), 1e-4) if large else (schedule, decay)
    assert (settings.model_name, settings.batch_size) == (("resnet18", 256) if large else ("resnet32", 128))
    assert (settings.optimizer, settings.lr, settings.momentum) == ("SGD", 0.1, 0.9)
    assert settings.weight_decay == (0 if settings.learner_name == "Generative_Replay" else decay)
    assert (settings.schedule, settings.repeat, settings.max_task) == ([*schedule], 3, -1)
    assert (settings.train_aug, settings.rand_split, settings.validation) == (True, True, False)
    generator = {"ImageNet": "IMNET_GEN", "TinyImageNet": "TINYIMNET_GEN"}.get(settings.dataset, "CIFAR_GEN")
    assert settings.gen_model_name == generator or not LEARNERS[settings.learner_name].generator_type


def test_every_file_is_tested_below():
    assert {path.stem for path in ROOT.glob("configs/*.yaml")} == {*PROTOCOLS, *METHODS, *SUCCESSORS}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_protocol_states_what_is_not_ours_by_default(protocol):
    assert STATED - yaml.safe_load((ROOT / "configs" / f"{protocol}.yaml").read_text()).keys() == set()
    ours(combined(protocol, "abd"))


@pytest.mark.parametrize("method", METHODS)
def test_a_method_is_the_published_one_under_each_published_protocol(method):
    for protocol, size in PUBLISHED.items():
        if (protocol, method) == ("imagenet", "dgr"):  # has no autoencoder for its images
            continue
        settings = combined(protocol, method)
        published(settings)
        ours(settings)
        assert (settings.learner_name, settings.memory) == METHODS[method]
        assert settings.first_split_size == settings.other_split_size == size


def test_defaults_of_flags_are_none_of_ours():
    """Else the tests above could not fail."""
    defaults = parse(REGISTRY, [])
    assert all(getattr(defaults, name) != value for name, value in OURS.items() if name != "temp")


@pytest.mark.parametrize("protocol", RDFCIL_PROTOCOLS)
def test_r_dfcils_protocols_are_those_of_its_paper(protocol):
    settings = combined(protocol, "rdfcil")
    published(settings, (80, 120, 200), 5e-4 if "cifar" in protocol else 2e-4)
    assert (settings.model_type, settings.transforms) == ("rdfcil_resnet", "rdfcil")
    assert (settings.power_iters, round(settings.head_share * 200)) == (5000, 40)
    assert (settings.first_split_size, settings.other_split_size) == RDFCIL_PROTOCOLS[protocol]


@pytest.mark.parametrize("method", SUCCESSORS)
def test_the_successors_have_their_published_weights(method):
    wanted, smoothness = SUCCESSORS[method]
    wanted |= {"memory": 0, "classification_weight": 0.5, "head_share": 0.2, "head_lr_factor": 0.05,
               "deep_inv_params": [1e-3, 50, smoothness, 1e3, 1]}
    assert wanted.items() <= vars(combined("cifar100", method)).items()


def test_imagenet_100_is_the_beginning_of_the_published_order():
    sizes = {name: combined(name, "abd") for name in ("imagenet100-t10", "imagenet100-b50-t5")}
    expected = [ilsvrc()[number] for number in np.random.RandomState(1993).permutation(1000)[:100]]
    assert all(settings.imagenet_classes == expected for settings in sizes.values())
    assert [settings.first_split_size for settings in sizes.values()] == [10, 50]
