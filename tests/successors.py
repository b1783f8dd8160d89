"""The golden numbers of R-DFCIL, CwD and RFD (tests/golden_successors/README.md has the recipes), replayed
through the real learners. What a case is, is read from its recipe, not from its name."""

import itertools
from types import SimpleNamespace

import torch
from deviations import absolute, fingerprint, fingerprints, relative, same, terms
from recipes import BATCH, dreams, fill, images, normal, state, whole
from steps import dream_params, dreaming, enter, stages_of, step, task_of
from successor_data import data_case, forward_case, initialisation_case, learning_rate_case, loss_weights_case
from successor_learners import learner_of, projections_of, set_networks, set_teacher, tensors_of
from torch.nn import functional as F

from learners.cwd import CwD, alignment, class_statistics
from learners.rdfcil import angle_distance
from learners.rfd import dist
from learners.two_phase import rarity
from models import Generator


def compare_terms(losses, expected):
    yield relative(sum(losses.values()), expected["total"])
    yield from terms(losses, expected, "total")


# Steps of the two phases


def steps_case(recipe, expected):
    old, seen, size = recipe["old_classes"], recipe["seen_classes"], recipe["classes_of_a_head"]
    sizes, lr = [size] * (seen // size), recipe["learning_rate"]
    learner = learner_of(
        recipe["method"], sizes, lr=lr, momentum=recipe["momentum"], weight_decay=recipe["weight_decay"],
        head_lr_factor=expected.get("learning_rate_of_phase_two", lr) / lr,
        **{f"{name}_weight": value for name, value in recipe.get("weights", {}).items()})
    if old:
        set_networks(learner, sizes, recipe)
    else:
        fill(tensors_of(learner.model, sizes), recipe["model"])
    if "projections" in recipe:
        fill(projections_of(learner), recipe["projections"])
    if "counts_at_start" in recipe:
        learner.counts[:seen] = whole(recipe["counts_at_start"], 0, 40, seen)
    stages = stages_of(learner, task_of(old // size, old, seen))
    first, second = recipe["phase_one_steps"], recipe["phase_two_steps"]

    def take(stage, k):
        if old:
            x_dream = dreams(recipe["dream"] + 10 * k)
            learner.dream = lambda count: x_dream
            yield same(learner.teach(x_dream).argmax(1).tolist(), expected["dream_labels"][k])
        y = whole(recipe["real_labels"] + 10 * k, old, seen)
        losses = step(stage, images(recipe["real"] + 10 * k), y)
        yield from compare_terms(losses, expected["terms"][k])

    def compare_state(name):
        return fingerprints({**tensors_of(learner.model, sizes), **projections_of(learner)}, expected[name])

    enter(learner, stages["learn"])
    for k in range(first):
        yield from take(stages["learn"], k)
    if second:
        yield compare_state("state_after_phase_one")
    if second and "heads" in stages:
        for k in range(second + 1):
            epoch, rest = divmod(k, recipe["phase_two_steps_of_an_epoch"])
            if not rest:
                enter(learner, stages["heads"], epoch)
                yield absolute(learner.counts[:seen], expected["class_counts"][epoch])
                yield absolute(learner.weights[:seen], expected["class_weights"][epoch])
            if k < second:
                yield from take(stages["heads"], first + k)
    elif second:  # a phase that changes nothing is left out
        yield from (absolute(want["total"], 0) for want in expected["terms"][first:])
    yield compare_state("state")


# Dreaming


def inversion_case(recipe, expected):
    sizes, weights, known = recipe["heads"], recipe["weights"], recipe["known_classes"]
    consistency = {"consistency_weight": weights["consistency"]} if "consistency" in weights else {}
    learner = learner_of(
        recipe["method"], sizes, gen_model_name="CIFAR_GEN", batch_size=recipe["batch"],
        deep_inv_params=dream_params(recipe, "statistics", "balance", "consistency"), **consistency)
    learner.balance_weight = weights["balance"]
    fill(state(learner.generator), recipe["generator"])
    calibration = images(recipe["calibration"])
    if not recipe["calibration_batch"].startswith("images"):
        with torch.no_grad():
            noise = normal(recipe["calibration"], BATCH, Generator.noise_size)
            calibration = learner.generator.train()(noise)
        fill(state(learner.generator), recipe["generator"])
    set_teacher(learner, sizes, recipe["teacher"], calibration)
    if isinstance(learner, CwD):
        learner.past_share = recipe["history_share"]
        G = normal(recipe["teacher_covariance"], 64, 64)
        learner.means[:known], learner.has_mean[:known] = normal(recipe["teacher_means"], known, 64), True
        learner.has_mean[recipe["classes_without_mean"]] = False
        learner.covariance.copy_(G @ G.T / 64)
    dream = stages_of(learner, task_of(len(sizes), known, known + sizes[-1]))["dream"]

    def take(k):
        if isinstance(learner, CwD):
            yield same(bool(learner.came_up[:known].all()), expected["history_used"][k])
        yield from compare_terms(step(dream), expected["terms"][k])

    yield from dreaming(learner, dream, recipe, expected, take)
    if isinstance(learner, CwD):
        yield fingerprint(learner.past_means[:known], expected["history"]["means"])
        yield fingerprint(learner.past_covariance, expected["history"]["covariance"])


# Single terms


def angle_case(recipe, expected):
    student, teacher = (normal(recipe[f"{who}_features"], *recipe["shape"]) for who in ("student", "teacher"))
    if recipe["row_5_is_row_2"]:
        student[5], teacher[5] = student[2], teacher[2]
    learner = learner_of("R-DFCIL", [20])
    fill(projections_of(learner), recipe["projections"])
    mine, theirs = (learner.get_submodule(f"{who}_projection") for who in ("student", "teacher"))
    loss = angle_distance(mine(student.requires_grad_()), theirs(teacher))
    loss.backward()
    yield relative(loss, expected["loss"])
    yield fingerprint(student.grad, expected["student_features_gradient"])
    for name, value in expected["gradients"].items():
        yield fingerprint(learner.get_parameter(name).grad, value)


def class_weights_case(recipe, expected):
    classes = recipe["classes"]
    for given, want in zip(recipe["counts"], expected["cases"], strict=True):
        weights = rarity(whole(given["seed"], 0, given["high"], classes))
        logits = (3 * normal(given["seed"] + 2, BATCH, classes)).requires_grad_()
        loss = recipe["factor"] * F.cross_entropy(logits, whole(given["seed"] + 4, 0, classes), weights)
        loss.backward()
        yield absolute(weights, want["weights"])
        yield relative(loss, want["loss"])
        yield fingerprint(logits.grad, want["logits_gradient"])


def dist_case(recipe, expected):
    for (mine, theirs), want in zip(recipe["scales"], expected["cases"], strict=True):
        student = (mine * normal(recipe["student"], *recipe["shape"])).requires_grad_()
        over_images, over_classes = dist(student, theirs * normal(recipe["teacher"], *recipe["shape"]))
        loss = over_images + over_classes
        loss.backward()
        yield relative(loss, want["loss"])
        yield relative(over_images, want["over_images"])
        yield relative(over_classes, want["over_classes"])
        yield fingerprint(student.grad, want["student_gradient"])


def alignment_case(recipe, expected):
    classes, features = recipe["shape"]
    low, high, _ = recipe["row_scale"].removeprefix("linspace(").split(",")
    scale = torch.linspace(float(low), float(high), classes).unsqueeze(1)
    for want in expected["cases"]:
        weights = (normal(recipe["weights"], classes, features) * scale).requires_grad_()
        loss = recipe["factor"] * alignment(weights, want["old_classes"])
        loss.backward()
        yield relative(loss, want["loss"])
        yield fingerprint(weights.grad, want["gradient"])


def statistics_case(recipe, expected):
    given, want = recipe["given"], expected["given"]
    seed = int(given["features"].split("seed ")[1].split(",")[0])
    labels = whole(given["labels"], given["low"], given["high"], 40)
    features = normal(seed, 40, 64) + labels.unsqueeze(1)
    means, present, covariance = class_statistics(features, labels, given["classes"])
    yield same(present.tolist(), want["present"])
    yield from (fingerprint(mean, value) for mean, value in zip(means[present], want["means"], strict=True))
    yield fingerprint(covariance, want["covariance"])
    yield relative(covariance.trace(), want["trace"])

    given, want = recipe["task"], expected["task"]
    sizes, old, seen = given["heads"], given["old_classes"], given["seen_classes"]
    learner = learner_of("CwD", sizes)
    set_networks(learner, sizes, recipe)
    learner.start_task(task := task_of(len(sizes) - 1, old, seen))
    numbers = itertools.count()
    learner.dream = lambda count: dreams(recipe["dream"] + 10 * next(numbers))
    batches = [
        (images(recipe["real"] + 10 * k),
         whole(recipe["real_labels"] + 10 * k, given["labels_from"], given["labels_to"]))
        for k in range(given["loader_batches"])]
    learner.batches = lambda choose: SimpleNamespace(starts=lambda epoch: batches, load=lambda start: start)
    learner.keep_statistics(task)
    yield same(next(numbers), want["dreamed_batches"])
    for mean, there, value in zip(learner.means[:seen], learner.has_mean[:seen], want["means"], strict=True):
        yield same(bool(there), value is not None)
        if value is not None:
            yield fingerprint(mean, value)
    yield fingerprint(learner.covariance, want["covariance"])
    yield relative(learner.covariance.trace(), want["trace"])


# By what tells a kind of case: names in the recipe or, if that is empty, in the numbers.
CASES = {
    "phase_one_steps": steps_case,
    "adam_lr heads": inversion_case,
    "student_features": angle_case,
    "counts logits": class_weights_case,
    "scales": dist_case,
    "row_scale": alignment_case,
    "given task": statistics_case,
    "phase_one": loss_weights_case,
    "phase_two start": learning_rate_case,
    "pictures": data_case,
    "image_count": forward_case,
    "draws blocks": initialisation_case,
}


def case_of(recipe, expected):
    """What replays the case, if anything does."""
    names = (recipe or expected).keys()
    return next((run for needed, run in CASES.items() if names >= {*needed.split()}), None)
