"""The golden numbers of R-DFCIL, CwD and RFD (tests/golden_successors/README.md has the recipes), replayed through the
real learners, networks and data; tests/conformance.py calls ``replay`` for a case that ``kind_of`` knows.

What a case is, is read from its recipe, not from its name.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dataloaders import image_files
from dataloaders.augmentation import crop_and_flip
from dataloaders.batches import Images, InMemory, Pixels, ShuffledBatches
from dataloaders.datasets import Split
from dataloaders.tasks import Task, split_classes, task_sequence
from dataloaders.transforms import TRANSFORMS
from learners import LEARNERS, Stage
from learners.cwd import CwD, alignment, class_statistics
from learners.rdfcil import RDFCIL, angle_distance
from learners.rfd import dist
from learners.two_phase import TwoPhaseLearner, rarity
from models import GENERATORS, Classifier, Generator, HeadPairs, classifier
from utils.streams import Streams
from utils.training.trainer import build_learner

Numbers = dict[str, Any]
BATCH = 32
TOLERANCE = 1e-6
LEARNER_OF_METHOD = {"R-DFCIL": "RDFCIL", "CwD": "CwD", "RFD": "RFD"}
DATASET_OF_NAME = {"cifar10": "CIFAR10", "cifar100": "CIFAR100", "tiny-imagenet200": "TinyImageNet", "imagenet100": "ImageNet"}


# Deviations, in tolerances


def relative(got: Any, expected: float) -> float:
    return abs(float(got) - expected) / (TOLERANCE * max(abs(expected), 1e-3))


def absolute(got: Any, expected: Any) -> float:
    got, expected = (np.asarray(value.detach() if isinstance(value, Tensor) else value, dtype=float) for value in (got, expected))
    return float(np.abs(got - expected).max(initial=0.0)) / TOLERANCE if got.shape == expected.shape else float("inf")


def fingerprint(got: Tensor, expected: Sequence[Any]) -> float:
    """[L2 norm, mean, first four values] of a tensor."""
    norm, mean, first = expected
    values = got.detach().flatten()
    return max(relative(values.norm(), norm), absolute(values.mean(), mean), absolute(values[: len(first)], first))


def fingerprints(got: dict[str, Tensor], expected: Numbers) -> float:
    return max(fingerprint(got[name], value) for name, value in expected.items())


def wrong(condition: bool) -> float:
    return 0.0 if condition else float("inf")


# The recipes' random numbers


def normal(seed: int, *shape: int) -> Tensor:
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape))


def stretched(seed: int, side: int, count: int = BATCH, times: int | None = None) -> Tensor:
    """standard_normal((count, 3, side, side)), every pixel repeated, to 32 x 32 unless ``times`` is given."""
    times = times or 32 // side
    return normal(seed, count, 3, side, side).repeat_interleave(times, 2).repeat_interleave(times, 3)


def whole(seed: int, low: int, high: int, count: int = BATCH) -> Tensor:
    return torch.from_numpy(np.random.RandomState(seed).randint(low, high, count)).long()


@torch.no_grad()
def fill(tensors: dict[str, Tensor], seed: int) -> None:
    """One stream over the tensors in their order."""
    random = np.random.RandomState(seed)
    for name, tensor in tensors.items():
        shape = tuple(tensor.shape)
        if name.endswith("running_var"):
            values = random.uniform(0.5, 1.5, shape)
        elif name.endswith("running_mean"):
            values = 0.1 * random.standard_normal(shape)
        elif tensor.ndim > 1:
            values = random.standard_normal(shape) * np.sqrt(1 / np.prod(shape[1:]))
        elif name.endswith("weight"):
            values = random.uniform(0.2, 0.6, shape)
        else:
            values = 0.1 * random.standard_normal(shape)
        tensor.copy_(torch.from_numpy(np.asarray(values)))


# Networks


def state(module: nn.Module, prefix: str = "") -> dict[str, Tensor]:
    """Its tensors, which may be written to, in the order of its state dict."""
    return {f"{prefix}{name}": tensor for name, tensor in module.state_dict().items() if not name.endswith("num_batches_tracked")}


def heads_of(network: Classifier, sizes: Sequence[int]) -> list[dict[str, Tensor]]:
    """The tensors of the heads of so many classes each, as the published code names them."""
    stops = list(itertools.accumulate(sizes))
    last = network.last
    if isinstance(last, HeadPairs):
        pairs = list(zip(last.first, last.second))[: len(sizes)]
        return [{f"heads.{task}.{layer}.weight": weight.data for layer, weight in enumerate(pair)} for task, pair in enumerate(pairs)]
    return [{f"heads.{task}.weight": last.weight.data[stop - size : stop]} for task, (stop, size) in enumerate(zip(stops, sizes))]


def tensors_of(network: Classifier, sizes: Sequence[int]) -> dict[str, Tensor]:
    """The network's: backbone, then heads."""
    backbone = {name: tensor for name, tensor in state(network).items() if not name.startswith("last.")}
    return {**backbone, **{name: tensor for head in heads_of(network, sizes) for name, tensor in head.items()}}


