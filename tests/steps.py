"""Learners that begin from a recipe, and their stages as the trainer would run them."""

import functools

import torch
from deviations import absolute, fingerprints, relative
from recipes import BATCH, Unknown, fill, normal, state

from dataloaders.batches import Images, InMemory, Pixels
from dataloaders.tasks import Task
from learners import LEARNERS, build_learner
from models import GENERATORS, Generator
from utils.streams import Streams


def learner_with(name, repeat=0, device="cpu", **values):
    kind = LEARNERS[name]
    settings = kind.Settings(**{
        "learner_type": kind.learner_type, "learner_name": name, "batch_size": BATCH, "momentum": 0.9,
        "gen_model_type": kind.generator_type or "generator", "gen_model_name": "CIFAR_GEN_SMALL",
        "deep_inv_params": [1e-3, 50.0, 1e-3, 1e3, 1.0], **values})
    return build_learner(settings, Streams(device), torch.device(device), repeat)


def task_of(index, old, seen, counts=()):
    """A task whose images have labels alone, ``counts`` of each class: the recipes give every batch."""
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts, dtype=torch.long))
    pixels = torch.zeros(0, 3, 32, 32, dtype=torch.uint8)
    data = Images.all_of(InMemory(pixels, labels, Pixels((0.0,) * 3, (1.0,) * 3)))
    return Task(index, old, seen, data, data, ("",) * seen)


def stages_of(learner, task):
    learner.start_task(task)
    return {stage.name: stage for stage in learner.stages(task)}


def enter(learner, stage, epoch=0):
    """Set the modules' modes and the learning rate."""
    learner.eval()
    stage.trained.train()
    stage.start_epoch(epoch)


def step(stage, *batch):
    """Take a step; returns its losses."""
    losses = stage.loss(*batch)
    stage.optimizer.zero_grad()
    torch.stack(list(losses.values())).sum().backward()
    stage.optimizer.step()
    return losses


# Generators


def dream_params(recipe, statistics, *others):
    """The values of --deep_inv_params; the recipe's other weights are ``others``."""
    names, weights = (statistics, "smoothness", "content_temperature", "content"), recipe["weights"]
    if more := weights.keys() - {*names, *others}:
        raise Unknown(f"weights {', '.join(sorted(more))}: unknown in a case of this kind")
    return [recipe["adam_lr"], *(weights[name] for name in names)]


def dreaming(learner, stage, recipe, expected, take):
    """Let ``take(k)`` take and compare each step k, then compare the generator and a batch of its dreams."""
    enter(learner, stage)
    for k in range(recipe["steps"] + 1):
        seed = recipe["noise"] + 10 * k
        learner.noise = lambda count, seed=seed: normal(seed, count, Generator.noise_size)
        if k < recipe["steps"]:
            yield from take(k)
    yield fingerprints(state(learner.generator), expected["generator"])
    learner.eval()
    sample, want = learner.dream(recipe["batch"]), expected["sample"]
    logits = learner.teach(sample)
    yield relative(sample.norm(), want["norm"])
    yield absolute(sample.mean(), want["mean"])
    yield absolute(sample.std(), want["std"])
    yield absolute(logits.argmax(1), want["labels"])
    yield relative(logits.norm(), want["score_norm"])


def parameters(network):
    return sum(p.numel() for p in network.parameters())


@functools.cache
@torch.no_grad()
def generated(name, seed, noise):
    """(parameters of a generator, its images in training mode and then in evaluation mode)."""
    generator = Generator(*GENERATORS[name])
    fill(state(generator), seed)
    z = normal(noise, 4, Generator.noise_size)
    return parameters(generator), {mode: generator.train(mode == "train")(z) for mode in ("train", "eval")}
