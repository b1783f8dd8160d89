"""Every learner in front of the stages of its second task, on random images."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from dataloaders.batches import Images, InMemory, Pixels
from dataloaders.tasks import Task
from learners import LEARNERS, REGISTRY, Learner, Stage, build_learner
from utils.arithmetic import memory_format
from utils.command_line import parse
from utils.errors import UserError
from utils.settings import Settings
from utils.streams import Streams

OLD, SEEN, IMAGES = 20, 40, 128  # classes before the measured task and with it; images of each of its own


def second_task(learner_class: type[Learner], settings: Settings, device: torch.device, count: int) -> Task:
    """A task of so many random images of each class in front of which there was one."""
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(OLD, SEEN).repeat(count)
    images = torch.randint(256, (len(labels), 3, 32, 32), dtype=torch.uint8, generator=random)
    mean, std = ((0.5,) * 3, (0.25,) * 3) if learner_class.normalised else ((0.0,) * 3, (1.0,) * 3)
    pixels = Pixels(mean, std, device, memory_format=memory_format(settings, device))
    chosen = Images.all_of(InMemory(images.to(device), labels.to(device), pixels))
    return Task(1, OLD, SEEN, chosen, chosen, ("",) * SEEN)


def settings_of(name: str, flags: Sequence[str]) -> Settings:
    """The published protocol's for a learner, with the given flags more. Raises UserError."""
    learner = LEARNERS[name]
    size = ["--gen_model_type", learner.generator_type, "--gen_model_name", "CIFAR_GEN"] if learner.generator_type else []
    coreset = min((line.memory for line in learner.published), default=0)
    memory = ["--memory", str(coreset)] if coreset else []
    split = {"first_split_size": OLD, "other_split_size": SEEN - OLD}
    fixed = {"dataset": "CIFAR100", "learner_type": learner.learner_type, "learner_name": name, **split}
    given = {word.partition("=")[0] for word in flags}
    for setting in fixed:
        if f"--{setting}" in given:
            raise UserError(f"--{setting}: the benchmark has its own; leave it out, and choose learners with --learners")
    settings = parse(REGISTRY, [
        "--train_aug", "--lr", "0.1", "--momentum", "0.9", "--weight_decay", "2e-4", "--batch_size", "128",
        "--power_iters", "10000", "--deep_inv_params", "1e-3", "50", "1e-3", "1e3", "1", *size, *memory,
        *(word for setting, value in fixed.items() for word in (f"--{setting}", str(value))), *flags])
    if settings.task_sizes:
        raise UserError("--task_sizes: the benchmark has its own images and tasks; leave it out")
    if settings.batch_size > (most := IMAGES * (SEEN - OLD)):
        raise UserError(f"--batch_size {settings.batch_size}: the benchmark has {most} images; at most so many")
    if 0 < settings.memory < OLD:
        raise UserError(f"--memory {settings.memory}: the benchmark keeps images of {OLD} old classes; use 0, or {OLD} and more")
    return settings


def stages_of(chosen: dict[str, Settings]) -> list[tuple[str, str]]:
    """(learner, stage) of each stage of the second task."""
    return [(name, stage.name) for name, settings in chosen.items() for stage in second_stages(settings, torch.device("cpu"))[1]]


def second_stages(settings: Settings, device: torch.device, images: int = IMAGES) -> tuple[Learner, list[Stage]]:
    """A learner in front of its second task, and the stages of that."""
    learner = build_learner(settings, Streams(device), device, 0)
    task = second_task(type(learner), settings, device, images)
    if settings.memory:
        learner.coreset.classes = list(torch.arange(settings.memory).split(settings.memory // OLD))
    learner.begin_task(task)
    learner.start_task(task)
    return learner, learner.stages(task)


def build(stage: str, settings: Settings, device: torch.device, images: int = IMAGES) -> tuple[Learner, Stage]:
    """A learner in front of a stage of its second task, and the stage."""
    learner, stages = second_stages(settings, device, images)
    chosen = next(candidate for candidate in stages if candidate.name == stage)
    learner.eval()
    chosen.trained.train()
    chosen.start_epoch(0)
    return learner, chosen


def endless(stage: Stage) -> Iterator[Sequence[Tensor]]:
    while True:
        yield from stage.batches.starts(0)