def projections_of(learner: RDFCIL) -> dict[str, Tensor]:
    return {**state(learner.student_projection, "student_projection."), **state(learner.teacher_projection, "teacher_projection.")}


def learner_of(method: str, sizes: Sequence[int], **values: Any) -> TwoPhaseLearner:
    """The method's learner, whose tasks have so many classes, the last size again and again."""
    name = LEARNER_OF_METHOD[method]
    settings = LEARNERS[name].settings_class()(**{
        "learner_type": LEARNERS[name].learner_type, "learner_name": name, "model_type": "rdfcil_resnet", "model_name": "resnet14",
        "gen_model_name": "CIFAR_GEN_SMALL", "batch_size": BATCH, "schedule": [2],
        "first_split_size": sizes[0], "other_split_size": sizes[-1], **values})
    learner = build_learner(settings, Streams(), torch.device("cpu"), 0)
    assert isinstance(learner, TwoPhaseLearner)
    return learner


@torch.no_grad()
def set_teacher(learner: TwoPhaseLearner, sizes: Sequence[int], seed: int, calibration: Tensor) -> None:
    teacher = learner.teacher
    fill(tensors_of(teacher, sizes), seed)
    layers = [layer for layer in teacher.modules() if isinstance(layer, nn.BatchNorm2d)]
    for layer in layers:
        layer.momentum = 1.0
    teacher.train().features(calibration)
    for layer in layers:
        layer.momentum = 0.1
    features = teacher.eval().features(calibration)
    for head in heads_of(teacher, sizes):
        *first, last = head.values()
        m = features.mean(0)
        for weight in first:
            m = weight @ m
        last.copy_(10 * (last - torch.outer(last @ m, m) / (m @ m)))


@torch.no_grad()
def set_model(learner: TwoPhaseLearner, sizes: Sequence[int], seed: int) -> None:
    """Near the teacher, with one head more, the last of ``sizes``."""
    mine, theirs = tensors_of(learner.model, sizes), tensors_of(learner.teacher, sizes[:-1])
    fill(mine, seed)
    for name, tensor in theirs.items():
        mine[name].copy_(0.8 * tensor + 0.6 * mine[name] if tensor.ndim > 1 else tensor)


# Tasks and stages as the trainer would use them


def task_of(index: int, old: int, seen: int) -> Task:
    """A task without images: the recipes give every batch."""
    nothing = Images.all_of(InMemory(torch.zeros(0, 3, 32, 32, dtype=torch.uint8), torch.zeros(0, dtype=torch.long), Pixels((0.0,) * 3, (1.0,) * 3)))
    return Task(index, old, seen, nothing, nothing, ("",) * seen)


def set_modes(learner: TwoPhaseLearner, stage: Stage) -> None:
    learner.eval()
    stage.trained.train()


def step(stage: Stage, *batch: Tensor) -> dict[str, float]:
    losses = stage.loss(*batch)
    stage.optimizer.zero_grad()
    torch.stack(list(losses.values())).sum().backward()
    stage.optimizer.step()
    return {name.replace(" ", "_"): value.item() for name, value in losses.items()}


def compare_terms(got: dict[str, float], expected: Numbers) -> Iterator[float]:
    yield relative(sum(got.values()), expected["total"])
    yield wrong(got.keys() == expected.keys() - {"total"})
    for name, value in got.items():
        yield relative(value, expected.get(name, np.nan))


# Steps of the two phases

