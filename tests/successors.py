"""The golden numbers of R-DFCIL, CwD and RFD (tests/golden_successors/README.md has the recipes), replayed
through the real learners; tests/conformance.py calls what ``kind_of`` finds for a case.

What a case is, is read from its recipe, not from its name.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from recipes import (
    BATCH,
    Numbers,
    absolute,
    fill,
    fingerprint,
    fingerprints,
    normal,
    relative,
    state,
    stretched,
    whole,
    wrong,
)
from successor_data import data_case, forward_case, initialisation_case
from successor_learners import (
    compare_terms,
    learner_of,
    projections_of,
    set_model,
    set_modes,
    set_teacher,
    step,
    task_of,
    tensors_of,
)
from torch import Tensor
from torch.nn import functional as F

from learners import Stage
from learners.cwd import CwD, alignment, class_statistics
from learners.rdfcil import RDFCIL, angle_distance
from learners.rfd import dist
from learners.two_phase import rarity
from models import Generator

# Steps of the two phases

WEIGHTS = {
    name: f"{name}_weight"
    for name in ("classification", "old_logits", "angle", "alignment", "dist_dreams", "dist_real", "relay")
}


def steps_case(recipe: Numbers, expected: Numbers) -> Iterator[float]:
    old, seen, size = recipe["old_classes"], recipe["seen_classes"], recipe["classes_of_a_head"]
    sizes = [size] * (seen // size)
    lr = recipe["learning_rate"]
    learner = learner_of(
        recipe["method"], sizes, lr=lr, momentum=recipe["momentum"], weight_decay=recipe["weight_decay"],
        head_lr_factor=expected.get("learning_rate_of_phase_two", lr) / lr,
        **{WEIGHTS[name]: value for name, value in recipe.get("weights", {}).items()})
    if old:
        set_teacher(learner, sizes[:-1], recipe["teacher"], stretched(recipe["calibration"], 4))
        set_model(learner, sizes, recipe["model"])
    else:
        fill(tensors_of(learner.model, sizes), recipe["model"])
    if "projections" in recipe:
        assert isinstance(learner, RDFCIL)
        fill(projections_of(learner), recipe["projections"])
    if "counts_at_start" in recipe:
        learner.counts[:seen] = whole(recipe["counts_at_start"], 0, 40, seen)
    task = task_of(old // size, old, seen)
    learner.start_task(task)
    stages = {stage.name: stage for stage in learner.stages(task)}
    first, second = recipe["phase_one_steps"], recipe["phase_two_steps"]

    def take(stage: Stage, k: int) -> Iterator[float]:
        dreams = stretched(recipe["dream"] + 10 * k, 8) if old else torch.empty(0)
        learner.dream = lambda count: dreams
        if old:
            yield wrong(learner.teach(dreams).argmax(1).tolist() == expected["dream_labels"][k])
        losses = step(
            stage, stretched(recipe["real"] + 10 * k, 4), whole(recipe["real_labels"] + 10 * k, old, seen)
        )
        yield from compare_terms(losses, expected["terms"][k])

    def compare_state(name: str) -> float:
        projections = projections_of(learner) if isinstance(learner, RDFCIL) else {}
        return fingerprints({**tensors_of(learner.model, sizes), **projections}, expected[name])

    learn = stages["learn"]
    set_modes(learner, learn)
    learn.start_epoch(0)
    for k in range(first):
        yield from take(learn, k)
    if second:
        yield compare_state("state_after_phase_one")
    if second and "heads" in stages:
        heads = stages["heads"]
        set_modes(learner, heads)
        for k in range(second + 1):
            epoch, rest = divmod(k, recipe["phase_two_steps_of_an_epoch"])
            if not rest:
                heads.start_epoch(epoch)
                yield absolute(learner.counts[:seen], expected["class_counts"][epoch])
                yield absolute(learner.weights[:seen], expected["class_weights"][epoch])
            if k < second:
                yield from take(heads, first + k)
    elif second:  # a phase that changes nothing is left out
        yield from (absolute(terms["total"], 0) for terms in expected["terms"][first:])
    yield compare_state("state")


# Dreaming


def inversion_case(recipe: Numbers, expected: Numbers) -> Iterator[float]:
    sizes, weights, batch, known = (
        recipe["heads"],
        recipe["weights"],
        recipe["batch"],
        recipe["known_classes"],
    )
    learner = learner_of(
        recipe["method"],
        sizes,
        gen_model_name="CIFAR_GEN",
        batch_size=batch,
        deep_inv_params=[
            recipe["adam_lr"],
            weights["statistics"],
            weights["smoothness"],
            weights["content_temperature"],
            weights["content"],
        ],
        **({"consistency_weight": weights["consistency"]} if "consistency" in weights else {}),
    )
    learner.balance_weight = weights["balance"]
    fill(state(learner.generator), recipe["generator"])
    if recipe["calibration_batch"].startswith("images"):
        calibration = stretched(recipe["calibration"], 4)
    else:
        with torch.no_grad():
            calibration = learner.generator.train()(
                normal(recipe["calibration"], BATCH, Generator.noise_size)
            )
        fill(state(learner.generator), recipe["generator"])
    set_teacher(learner, sizes, recipe["teacher"], calibration)
    if isinstance(learner, CwD):
        learner.past_share = recipe["history_share"]
        G = normal(recipe["teacher_covariance"], 64, 64)
        learner.means[:known], learner.has_mean[:known] = normal(recipe["teacher_means"], known, 64), True
        learner.has_mean[recipe["classes_without_mean"]] = False
        learner.covariance.copy_(G @ G.T / 64)
    task = task_of(len(sizes), known, known + sizes[-1])
    learner.start_task(task)
    dream = next(stage for stage in learner.stages(task) if stage.name == "dream")
    set_modes(learner, dream)
    dream.start_epoch(0)
    for k in range(recipe["steps"] + 1):
        noise = normal(recipe["noise"] + 10 * k, batch, Generator.noise_size)
        learner.noise = lambda count, noise=noise: noise
        if k < recipe["steps"]:
            if isinstance(learner, CwD):
                yield wrong(bool(learner.came_up[:known].all()) == expected["history_used"][k])
            yield from compare_terms(step(dream), expected["terms"][k])
    yield fingerprints(state(learner.generator), expected["generator"])
    learner.eval()
    sample, want = learner.dream(batch), expected["sample"]
    logits = learner.teach(sample)
    yield relative(sample.norm(), want["norm"])
    yield absolute(sample.mean(), want["mean"])
    yield absolute(sample.std(), want["std"])
    yield wrong(logits.argmax(1).tolist() == want["labels"])
    yield relative(logits.norm(), want["score_norm"])
    if isinstance(learner, CwD):
        yield fingerprint(learner.past_means[:known], expected["history"]["means"])
        yield fingerprint(learner.past_covariance, expected["history"]["covariance"])


# Single terms


def angle_case(recipe: Numbers, expected: Numbers) -> Iterator[float]:
    student, teacher = (normal(recipe[f"{who}_features"], *recipe["shape"]) for who in ("student", "teacher"))
    if recipe["row_5_is_row_2"]:
        student[5], teacher[5] = student[2], teacher[2]
    learner = learner_of("R-DFCIL", [20])
    assert isinstance(learner, RDFCIL)
    projections = projections_of(learner)
    fill(projections, recipe["projections"])
    loss = angle_distance(
        learner.student_projection(student.requires_grad_()), learner.teacher_projection(teacher)
    )
    loss.backward()
    yield relative(loss, expected["loss"])
    yield fingerprint(student.grad, expected["student_features_gradient"])
    for name, value in expected["gradients"].items():
        yield fingerprint(learner.get_parameter(name).grad, value)


def class_weights_case(recipe: Numbers, expected: Numbers) -> Iterator[float]:
    classes = recipe["classes"]
    for given, want in zip(recipe["counts"], expected["cases"], strict=True):
        weights = rarity(whole(given["seed"], 0, given["high"], classes))
        logits = (3 * normal(given["seed"] + 2, BATCH, classes)).requires_grad_()
        loss = recipe["factor"] * F.cross_entropy(logits, whole(given["seed"] + 4, 0, classes), weights)
        loss.backward()
        yield absolute(weights, want["weights"])
        yield relative(loss, want["loss"])
        yield fingerprint(logits.grad, want["logits_gradient"])


def dist_case(recipe: Numbers, expected: Numbers) -> Iterator[float]:
    for (mine, theirs), want in zip(recipe["scales"], expected["cases"], strict=True):
        student = (mine * normal(recipe["student"], *recipe["shape"])).requires_grad_()
        images, classes = dist(student, theirs * normal(recipe["teacher"], *recipe["shape"]))
        (images + classes).backward()
        yield relative(images + classes, want["loss"])
        yield relative(images, want["over_images"])
        yield relative(classes, want["over_classes"])
        yield fingerprint(student.grad, want["student_gradient"])


def alignment_case(recipe: Numbers, expected: Numbers) -> Iterator[float]:
    classes, features = recipe["shape"]
    scale = np.linspace(
        *(
            float(part)
            for part in recipe["row_scale"].removeprefix("linspace(").removesuffix(")").split(",")[:2]
        ),
        classes,
    )
    for want in expected["cases"]:
        weights = (
            normal(recipe["weights"], classes, features) * torch.from_numpy(scale).unsqueeze(1)
        ).requires_grad_()
        loss = recipe["factor"] * alignment(weights, want["old_classes"])
        loss.backward()
        yield relative(loss, want["loss"])
        yield fingerprint(weights.grad, want["gradient"])


class GivenBatches:
    """Stands in for ShuffledBatches: the recipe's batches, one after the other."""

    def __init__(self, batches: Sequence[tuple[Tensor, Tensor]]):
        self.batches = batches

    def starts(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(self.batches)

    def load(self, start: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return start


def statistics_case(recipe: Numbers, expected: Numbers) -> Iterator[float]:
    given, want = recipe["given"], expected["given"]
    seed = int(given["features"].split("seed ")[1].split(",")[0])
    labels = whole(given["labels"], given["low"], given["high"], 40)
    means, present, covariance = class_statistics(
        normal(seed, 40, 64) + labels.unsqueeze(1), labels, given["classes"]
    )
    yield wrong(present.tolist() == want["present"])
    yield from (fingerprint(mean, value) for mean, value in zip(means[present], want["means"], strict=True))
    yield fingerprint(covariance, want["covariance"])
    yield relative(covariance.trace(), want["trace"])

    this, want = recipe["task"], expected["task"]
    sizes, old, seen = this["heads"], this["old_classes"], this["seen_classes"]
    learner = learner_of("CwD", sizes)
    assert isinstance(learner, CwD)
    set_teacher(learner, sizes[:-1], recipe["teacher"], stretched(recipe["calibration"], 4))
    set_model(learner, sizes, recipe["model"])
    learner.start_task(task := task_of(len(sizes) - 1, old, seen))
    dreams = (stretched(recipe["dream"] + 10 * j, 8) for j in itertools.count())
    asked: list[int] = []
    learner.dream = lambda count: asked.append(count) or next(dreams)
    learner.batches = lambda choose: GivenBatches(
        [
            (
                stretched(recipe["real"] + 10 * k, 4),
                whole(recipe["real_labels"] + 10 * k, this["labels_from"], this["labels_to"]),
            )
            for k in range(this["loader_batches"])
        ]
    )
    learner.keep_statistics(task)
    yield wrong(len(asked) == want["dreamed_batches"])
    for mean, there, value in zip(learner.means[:seen], learner.has_mean[:seen], want["means"], strict=True):
        yield wrong(bool(there) == (value is not None))
        if value is not None:
            yield fingerprint(mean, value)
    yield fingerprint(learner.covariance, want["covariance"])
    yield relative(learner.covariance.trace(), want["trace"])


def loss_weights_case(recipe: Numbers, expected: Numbers) -> Iterator[float]:
    learners = {
        method: learner_of(method, [10]) for method in {want["method"] for want in expected["phase_one"]}
    }
    for want in expected["phase_one"]:
        factors = learners[want["method"]].factors(want["old"], want["new"])
        yield wrong({name.replace(" ", "_") for name in factors} == want.keys() - {"method", "old", "new"})
        yield from (relative(value, want[name.replace(" ", "_")]) for name, value in factors.items())


def learning_rate_case(recipe: Numbers, expected: Numbers) -> Iterator[float]:
    for name, want in expected.items():
        schedule, epochs = recipe[name], want["epochs"]
        learner = learner_of(
            "R-DFCIL",
            [10],
            schedule=[*schedule["drops"], epochs],
            lr=recipe["start"],
            head_share=schedule["phase_two_epochs"] / epochs,
            head_lr_factor=recipe["phase_two"] / recipe["start"],
        )
        _, learn, heads = learner.stages(task_of(1, 10, 20))
        rates = [stage.start_epoch(epoch) for stage in (learn, heads) for epoch in range(stage.epochs)]
        changes = [[epoch, rate] for epoch, rate in enumerate(rates) if not epoch or rate != rates[epoch - 1]]
        yield absolute(changes, want["learning_rate_from_epoch"])
        yield wrong(learn.epochs == want["first_epoch_of_phase_two"] and len(rates) == epochs)
        if want["every_epoch"]:
            yield absolute(rates, want["every_epoch"])


SEEDS = "model teacher real real_labels dream calibration"
STEPS = (
    f"{SEEDS} method old_classes seen_classes classes_of_a_head phase_one_steps phase_two_steps "
    "phase_two_steps_of_an_epoch projections counts_at_start weights learning_rate momentum weight_decay"
)
INVERSION = (
    "method generator teacher calibration noise heads known_classes steps batch adam_lr weights "
    "calibration_batch then teacher_means teacher_covariance classes_without_mean history_share"
)
DATA = "pictures order tasks current_task index_of_the_picture making"

# (what tells the kind, of the recipe or, where that is empty, the numbers; what the recipe may have; the
# kind)
KINDS: list[tuple[str, str, Callable[[Numbers, Numbers], Iterator[float]]]] = [
    ("phase_one_steps", STEPS, steps_case),
    ("adam_lr heads", INVERSION, inversion_case),
    ("student_features", "projections student_features teacher_features shape row_5_is_row_2", angle_case),
    ("counts logits", "counts classes logits labels factor", class_weights_case),
    ("scales", "student teacher shape scales", dist_case),
    ("row_scale", "weights shape row_scale factor", alignment_case),
    ("given task", f"{SEEDS} given task", statistics_case),
    ("phase_one", "", loss_weights_case),
    ("phase_two start", "", learning_rate_case),  # its schedules have names of their own
    ("pictures", DATA, data_case),
    ("image_count", "model images image_count heads generator noise resnet18_images", forward_case),
    ("draws blocks", "blocks heads draws", initialisation_case),
]


def kind_of(
    recipe: Numbers, expected: Numbers
) -> tuple[Callable[[Numbers, Numbers], Iterator[float]] | None, set[str]]:
    """What replays the case, and what of its recipe nothing would read."""
    keys = (recipe or expected).keys()
    for needed, read, run in KINDS:
        if keys >= set(needed.split()):
            return run, (recipe.keys() - set(read.split())) if read else set()
    return None, set()
