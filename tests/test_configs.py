"""Protocols and methods in configs/."""

from pathlib import Path

import pytest
import yaml

from dataloaders.datasets import DATASETS
from learners import LEARNERS, REGISTRY
from utils.command_line import parse

ROOT = Path(__file__).resolve().parent.parent
RDFCIL_PROTOCOLS = {  # -> classes, weight decay
    f"{name}-{split}": (classes, decay)
    for name, classes, decay, half in (("cifar100", 100, 5e-4, "b50"), ("tinyimagenet", 200, 2e-4, "b100"))
    for split in (f"{half}-t5", f"{half}-t10", f"{half}-t25", "rdfcil")}
PROTOCOLS = (
    "cifar100", "cifar10", "cifar100-laptop", "cifar100-tenth", "digits", "tinyimagenet", "imagenet",
    *RDFCIL_PROTOCOLS)
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
SUCCESSORS = {"rdfcil": ("RDFCIL", 0), "cwd": ("CwD", 0), "rfd": ("RFD", 0)}  # not in the paper's tables


def combined(*names):
    """The settings that files in configs/ give together."""
    return parse(REGISTRY, ["--config", *(str(ROOT / "configs" / f"{name}.yaml") for name in names)])


@pytest.mark.parametrize(("protocol", "method"), [
    *((protocol, method) for protocol in PROTOCOLS for method in ("abd", "rdfcil")),
    *(("cifar100", method) for method in METHODS)])
def test_a_method_goes_on_top_of_a_protocol(protocol, method):
    settings = combined(protocol, method)
    assert (settings.learner_name, settings.memory) == {**METHODS, **SUCCESSORS}[method]
    _, decay = RDFCIL_PROTOCOLS.get(protocol, (0, 1e-4 if protocol == "imagenet" else 2e-4))
    assert settings.weight_decay == (0 if method == "dgr" else decay)
    if method in METHODS:
        ours(settings)


def test_every_config_is_tested_above():
    assert {path.stem for path in ROOT.glob("configs/*.yaml")} == {*PROTOCOLS, *METHODS, *SUCCESSORS}


def ours(settings):
    """What this project's files and scripts run with, whatever the defaults."""
    no_smoothing = {"deep_inv_params": [1e-3, 50.0, 0.0, 1e3, 1.0]} if settings.learner_name == "CwD" else {}
    assert {name: getattr(settings, name) for name in OURS} == {**OURS, **no_smoothing}
    assert settings.workers == (8 if settings.dataset == "ImageNet" else 0)
    assert settings.mu == (0.1 if settings.learner_name in ("AlwaysBeDreaming", "DeepInversionLWF") else 1)
    iterations = {250: 10000, 200: 5000}.get(settings.schedule[-1], 1000)
    assert settings.power_iters == {"Digits": 120, "ImageNet": 50000}.get(settings.dataset, iterations)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_protocol_states_every_setting_whose_default_is_not_ours(protocol):
    assert STATED - yaml.safe_load((ROOT / "configs" / f"{protocol}.yaml").read_text()).keys() == set()


def test_defaults_of_flags_are_none_of_ours():
    """Else the tests above could not fail."""
    defaults = parse(REGISTRY, [])
    assert all(getattr(defaults, name) != value for name, value in OURS.items() if name != "temp")


@pytest.mark.parametrize("protocol", ["cifar100", "cifar10"])
def test_the_protocols_of_cifar_are_the_published_ones(protocol):
    settings = combined(protocol)
    published(settings)
    assert settings.first_split_size == settings.other_split_size == DATASETS[settings.dataset].classes // 5


def published(settings, model="resnet32", decay=2e-4, schedule=(100, 150, 200, 250), batch_size=128):
    assert settings.model_name == model
    assert (settings.optimizer, settings.lr, settings.momentum) == ("SGD", 0.1, 0.9)
    assert settings.weight_decay == (0 if settings.learner_name == "Generative_Replay" else decay)
    assert (settings.schedule, settings.batch_size, settings.repeat) == ([*schedule], batch_size, 3)
    assert (settings.train_aug, settings.rand_split) == (True, True)
    assert (settings.max_task, settings.validation) == (-1, False)


def published_tinyimagenet(settings):
    published(settings)
    assert (settings.dataset, settings.power_iters) == ("TinyImageNet", 10000)
    assert settings.other_split_size == (10 if settings.first_split_size == 10 else 200)
    assert settings.gen_model_name == "TINYIMNET_GEN" or not LEARNERS[settings.learner_name].generator_type


def published_imagenet(settings):
    published(settings, "resnet18", 1e-4, (30, 60, 80, 90, 100), 256)
    assert (settings.dataset, settings.power_iters) == ("ImageNet", 50000)
    assert settings.gen_model_name == "IMNET_GEN" or not LEARNERS[settings.learner_name].generator_type


@pytest.mark.parametrize("method", ["base", "abd", "bic"])
@pytest.mark.parametrize(("protocol", "check"), [
    ("tinyimagenet", published_tinyimagenet), ("imagenet", published_imagenet)])
def test_the_protocols_of_the_other_benchmarks_are_the_published_ones(protocol, check, method):
    settings = combined(protocol, method)
    check(settings)
    assert settings.first_split_size == settings.other_split_size == 10


@pytest.mark.parametrize("protocol", RDFCIL_PROTOCOLS)
def test_r_dfcils_protocols_are_those_of_its_paper(protocol):
    classes, decay = RDFCIL_PROTOCOLS[protocol]
    settings = combined(protocol, "rdfcil")
    published(settings, "resnet32", decay, (80, 120, 200))
    assert (settings.model_type, settings.transforms) == ("rdfcil_resnet", "rdfcil")
    assert settings.power_iters == 5000
    assert round(settings.head_share * 200) == 40
    tasks = int(protocol.rpartition("t")[2]) if "-b" in protocol else 0
    half = classes // 2
    assert (settings.first_split_size, settings.other_split_size) == (
        (half, half // tasks) if tasks else (classes // 10, classes // 10))
    assert DATASETS[settings.dataset].classes == classes


@pytest.mark.parametrize(("method", "weights", "smoothness"), [
    ("rdfcil", {"old_logits_weight": 0.15, "angle_weight": 0.5}, 1e-3),
    ("cwd", {"old_logits_weight": 0.15, "angle_weight": 0.5, "alignment_weight": 0.1,
             "consistency_weight": 0.05}, 0),
    ("rfd", {"dist_dreams_weight": 0.15, "dist_real_weight": 0.15, "relay_weight": 0.05}, 1e-3)])
def test_the_successors_have_their_published_weights(method, weights, smoothness):
    settings = combined("cifar100", method)
    shared = {"classification_weight": 0.5, "head_share": 0.2, "head_lr_factor": 0.05}
    for name, value in {**weights, **shared}.items():
        assert getattr(settings, name) == value
    assert settings.deep_inv_params == [1e-3, 50, smoothness, 1e3, 1]