WEIGHTS = {name: f"{name}_weight" for name in ("classification", "old_logits", "angle", "alignment", "dist_dreams", "dist_real", "relay")}


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
        learner.dream = lambda count: dreams  # type: ignore[method-assign]
        if old:
            yield wrong(learner.teach(dreams).argmax(1).tolist() == expected["dream_labels"][k])
        losses = step(stage, stretched(recipe["real"] + 10 * k, 4), whole(recipe["real_labels"] + 10 * k, old, seen))
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
    sizes, weights, batch, known = recipe["heads"], recipe["weights"], recipe["batch"], recipe["known_classes"]
    learner = learner_of(
        recipe["method"], sizes, gen_model_name="CIFAR_GEN", batch_size=batch, deep_inv_params=[
            recipe["adam_lr"], weights["statistics"], weights["smoothness"], weights["content_temperature"], weights["content"]],
        **({"consistency_weight": weights["consistency"]} if "consistency" in weights else {}))
    learner.balance_weight = weights["balance"]
    fill(state(learner.generator), recipe["generator"])
    if recipe["calibration_batch"].startswith("images"):
        calibration = stretched(recipe["calibration"], 4)
    else:
        with torch.no_grad():
            calibration = learner.generator.train()(normal(recipe["calibration"], BATCH, Generator.noise_size))
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
        learner.noise = lambda count, noise=noise: noise  # type: ignore[method-assign, misc]
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
    loss = angle_distance(learner.student_projection(student.requires_grad_()), learner.teacher_projection(teacher))
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
    scale = np.linspace(*(float(part) for part in recipe["row_scale"].removeprefix("linspace(").removesuffix(")").split(",")[:2]), classes)
    for want in expected["cases"]:
        weights = (normal(recipe["weights"], classes, features) * torch.from_numpy(scale).unsqueeze(1)).requires_grad_()
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
    means, present, covariance = class_statistics(normal(seed, 40, 64) + labels.unsqueeze(1), labels, given["classes"])
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
    learner.dream = lambda count: asked.append(count) or next(dreams)  # type: ignore[method-assign, func-returns-value]
    learner.loader = lambda task: GivenBatches([  # type: ignore[method-assign, assignment, misc]
        (stretched(recipe["real"] + 10 * k, 4), whole(recipe["real_labels"] + 10 * k, this["labels_from"], this["labels_to"]))
        for k in range(this["loader_batches"])])
    learner.keep_statistics(task)
    yield wrong(len(asked) == want["dreamed_batches"])
    for mean, there, value in zip(learner.means[:seen], learner.has_mean[:seen], want["means"], strict=True):
        yield wrong(bool(there) == (value is not None))
        if value is not None:
            yield fingerprint(mean, value)
    yield fingerprint(learner.covariance, want["covariance"])
    yield relative(learner.covariance.trace(), want["trace"])


def loss_weights_case(recipe: Numbers, expected: Numbers) -> Iterator[float]:
    learners = {method: learner_of(method, [10]) for method in {want["method"] for want in expected["phase_one"]}}
    for want in expected["phase_one"]:
        factors = learners[want["method"]].factors(want["old"], want["new"])
        yield wrong({name.replace(" ", "_") for name in factors} == want.keys() - {"method", "old", "new"})
        yield from (relative(value, want[name.replace(" ", "_")]) for name, value in factors.items())


def learning_rate_case(recipe: Numbers, expected: Numbers) -> Iterator[float]:
    for name, want in expected.items():
        schedule, epochs = recipe[name], want["epochs"]
        learner = learner_of(
            "R-DFCIL", [10], schedule=[*schedule["drops"], epochs], lr=recipe["start"], head_share=schedule["phase_two_epochs"] / epochs,
            head_lr_factor=recipe["phase_two"] / recipe["start"])
        _, learn, heads = learner.stages(task_of(1, 10, 20))
        rates = [stage.start_epoch(epoch) for stage in (learn, heads) for epoch in range(stage.epochs)]
        changes = [[epoch, rate] for epoch, rate in enumerate(rates) if not epoch or rate != rates[epoch - 1]]
        yield absolute(changes, want["learning_rate_from_epoch"])
        yield wrong(learn.epochs == want["first_epoch_of_phase_two"] and len(rates) == epochs)
        if want["every_epoch"]:
            yield absolute(rates, want["every_epoch"])


# Data, networks, initial weights


