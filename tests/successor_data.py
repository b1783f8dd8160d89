"""The golden numbers of the successors' data, networks, initial weights, factors and rates."""

import itertools

import numpy as np
import torch
from deviations import absolute, fingerprint, fingerprints, relative, same, shape_and_values, terms
from recipes import enlarged, fill, images, normal, state
from steps import generated, parameters, task_of
from successor_learners import learner_of, projections_of, tensors_of

from dataloaders import image_files
from dataloaders.augmentation import crop_and_flip
from dataloaders.batches import Images, ShuffledBatches
from dataloaders.datasets import Data, Split
from dataloaders.tasks import split_classes, tasks_of_repeat
from dataloaders.transforms import TRANSFORMS
from models import classifier
from utils.settings import Settings
from utils.streams import Streams

DATASET_OF_NAME = {
    "cifar10": "CIFAR10", "cifar100": "CIFAR100", "tiny-imagenet200": "TinyImageNet",
    "imagenet100": "ImageNet"}
GENERATOR_OF_NAME = {
    "cifar100": "CIFAR_GEN", "tiny-imagenet200": "TINYIMNET_GEN", "imagenet100": "IMNET_GEN"}


# Data


def made_up_split(seed, each):
    random = np.random.RandomState(seed)
    labels = random.permutation(np.repeat(np.arange(100), each))
    images = random.randint(0, 256, (100 * each, 32, 32, 3)).astype(np.uint8)
    return Split(images.transpose(0, 3, 1, 2).copy(), labels)


