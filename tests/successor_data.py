"""The golden numbers of the successors' data, networks and initial weights."""

import itertools
from collections.abc import Iterator

import numpy as np
import torch
from recipes import (
    Numbers,
    absolute,
    fill,
    fingerprint,
    fingerprints,
    normal,
    relative,
    state,
    stretched,
    wrong,
)
from successor_learners import LEARNER_OF_METHOD, learner_of, projections_of, task_of, tensors_of
from torch import Tensor

from dataloaders import image_files
from dataloaders.augmentation import crop_and_flip
from dataloaders.batches import Images, ShuffledBatches
from dataloaders.datasets import Split
from dataloaders.tasks import split_classes, task_sequence
from dataloaders.transforms import TRANSFORMS
from learners.rdfcil import RDFCIL
from models import GENERATORS, Generator, classifier
from utils.streams import Streams

DATASET_OF_NAME = {
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
    "tiny-imagenet200": "TinyImageNet",
    "imagenet100": "ImageNet",
}


def data_case(recipe: Numbers, expected: Numbers) -> Iterator[float]:
    def split(seed: int, each: int) -> Split:
        random = np.random.RandomState(seed)
        labels = random.permutation(np.repeat(np.arange(100), each))
        return Split(
            random.randint(0, 256, (100 * each, 32, 32, 3)).astype(np.uint8).transpose(0, 3, 1, 2).copy(),
            labels,
        )

    order = np.random.RandomState(recipe["order"]).permutation(100).tolist()
    size, current = 100 // recipe["tasks"], recipe["current_task"]
    tasks = task_sequence(
        "CIFAR100",
        split(recipe["pictures"], 2),
        split(recipe["pictures"] + 1, 1),
        ("",) * 100,
        split_classes(100, size, size),
        order,
        transforms="rdfcil",
    )
    source = tasks[current].train.source
    pictures = Images.all_of(source)[recipe["index_of_the_picture"] :][:1]
    normalised, label = pictures.load(*next(pictures.fetch(1)))
    for want in expected["training"]:
        top, left = (torch.tensor([want[name]]) for name in ("top", "left"))
        (picture,) = crop_and_flip(normalised, top, left, torch.tensor([want["flip"]]))
        yield absolute(label, [want["label_in_model"]])
        yield fingerprint(picture, want["picture"])
        yield from (
            absolute(picture[1, int(row)], values) for row, values in want["rows_of_channel_1"].items()
        )
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
    loader = ShuffledBatches(lambda: Images.all_of(source), batch, True, streams)
    rows = [[rows for _, rows in loader.starts(epoch)] for epoch in range(2)]
    yield wrong(
        (len(source.labels) % batch > 0 and {len(part) for part in rows[0]} == {batch})
        == expected["loader"]["drops_last"]
    )
    yield wrong(bool((torch.cat(rows[0]) != torch.cat(rows[1])).any()) == expected["loader"]["shuffled"])
    for name, values in expected["constants"].items():
        yield absolute(
            TRANSFORMS["rdfcil"].statistics[DATASET_OF_NAME[name]], [values["mean"], values["std"]]
        )
    before = [
        (type(part).__name__, np.max(part.size))
        for part in image_files.crop_of(augmented=False).transforms
        if hasattr(part, "size")
    ]
    yield wrong(
        before
        == [(name, np.max(size)) for name, size in expected["constants"]["imagenet100"]["before"] if size]
    )
    for want in expected["splits_of_100_classes"]:
        count, first = want["tasks"], want["first"]
        first = 100 // count if not first else int(100 * first) if first < 1 else first
        if not want["first"] or want["first"] < 1:  # grows so that the others are equal
            first += (100 - first) % (count - 1)
        yield wrong(
            [len(part) for part in split_classes(100, first, (100 - first) // (count - 1))]
            == want["classes_of_tasks"]
        )


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
        yield wrong(
            sum(p.numel() for name, p in model.named_parameters() if name in backbone) == want["parameters"]
        )
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
    learner = learner_of(
        method if what else "R-DFCIL", sizes, draw,
        model_name={1: "resnet8", 2: "resnet14"}[recipe["blocks"]],
        gen_model_name="CIFAR_GEN" if kind == "generator" else "CIFAR_GEN_SMALL")
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