def data_case(recipe: Numbers, expected: Numbers) -> Iterator[float]:
    def split(seed: int, each: int) -> Split:
        random = np.random.RandomState(seed)
        labels = random.permutation(np.repeat(np.arange(100), each))
        return Split(random.randint(0, 256, (100 * each, 32, 32, 3)).astype(np.uint8).transpose(0, 3, 1, 2).copy(), labels)

    order = np.random.RandomState(recipe["order"]).permutation(100).tolist()
    size, current = 100 // recipe["tasks"], recipe["current_task"]
    tasks = task_sequence(
        "CIFAR100", split(recipe["pictures"], 2), split(recipe["pictures"] + 1, 1), ("",) * 100, split_classes(100, size, size), order,
        transforms="rdfcil")
    source = tasks[current].train.source
    pictures = Images.all_of(source)[recipe["index_of_the_picture"] :][:1]
    normalised, label = pictures.load(*next(pictures.fetch(1)))
    for want in expected["training"]:
        top, left = (torch.tensor([want[name]]) for name in ("top", "left"))
        (picture,) = crop_and_flip(normalised, top, left, torch.tensor([want["flip"]]))
        yield absolute(label, [want["label_in_model"]])
        yield fingerprint(picture, want["picture"])
        yield from (absolute(picture[1, int(row)], values) for row, values in want["rows_of_channel_1"].items())
        yield absolute(picture[2, :, 0], want["column_0_of_channel_2"])
    want = expected["test"]
    tested: dict[int, Tensor] = {}
    for past in tasks[: current + 1]:
        tested |= zip(past.test.rows.tolist(), torch.cat([images for images, _ in past.test.in_order()]))
    yield wrong(len(tested) == want["images_of_seen_classes"])
    picture = tested[want["picture_index"]]
    yield fingerprint(picture, want["picture"])
    yield absolute(picture[0, 0], want["row_0_of_channel_0"])

    batch = expected["loader"]["batch_size"]
    streams = Streams()
    streams.start(0, 0)
    loader = ShuffledBatches(lambda: Images.all_of(source), len(source.labels), batch, True, streams)
    rows = [[rows for _, rows in loader.starts(epoch)] for epoch in range(2)]
    yield wrong((len(source.labels) % batch > 0 and {len(part) for part in rows[0]} == {batch}) == expected["loader"]["drops_last"])
    yield wrong(bool((torch.cat(rows[0]) != torch.cat(rows[1])).any()) == expected["loader"]["shuffled"])
    for name, values in expected["constants"].items():
        yield absolute(TRANSFORMS["rdfcil"].statistics[DATASET_OF_NAME[name]], [values["mean"], values["std"]])
    before = [(type(part).__name__, np.max(part.size)) for part in image_files.TEST.transforms if hasattr(part, "size")]
    yield wrong(before == [(name, np.max(size)) for name, size in expected["constants"]["imagenet100"]["before"] if size])
    for want in expected["splits_of_100_classes"]:
        count, first = want["tasks"], want["first"]
        first = 100 // count if not first else int(100 * first) if first < 1 else first
        if not want["first"] or want["first"] < 1:  # grows so that the others are equal
            first += (100 - first) % (count - 1)
        yield wrong([len(part) for part in split_classes(100, first, (100 - first) // (count - 1))] == want["classes_of_tasks"])


@torch.no_grad()
def forward_case(recipe: Numbers, expected: Numbers) -> Iterator[float]:
    sizes = recipe["heads"]
    images = stretched(recipe["images"], 4, recipe["image_count"])
    for method in expected.keys() & LEARNER_OF_METHOD.keys():
        want = expected[method]
        model = learner_of(method, sizes, model_name="resnet32").model
        tensors = tensors_of(model, sizes)
        fill(tensors, recipe["model"])
        backbone = sum(p.numel() for name, p in model.named_parameters() if not name.startswith("last."))
        yield wrong(backbone == want["parameters_of_backbone"])
        for mode in ("eval", "train"):
            features = model.train(mode == "train").features(images)
            yield absolute(features[0, : len(want[mode]["features"])], want[mode]["features"])
            yield relative(features.norm(), want[mode]["features_norm"])
            yield absolute(model.last(features)[0, : sum(sizes)], want[mode]["logits"])
        if "state_after_train_pass" in want:
            yield fingerprints(tensors, want["state_after_train_pass"])
    if "imagenet_resnet18" in expected:
        want, model = expected["imagenet_resnet18"], classifier("rdfcil_resnet", "resnet18", sum(sizes))
        backbone = tensors_of(model, [])
        fill(backbone, recipe["model"])
        yield wrong(sum(p.numel() for name, p in model.named_parameters() if name in backbone) == want["parameters"])
        yield wrong(list(backbone)[: len(want["order"])] == want["order"])
        larger = stretched(recipe["images"], 8, 4, times=8)
        for mode in ("eval", "train"):
            features = model.train(mode == "train").features(larger)
            yield wrong(list(features.shape) == want[mode]["shape"])
            yield absolute(features[0, : len(want[mode]["features"])], want[mode]["features"])
            yield relative(features.norm(), want[mode]["features_norm"])
    kinds = {"cifar100": "CIFAR_GEN", "tiny-imagenet200": "TINYIMNET_GEN", "imagenet100": "IMNET_GEN"}
    for name, kind in kinds.items():
        if (want := expected.get(f"generator_{name}")) is None:
            continue
        generator = Generator(*GENERATORS[kind])
        fill(state(generator), recipe["generator"])
        yield wrong(sum(p.numel() for p in generator.parameters()) == want["parameters"])
        for mode in ("train", "eval"):
            made = generator.train(mode == "train")(normal(recipe["noise"], 4, Generator.noise_size))
            yield wrong(list(made.shape) == want[mode]["shape"])
            yield relative(made.norm(), want[mode]["norm"])
            yield absolute(made.flatten()[: len(want[mode]["first"])], want[mode]["first"])


def drawn(kind: str, recipe: Numbers, draw: int) -> dict[str, Tensor]:
    """The initial weights of the draw of a kind of network, as a run makes them."""
    method, _, what = kind.partition("/")
    sizes = recipe["heads"]
    if kind == "imagenet_resnet18":
        torch.manual_seed(draw)
        return tensors_of(classifier("rdfcil_resnet", "resnet18", sum(sizes)), [])
    size = "CIFAR_GEN" if kind == "generator" else "CIFAR_GEN_SMALL"
    learner = learner_of(method if what else "R-DFCIL", sizes, model_name={1: "resnet8", 2: "resnet14"}[recipe["blocks"]], gen_model_name=size)
    learner.streams.start(draw, 0)
    learner.model = build_learner(learner.settings, learner.streams, torch.device("cpu"), draw).model
    for task, stop in enumerate(itertools.accumulate(sizes)):
        learner.streams.start(draw, task)
        learner.begin_task(task_of(task, stop - sizes[task], stop))
    if what == "projections":
        assert isinstance(learner, RDFCIL)
        return projections_of(learner)
    return tensors_of(learner.model, sizes) if what else state(learner.generator)


@torch.no_grad()
def initialisation_case(recipe: Numbers, expected: Numbers) -> Iterator[float]:
    for kind, wanted in expected.items():
        draws = [drawn(kind, recipe, draw) for draw in range(recipe["draws"][kind])]
        yield wrong(wanted.keys() <= draws[0].keys())
        for name, want in wanted.items():
            values = torch.cat([tensors[name].flatten().double() for tensors in draws])
            if "constant" in want:
                yield absolute(values, torch.full_like(values, want["constant"]))
                continue
            count, std = want["values"], values.std(correction=0)
            fourth = ((values - values.mean()) ** 4).mean() / std**4
            yield wrong(len(values) == count)
            yield float(abs(std / want["std"] - 1) / (5 / count**0.5))
            yield float(abs(values.mean()) / (5 * want["std"] / count**0.5))
            yield float(abs(fourth - want["fourth_moment_over_squared_variance"]) / (35 / count**0.5))
            if want["fourth_moment_over_squared_variance"] < 2.2 and count > 100:
                yield float(abs(values.abs().max() / want["largest"] - 1) / 0.05)


# Which case is of which kind: by what its recipe has, or, where that is empty, its numbers.
KINDS: list[tuple[str, Callable[[Numbers, Numbers], Iterator[float]]]] = [
    ("phase_one_steps", steps_case),
    ("adam_lr heads", inversion_case),
    ("student_features", angle_case),
    ("counts logits", class_weights_case),
    ("scales", dist_case),
    ("row_scale", alignment_case),
    ("given task", statistics_case),
    ("phase_one", loss_weights_case),
    ("phase_two start", learning_rate_case),
    ("pictures", data_case),
    ("image_count", forward_case),
    ("draws blocks", initialisation_case),
]


def kind_of(recipe: Numbers, expected: Numbers) -> Callable[[Numbers, Numbers], Iterator[float]] | None:
    keys = (recipe or expected).keys()
    return next((run for needed, run in KINDS if keys >= set(needed.split())), None)