def data_case(recipe, expected):
    size, current = 100 // recipe["tasks"], recipe["current_task"]
    settings = Settings(
        transforms="rdfcil", first_split_size=size, other_split_size=size,
        class_order=np.random.RandomState(recipe["order"]).permutation(100).tolist())
    pictures = (made_up_split(recipe["pictures"] + part, 2 - part) for part in range(2))
    tasks = tasks_of_repeat(settings, Data(*pictures, ("",) * 100), 0, True, torch.device("cpu"))
    data = Images.all_of(tasks[current].train.source)
    yield from training_picture(data[recipe["index_of_the_picture"] :][:1], expected["training"])
    yield from test_picture(tasks[: current + 1], expected["test"])
    yield from loader(data, **expected["loader"])
    for name, values in expected["constants"].items():
        statistics = TRANSFORMS["rdfcil"].statistics[DATASET_OF_NAME[name]]
        yield absolute(statistics, [values["mean"], values["std"]])
    crop = image_files.crop_of(augmented=False).transforms
    before = [(type(part).__name__, np.max(part.size)) for part in crop if hasattr(part, "size")]
    wanted = expected["constants"]["imagenet100"]["before"]
    yield same(before, [(name, np.max(size)) for name, size in wanted if size])
    for want in expected["splits_of_100_classes"]:
        count, first = want["tasks"], want["first"] or 1 / want["tasks"]
        if first < 1:  # a share, which grows so that the other tasks are equal
            first = int(100 * first + 1e-9)
            first += (100 - first) % (count - 1)
        parts = split_classes(100, first, (100 - first) // (count - 1))
        yield same([len(part) for part in parts], want["classes_of_tasks"])


def training_picture(image, wanted):
    normalised, label = image.load(*next(image.fetch(1)))
    for want in wanted:
        top, left = (torch.tensor([want[name]]) for name in ("top", "left"))
        (picture,) = crop_and_flip(normalised, top, left, torch.tensor([want["flip"]]))
        yield absolute(label, [want["label_in_model"]])
        yield fingerprint(picture, want["picture"])
        for row, values in want["rows_of_channel_1"].items():
            yield absolute(picture[1, int(row)], values)
        yield absolute(picture[2, :, 0], want["column_0_of_channel_2"])


def test_picture(seen, want):
    tested = {}
    for task in seen:
        tested |= zip(task.test.rows.tolist(), torch.cat([images for images, _ in task.test.in_order()]))
    yield same(len(tested), want["images_of_seen_classes"])
    picture = tested[want["picture_index"]]
    yield fingerprint(picture, want["picture"])
    yield absolute(picture[0, 0], want["row_0_of_channel_0"])


def loader(data, batch_size, drops_last, shuffled):
    streams = Streams()
    streams.start(0, 0)
    batches = ShuffledBatches(lambda: data, batch_size, True, streams)
    first, second = ([rows for _, rows in batches.starts(epoch)] for epoch in range(2))
    yield same(len(data) % batch_size > 0 and {len(rows) for rows in first} == {batch_size}, drops_last)
    yield same(not torch.equal(torch.cat(first), torch.cat(second)), shuffled)


# Networks


@torch.no_grad()
def forward_case(recipe, expected):
    sizes = recipe["heads"]
    x = images(recipe["images"], recipe["image_count"])
    larger = enlarged(normal(recipe["images"], 4, 3, 8, 8), 64)
    for method in expected.keys() & {"R-DFCIL", "CwD", "RFD"}:
        want = expected[method]
        model = learner_of(method, sizes, model_name="resnet32").model
        tensors = tensors_of(model, sizes)
        fill(tensors, recipe["model"])
        yield same(parameters(model) - parameters(model.last), want["parameters_of_backbone"])
        for mode in ("eval", "train"):
            features = model.train(mode == "train").features(x)
            yield from compare_features(features, want[mode])
            yield absolute(model.last(features)[0, : sum(sizes)], want[mode]["logits"])
        if "state_after_train_pass" in want:
            yield fingerprints(tensors, want["state_after_train_pass"])
    if want := expected.get("imagenet_resnet18"):
        model = classifier("rdfcil_resnet", "resnet18", sum(sizes))
        backbone = tensors_of(model, [])
        fill(backbone, recipe["model"])
        yield same(parameters(model) - parameters(model.last), want["parameters"])
        yield same(list(backbone)[: len(want["order"])], want["order"])
        for mode in ("eval", "train"):
            features = model.train(mode == "train").features(larger)
            yield same(list(features.shape), want[mode]["shape"])
            yield from compare_features(features, want[mode])
    for name, kind in GENERATOR_OF_NAME.items():
        if want := expected.get(f"generator_{name}"):
            count, made = generated(kind, recipe["generator"], recipe["noise"])
            yield same(count, want["parameters"])
            for mode, got in made.items():
                yield from shape_and_values(got, want[mode])


def compare_features(got, want):
    yield absolute(got[0, : len(want["features"])], want["features"])
    yield relative(got.norm(), want["features_norm"])


# Initial weights


def drawn(kind, recipe, draw):
    """The initial weights of a kind of network, as a run of the seed ``draw`` makes them."""
    method, _, what = kind.partition("/")
    sizes = recipe["heads"]
    if kind == "imagenet_resnet18":
        torch.manual_seed(draw)
        return tensors_of(classifier("rdfcil_resnet", "resnet18", sum(sizes)), [])
    learner = learner_of(
        method if what else "R-DFCIL", sizes, draw,
        model_name={1: "resnet8", 2: "resnet14"}[recipe["blocks"]],
        gen_model_name="CIFAR_GEN" if kind == "generator" else "CIFAR_GEN_SMALL")
    for task, stop in enumerate(itertools.accumulate(sizes)):
        learner.streams.start(draw, task)
        learner.begin_task(task_of(task, stop - sizes[task], stop))
    if what == "projections":
        return projections_of(learner)
    return tensors_of(learner.model, sizes) if what else state(learner.generator)


@torch.no_grad()
def initialisation_case(recipe, expected):
    for kind, wanted in expected.items():
        draws = [drawn(kind, recipe, draw) for draw in range(recipe["draws"][kind])]
        yield same(wanted.keys() <= draws[0].keys(), True)
        for name, want in wanted.items():
            values = torch.cat([tensors[name].flatten().double() for tensors in draws])
            if "constant" in want:
                yield absolute(values, torch.full_like(values, want["constant"]))
                continue
            count, std, shape = want["values"], want["std"], want["fourth_moment_over_squared_variance"]
            deviations = values - values.mean()
            variance = deviations.square().mean()
            yield same(len(values), count)
            yield float(abs(variance.sqrt() / std - 1) / (5 / count**0.5))
            yield float(abs(values.mean()) / (5 * std / count**0.5))
            fourth = deviations.square().square().mean() / variance.square()
            yield float(abs(fourth - shape) / (35 / count**0.5))
            if shape < 2.2 and count > 100:  # uniform
                yield float(abs(values.abs().max() / want["largest"] - 1) / 0.05)


# Factors and rates


def loss_weights_case(recipe, expected):
    for want in expected["phase_one"]:
        got = learner_of(want["method"], [10], model_name="resnet8").factors(want["old"], want["new"])
        yield from terms(got, want, "method", "old", "new")


def learning_rate_case(recipe, expected):
    for name, want in expected.items():
        schedule, epochs = recipe[name], want["epochs"]
        learner = learner_of(
            "R-DFCIL", [10], schedule=[*schedule["drops"], epochs], lr=recipe["start"],
            head_share=schedule["phase_two_epochs"] / epochs,
            head_lr_factor=recipe["phase_two"] / recipe["start"])
        _, learn, heads = learner.stages(task_of(1, 10, 20))
        rates = [stage.start_epoch(epoch) for stage in (learn, heads) for epoch in range(stage.epochs)]
        changes = [[epoch, rate] for epoch, rate in enumerate(rates) if not epoch or rate != rates[epoch - 1]]
        yield absolute(changes, want["learning_rate_from_epoch"])
        yield same((learn.epochs, len(rates)), (want["first_epoch_of_phase_two"], epochs))
        if want["every_epoch"]:
            yield absolute(rates, want["every_epoch"])
