"""The learners of R-DFCIL, CwD and RFD, and their networks as the published code names the tensors."""

import itertools

import torch
from recipes import calibrate, fill, fill_near, images, state
from steps import learner_with

from models import HeadPairs


def learner_of(method, sizes, repeat=0, **values):
    """The method's learner for tasks with these numbers of classes."""
    return learner_with(method.replace("-", ""), repeat, **{
        "model_type": "rdfcil_resnet", "model_name": "resnet14", "schedule": [2],
        "first_split_size": sizes[0], "other_split_size": sizes[-1], **values})


def heads_of(network, sizes):
    """The matrices of each head."""
    last = network.last
    if isinstance(last, HeadPairs):
        return [[weight.data for weight in pair] for pair in zip(last.first, last.second)][: len(sizes)]
    stops = itertools.accumulate(sizes)
    return [[last.weight.data[stop - size : stop]] for stop, size in zip(stops, sizes)]


def tensors_of(network, sizes):
    """The tensors of the backbone, then of the heads."""
    tensors = {name: tensor for name, tensor in state(network).items() if not name.startswith("last.")}
    for task, head in enumerate(heads_of(network, sizes)):
        layers = [""] if len(head) == 1 else ["0.", "1."]
        tensors |= {f"heads.{task}.{layer}weight": matrix for layer, matrix in zip(layers, head)}
    return tensors


def projections_of(learner):
    tensors = state(learner)
    return {name: tensors[name] for name in tensors if "_projection." in name}


@torch.no_grad()
def set_teacher(learner, sizes, seed, batch):
    fill(tensors_of(learner.teacher, sizes), seed)
    features = calibrate(learner.teacher, batch)
    for *first, last in heads_of(learner.teacher, sizes):
        m = features.mean(0)
        for matrix in first:
            m = matrix @ m
        last.copy_(10 * (last - torch.outer(last @ m, m) / (m @ m)))


def set_networks(learner, sizes, recipe):
    """Calibrate the teacher of all tasks but the last, and begin the model near it."""
    set_teacher(learner, sizes[:-1], recipe["teacher"], images(recipe["calibration"]))
    mine, theirs = tensors_of(learner.model, sizes), tensors_of(learner.teacher, sizes[:-1])
    fill_near(mine, theirs, recipe["model"])
