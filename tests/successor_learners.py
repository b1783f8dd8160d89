"""The learners of R-DFCIL, CwD and RFD with the weights of a recipe, and their stages as the trainer would
use them."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from recipes import BATCH, Numbers, fill, relative, state, wrong
from torch import Tensor, nn

from dataloaders.batches import Images, InMemory, Pixels
from dataloaders.tasks import Task
from learners import LEARNERS, Stage, build_learner
from learners.rdfcil import RDFCIL
from learners.two_phase import TwoPhaseLearner
from models import Classifier, HeadPairs
from utils.reports.paper import DREAM_LOSS
from utils.streams import Streams

LEARNER_OF_METHOD = {"R-DFCIL": "RDFCIL", "CwD": "CwD", "RFD": "RFD"}


# Networks


def heads_of(network: Classifier, sizes: Sequence[int]) -> list[dict[str, Tensor]]:
    """The tensors of the heads of so many classes each, as the published code names them."""
    stops = list(itertools.accumulate(sizes))
    last = network.last
    if isinstance(last, HeadPairs):
        pairs = list(zip(last.first, last.second))[: len(sizes)]
        return [
            {f"heads.{task}.{layer}.weight": weight.data for layer, weight in enumerate(pair)}
            for task, pair in enumerate(pairs)
        ]
    return [
        {f"heads.{task}.weight": last.weight.data[stop - size : stop]}
        for task, (stop, size) in enumerate(zip(stops, sizes))
    ]


def tensors_of(network: Classifier, sizes: Sequence[int]) -> dict[str, Tensor]:
    """The network's: backbone, then heads."""
    backbone = {name: tensor for name, tensor in state(network).items() if not name.startswith("last.")}
    return {
        **backbone,
        **{name: tensor for head in heads_of(network, sizes) for name, tensor in head.items()},
    }


def projections_of(learner: RDFCIL) -> dict[str, Tensor]:
    return {
        **state(learner.student_projection, "student_projection."),
        **state(learner.teacher_projection, "teacher_projection."),
    }


def learner_of(method: str, sizes: Sequence[int], repeat: int = 0, **values: Any) -> TwoPhaseLearner:
    """The method's learner, whose tasks have so many classes, the last size again and again."""
    name = LEARNER_OF_METHOD[method]
    settings = LEARNERS[name].Settings(
        **{
            "learner_type": LEARNERS[name].learner_type,
            "learner_name": name,
            "model_type": "rdfcil_resnet",
            "model_name": "resnet14",
            "gen_model_name": "CIFAR_GEN_SMALL",
            "batch_size": BATCH,
            "schedule": [2],
            "momentum": 0.9,
            "first_split_size": sizes[0],
            "other_split_size": sizes[-1],
            **DREAM_LOSS,
            **values,
        }
    )
    learner = build_learner(settings, Streams(), torch.device("cpu"), repeat)
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
    nothing = Images.all_of(
        InMemory(
            torch.zeros(0, 3, 32, 32, dtype=torch.uint8),
            torch.zeros(0, dtype=torch.long),
            Pixels((0.0,) * 3, (1.0,) * 3),
        )
    )
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
