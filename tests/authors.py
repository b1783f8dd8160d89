"""The golden numbers of the published implementation (tests/golden/README.md has the recipes), replayed
through the real learners; tests/conformance.py calls what ``CASES`` has for a case's name.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import recipes
import torch
from recipes import BATCH, absolute, fill, normal, state, stretched, whole
from torch import Tensor, nn

from dataloaders.batches import Images, InMemory, Pixels
from dataloaders.coreset import Coreset, herding, nearest_to_mean
from dataloaders.tasks import Task, class_order
from learners import LEARNERS, Learner, Stage
from learners.bic import BIC
from learners.dgr import Generative_Replay
from learners.dreaming import DreamingLearner
from learners.e2e import ETE
from learners.lwf_mc import LWF_MC
from models import AUTOENCODERS, GENERATORS, RESNETS, Autoencoder, Generator, ResNet
from utils.settings import Settings
from utils.streams import Streams

CLASSES = 100
TASK_SIZE = 20  # classes of every past task, where a loss sees tasks
DREAMS = [1e-3, 50.0, 1e-3, 1e3, 1.0]  # --deep_inv_params, as published

# By what a case's name begins with, then "_" and what is varied; of several the longest.
LEARNER_OF_CASE = {
    "base": "NormalNN",
    "upper_bound": "NormalNN",
    "naive_rehearsal": "NormalNN",
    "lwf": "LWF",
    "lwf_mc": "LWF_MC",
    "deep_inversion": "DeepInversionGenBN",
    "lwf_synthetic": "DeepInversionLWF",
    "abd": "AlwaysBeDreaming",
    "e2e": "ETE",
    "bic": "BIC",
}

relative, fingerprints = (
    partial(measure, floor=1e-12) for measure in (recipes.relative, recipes.fingerprints)
)


class Unknown(Exception):
    """A case that cannot be replayed."""


def known(case: str, names: Iterable[str]) -> str:
    """The longest of ``names`` that ``case`` is, or begins with before a "_"; "" without one."""
    return max((name for name in names if case == name or case.startswith(f"{name}_")), key=len, default="")


def no_more_than(given: dict[str, Any], names: Iterable[str], what: str) -> None:
    """Raises Unknown where ``given`` holds what no case of this kind reads: it would not be checked."""
    if more := given.keys() - set(names):
        raise Unknown(f"{what} {', '.join(sorted(more))}: unknown in a case of this kind")


@torch.no_grad()
def calibrated_teacher(seed: int, batch: Tensor) -> ResNet:
    teacher = ResNet(RESNETS["resnet8"], CLASSES)
    fill(state(teacher), seed)
    layers = [m for m in teacher.modules() if isinstance(m, nn.BatchNorm2d)]
    for layer in layers:
        layer.momentum = 1.0
    teacher.train()(batch)
    for layer in layers:
        layer.momentum = 0.1
    teacher.eval().last.weight.mul_(10)
    teacher.last.bias.sub_(teacher(batch).mean(0))
    return teacher


@torch.no_grad()
def start_model(teacher: ResNet, seed: int) -> ResNet:
    model = ResNet(RESNETS["resnet8"], CLASSES)
    fill(state(model), seed)
    for mine, theirs in zip(model.state_dict().values(), teacher.state_dict().values()):
        mine.copy_(0.8 * theirs + 0.6 * mine if mine.ndim > 1 else theirs)
    return model


# Learners as the trainer would use them


def task(old: int, seen: int, counts: Sequence[int] = ()) -> Task:
    """A task whose images have labels alone, so many of each class: the recipes give every batch."""
    pixels = Pixels((0.0,) * 3, (1.0,) * 3)
    count = torch.tensor(counts, dtype=torch.long)
    images = Images.all_of(
        InMemory(
            torch.zeros(0, 3, 32, 32, dtype=torch.uint8),
            torch.arange(len(count)).repeat_interleave(count),
            pixels,
        )
    )
    return Task(-(-old // TASK_SIZE), old, seen, images, images, ("",) * CLASSES)


def build(
    name: str, settings: Settings, model: ResNet, teacher: ResNet, generator: nn.Module | None = None
) -> Learner:
    learner_class = LEARNERS[name]
    networks = [model]
    if learner_class.generator_type:
        networks.append(generator or Generator(*GENERATORS["CIFAR_GEN_SMALL"]))
    learner = learner_class(settings, Streams(), *networks)
    learner.teacher.load_state_dict(teacher.state_dict())
    return learner.to(memory_format=torch.channels_last)  # as a run on a CPU


def stage(learner: Learner, this: Task, name: str) -> Stage:
    """The named stage, with modules and learning rate as the trainer sets them."""
    learner.start_task(this)
    chosen = next(s for s in learner.stages(this) if s.name == name)
    learner.eval()
    chosen.trained.train()
    chosen.start_epoch(0)
    return chosen


def step(chosen: Stage, *batch: Tensor) -> dict[str, float]:
    losses = chosen.loss(*batch)
    chosen.optimizer.zero_grad()
    torch.stack(list(losses.values())).sum().backward()
    chosen.optimizer.step()
    return {name: value.item() for name, value in losses.items()}


# Cases

SEEDS = ("model", "teacher", "real", "real_labels", "dream", "calibration")
SETTINGS = ("learning_rate", "momentum", "weight_decay", "distillation_weight", "temperature", "DW")
LEARNER_RECIPE = (
    *SEEDS,
    *SETTINGS,
    "old_classes",
    "seen_classes",
    "steps",
    "labels_from",
    "images_per_class",
)


def settings_of(recipe: dict[str, Any], learner: str, **more: Any) -> Settings:
    """A recipe's, else the published ones. A learner that may keep a coreset keeps one: --DW is read with it
    alone."""
    return LEARNERS[learner].Settings(
        **{
            "lr": recipe.get("learning_rate", 0.1),
            "momentum": recipe.get("momentum", 0.9),
            "weight_decay": recipe.get("weight_decay", 2e-4),
            "mu": recipe.get("distillation_weight", 1.0),
            "temp": recipe.get("temperature", 2.0),
            "DW": recipe.get("DW", False),
            "memory": 2000 if LEARNERS[learner].takes_coreset else 0,
            "batch_size": BATCH,
            "deep_inv_params": DREAMS,
            "first_split_size": TASK_SIZE,
            "other_split_size": TASK_SIZE,
            **more,
        }
    )


def learner_case(recipe: dict[str, Any], expected: dict[str, Any], case: str) -> Iterator[float]:
    name = LEARNER_OF_CASE[known(case, LEARNER_OF_CASE)]
    balanced = "trained" in recipe
    bias = [key for key in recipe if key.startswith("bias_of_classes_")]
    no_more_than(
        recipe,
        (*LEARNER_RECIPE, *(["trained"] if name == "ETE" else [*bias, "stage_two"] if name == "BIC" else [])),
        "recipe",
    )
    no_more_than(
        expected,
        (
            "total",
            "classification",
            "distillation",
            "state",
            *(["stage_two_loss", "stage_two_alpha", "stage_two_beta"] if "stage_two" in recipe else []),
        ),
        "expected",
    )
    teacher = calibrated_teacher(recipe["teacher"], stretched(recipe["calibration"], 4))
    settings = settings_of(
        recipe, name, **({"memory": 0} if case.startswith(("base", "upper_bound")) else {})
    )  # they keep none, and read no --DW
    if balanced:
        settings.lr *= 100  # the stage's is a hundredth of the settings'
    old, seen = recipe["old_classes"], recipe["seen_classes"]
    learner = build(name, settings, start_model(teacher, recipe["model"]), teacher)
    if isinstance(learner, BIC):
        set_bias_layers(learner, recipe)
    this = task(old, seen, recipe.get("images_per_class", ()))
    learn = stage(learner, this, "balance" if balanced else "learn")
    if settings.DW and not balanced:
        learner.coreset.memory = 0  # the counts are of all that the task learns from
        assert len(learn.batches.data) == len(this.train)  # class weights are made when the images are chosen
    for k in range(recipe["steps"]):
        dreams = stretched(recipe["dream"] + 10 * k, 8)
        learner.dream = lambda count, dreams=dreams: dreams  # the recipe's dreams in place of the generator's
        y = whole(recipe["real_labels"] + 10 * k, recipe.get("labels_from", old), seen)
        losses = step(learn, stretched(recipe["real"] + 10 * k, 4), y)
        yield relative(sum(losses.values()), expected["total"][k])
        if "distillation" in expected and not isinstance(learner, (ETE, LWF_MC)):
            kd = sum(value for name, value in losses.items() if "distillation" in name)
            yield relative(kd, expected["distillation"][k])
            yield relative(sum(losses.values()) - kd, expected["classification"][k])
    yield fingerprints(learner.model.state_dict(), expected["state"])
    if "stage_two" in recipe:
        assert isinstance(learner, BIC)
        yield from bias_stage(learner, recipe["stage_two"], expected, old, seen)


@torch.no_grad()
def set_bias_layers(learner: BIC, recipe: dict[str, Any]) -> None:
    """bias_of_classes_20_to_39: {"alpha", "beta"} of the task of those classes."""
    for name, values in recipe.items():
        if name.startswith("bias_of_classes_"):
            index = int(name.split("_")[3]) // TASK_SIZE
            learner.bias.alpha[index].fill_(values["alpha"])
            learner.bias.beta[index].fill_(values["beta"])


def bias_stage(
    learner: BIC, recipe: dict[str, Any], expected: dict[str, Any], old: int, seen: int
) -> Iterator[float]:
    learner.settings.lr = 100 * recipe["learning_rate"]  # the stage's is a hundredth of the settings'
    this = task(old, seen)
    bias = stage(learner, this, "bias")
    for k in range(recipe["steps"]):
        y = whole(recipe["real_labels"] + 10 * k, 0, seen)
        yield relative(
            sum(step(bias, stretched(recipe["real"] + 10 * k, 4), y).values()), expected["stage_two_loss"][k]
        )
    yield absolute(learner.bias.alpha[this.index].item(), expected["stage_two_alpha"])
    yield absolute(learner.bias.beta[this.index].item(), expected["stage_two_beta"])


def unit_images(seed: int) -> Tensor:
    """uniform(0, 1, (32, 3, 4, 4)), every pixel repeated to 32 x 32."""
    small = np.random.RandomState(seed).uniform(0, 1, (BATCH, 3, 4, 4))
    return torch.from_numpy(small.repeat(8, 2).repeat(8, 3))


DGR_NOISE = ("generator", "old_generator", "replay_noise", "reparameterisation_noise", "calibration_noise")


def dgr_case(recipe: dict[str, Any], expected: dict[str, Any], case: str) -> Iterator[float]:
    no_more_than(recipe, (*LEARNER_RECIPE, *DGR_NOISE), "recipe")
    no_more_than(expected, ("total", "generator_loss", "replay_labels", "state", "generator"), "expected")
    old, seen = recipe["old_classes"], recipe["seen_classes"]
    generator, old_generator = (Autoencoder(*AUTOENCODERS["CIFAR_GEN"]) for _ in range(2))
    fill(state(generator), recipe["generator"])
    fill(state(old_generator), recipe["old_generator"])
    with torch.no_grad():
        teacher = calibrated_teacher(
            recipe["teacher"],
            old_generator.decode(normal(recipe["calibration_noise"], BATCH, generator.latent)),
        )
    settings = settings_of({"weight_decay": 0.0, **recipe}, "Generative_Replay")
    learner = build("Generative_Replay", settings, start_model(teacher, recipe["model"]), teacher, generator)
    assert isinstance(learner, Generative_Replay)
    learner.old_generator.load_state_dict(old_generator.state_dict())
    learn = stage(learner, task(old, seen, recipe.get("images_per_class", ())), "learn")
    for k in range(recipe["steps"]):
        count = 2 * BATCH if old else BATCH
        draws = [normal(recipe["reparameterisation_noise"] + 10 * k, count, generator.latent)]
        if old:
            replay = normal(recipe["replay_noise"] + 10 * k, BATCH, generator.latent)
            draws.insert(0, replay)
            yield absolute(
                learner.teach(learner.old_generator.decode(replay)).argmax(1), expected["replay_labels"][k]
            )
        learner.noise = lambda count, draws=draws: draws.pop(
            0
        )  # first for the replayed images, then for the latent code
        y = whole(recipe["real_labels"] + 10 * k, recipe.get("labels_from", old), seen)
        losses = step(learn, unit_images(recipe["real"] + 10 * k), y)
        yield relative(losses["reconstruction"] + losses["divergence"], expected["generator_loss"][k])
        yield relative(
            sum(losses.values()) - losses["reconstruction"] - losses["divergence"], expected["total"][k]
        )
    yield fingerprints(learner.model.state_dict(), expected["state"])
    yield fingerprints(learner.generator.state_dict(), expected["generator"])


CHOICES = {"nearest_to_mean": nearest_to_mean, "herding": herding}


def coreset_case(recipe: dict[str, Any], expected: dict[str, Any], case: str) -> Iterator[float]:
    no_more_than(
        recipe,
        ("dataset_seed", "features_seed", "images", "feature_dim", "classes", "tasks", "memory", "run_seed"),
        "recipe",
    )
    no_more_than(expected, CHOICES, "expected")
    count = recipe["images"]
    y = torch.from_numpy(
        np.random.RandomState(recipe["dataset_seed"]).randint(0, recipe["classes"], count)
    ).long()
    features = normal(recipe["features_seed"], count, recipe["feature_dim"])
    source = InMemory(torch.zeros(count, 3, 1, 1, dtype=torch.uint8), y, Pixels((0.0,) * 3, (1.0,) * 3))
    for name, after_each in expected.items():
        coreset = Coreset(recipe["memory"])
        for classes, kept in zip(recipe["tasks"], after_each, strict=True):
            new = Images(source, torch.isin(y, torch.tensor(classes)).nonzero().flatten())
            coreset.rank(new, max(classes) + 1, lambda images: features[images.rows], CHOICES[name])
            rows = coreset.images(source).rows.tolist()
            yield absolute(rows, kept)


def inversion_case(recipe: dict[str, Any], expected: dict[str, Any], case: str) -> Iterator[float]:
    no_more_than(
        recipe,
        (
            "generator",
            "teacher",
            "calibration",
            "noise",
            "known_classes",
            "steps",
            "batch",
            "adam_lr",
            "weights",
            "then",
        ),
        "recipe",
    )
    no_more_than(expected, ("losses", "generator", "sample"), "expected")
    weights, old = recipe["weights"], recipe["known_classes"]
    no_more_than(
        weights, ("batch_norm", "smoothness", "content_temperature", "content", "class_balance"), "weight"
    )
    teacher = calibrated_teacher(recipe["teacher"], stretched(recipe["calibration"], 4))
    generator = Generator(*GENERATORS["CIFAR_GEN"])
    fill(state(generator), recipe["generator"])
    settings = settings_of(
        {},
        "AlwaysBeDreaming",
        batch_size=recipe["batch"],
        deep_inv_params=[
            recipe["adam_lr"],
            weights["batch_norm"],
            weights["smoothness"],
            weights["content_temperature"],
            weights["content"],
        ],
    )
    learner = build("AlwaysBeDreaming", settings, teacher, teacher, generator)
    assert isinstance(learner, DreamingLearner)
    dream = stage(learner, task(old, CLASSES), "dream")
    loss, balance = (
        dream.loss,
        weights["class_balance"],
    )  # which is 1 in every published setting and has no flag
    dream.loss = lambda: {
        name: value * balance if name == "balance" else value for name, value in loss().items()
    }
    for k in range(recipe["steps"] + 1):
        noise = normal(recipe["noise"] + 10 * k, recipe["batch"], Generator.noise_size)
        learner.noise = lambda count, noise=noise: noise
        if k < recipe["steps"]:
            yield relative(sum(step(dream).values()), expected["losses"][k])
    yield fingerprints(generator.state_dict(), expected["generator"])
    learner.eval()
    sample, want = learner.dream(recipe["batch"]), expected["sample"]
    logits = learner.teach(sample)
    yield relative(sample.norm(), want["norm"])
    yield absolute(sample.mean(), want["mean"])
    yield absolute(sample.std(), want["std"])
    yield absolute(logits.argmax(1), want["labels"])
    yield relative(logits.norm(), want["score_norm"])


@torch.no_grad()
def forward_case(recipe: dict[str, Any], expected: dict[str, Any], case: str) -> Iterator[float]:
    model = ResNet(RESNETS["resnet32"], CLASSES)
    fill(state(model), recipe["model"])
    images = stretched(recipe["images"], 4)[:8]
    yield absolute(model.eval().features(images)[0, :8], expected["resnet32_features"])
    yield absolute(model(images)[0, :8], expected["resnet32_logits"])
    yield absolute(sum(p.numel() for p in model.parameters()), expected["parameters"]["resnet32"])
    noise = normal(recipe["noise"], 4, Generator.noise_size)
    for name in ("CIFAR_GEN", "TINYIMNET_GEN", "IMNET_GEN"):
        generator = Generator(*GENERATORS[name])
        fill(state(generator), recipe["generator"])
        if name == "CIFAR_GEN":
            yield absolute(
                sum(p.numel() for p in generator.parameters()), expected["parameters"]["generator"]
            )
        for mode in ("train", "eval"):
            made, want = generator.train(mode == "train")(noise), expected[f"{name}_{mode}"]
            yield absolute(made.shape, want["shape"])
            yield relative(made.norm(), want["norm"])
            yield absolute(made.flatten()[: len(want["first"])], want["first"])
    autoencoder, want = Autoencoder(*AUTOENCODERS["CIFAR_GEN"]).eval(), expected["autoencoder"]
    fill(state(autoencoder), recipe["autoencoder"])
    mean, logvar = autoencoder.encode(
        torch.from_numpy(np.random.RandomState(recipe["images"]).uniform(0, 1, (4, 3, 32, 32)))
    )
    yield relative(autoencoder.decode(mean).norm(), want["recon"])
    yield relative(mean.norm(), want["mu"])
    yield relative(logvar.norm(), want["logvar"])
    yield absolute(sum(p.numel() for p in autoencoder.parameters()), expected["parameters"]["autoencoder"])


def class_order_case(recipe: dict[str, Any], expected: dict[str, Any], case: str) -> Iterator[float]:
    for name, order in expected.items():
        dataset, _, which = name.partition("/")
        classes = 1000 if dataset == "ImageNet" else len(order)
        repeat = int(which.removeprefix("seed")) if which.startswith("seed") else 0
        got = class_order(dataset, classes, repeat)[: len(order)]
        yield absolute(got, order)


CASES: dict[str, Callable[..., Iterator[float]]] = {
    **dict.fromkeys(LEARNER_OF_CASE, learner_case),
    "forward": forward_case,
    "class_order": class_order_case,
    "inversion": inversion_case,
    "dgr": dgr_case,
    "coreset": coreset_case,
}
