"""Base class of all learners: the contract with the trainer, the teacher, the optimiser, the first task.

A learner answers ``stages(task)``, ``end_task(task)`` and ``predict(images)``. It opens no file, writes no
log and shows no progress; the trainer (utils/training/trainer.py) knows nothing of losses.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dataloaders.batches import Images, ShuffledBatches
from dataloaders.coreset import Coreset, shares
from dataloaders.datasets import DATASETS, class_count, image_side
from dataloaders.tasks import Task, task_ranges
from learners.checks import check_batches, check_settings, first_task_of
from learners.losses import distillation, inverse_frequency
from learners.stage import Losses, Stage, optimizer_for
from models import Classifier, Frozen, HeadPairs, Heads, classifier, folded
from utils.device import exact
from utils.settings import Settings as CommonSettings
from utils.streams import Streams

__all__ = ["CROSS_ENTROPY", "Learner", "Losses", "Stage", "distillation"]

CROSS_ENTROPY = "cross-entropy over the seen classes"  # the first-task objective that most learners share


class Learner(nn.Module):
    """Base class. A subclass overrides ``loss`` and, if it needs more, ``stages`` and ``end_task``.

    Attributes:
        streams: random streams; a learner draws from ``noise``, and from ``once`` to choose images.
        model: the student, which is kept from task to task.
        teacher: the model as it was after the previous task.
        frozen_teacher: computes what the teacher does, faster and without gradients; losses call this one.
        generator: makes images of old classes, if there is a ``generator_type``.
        coreset: the training images kept, if the learner ``takes_coreset`` and ``--memory`` is above 0.
        ranges: the classes of every task, as places of the class order.
        old, seen: number of classes learned before the current task, and including it.
        class_weights: [seen] weights by ``--DW``, if the learner reads it.
    """

    learner_type = ""  # as --learner_type names it; a class without one can't be chosen
    Settings: ClassVar[type[CommonSettings]] = CommonSettings  # a dataclass on it adds flags, as in bic.py
    normalised = True  # whether the networks see normalised images
    takes_coreset = False  # whether --memory above 0 means anything to it
    takes_oracle = False  # whether --oracle_flag does
    weighs_classes = False  # whether its loss reads --DW; if it takes a coreset, only with one
    generator_type = ""  # the generator it needs, as --gen_model_type names it
    keeps_generator = False  # from task to task, so that its parameters count as stored
    unread: Sequence[str] = ()  # common settings that its losses ignore, left out of its --help
    first_task = ""  # its first-task objective; learners with the same one share models, "" is never shared
    first_task_settings: Sequence[str] = ()  # its own settings that change its first task
    settings: CommonSettings
    generator: nn.Module
    frozen_teacher: Frozen

    def __init__(self, settings: CommonSettings, streams: Streams, model: Classifier):
        super().__init__()
        self.settings = settings
        self.streams = streams
        self.model = model
        self.teacher = copy.deepcopy(model).requires_grad_(False)
        self.coreset = Coreset(settings.memory)
        self.ranges = task_ranges(settings, whole=True)
        self.old = 0
        self.seen = 0
        self.class_weights: Tensor | None = None
        self.first_notes: list[str] = []  # about how the model began, for the log

    @property
    def replayed(self) -> nn.Module:
        """The generator that a task's dreams come from, as the task before left it."""
        return self.generator

    @property
    def image_shape(self) -> tuple[int, int, int]:
        side = image_side(self.settings)
        return 3, side, side

    # Settings

    @classmethod
    def check(cls, settings: CommonSettings) -> None:
        """Refuse settings that the learner can't run with; a subclass adds its own. Raises UserError."""
        check_settings(cls, settings)

    @classmethod
    def check_data(cls, settings: CommonSettings, counts: Sequence[int]) -> None:
        """Refuse data that the learner can't run with. Called once per repeat. Raises UserError.

        Args:
            counts: number of training images of each class, in learning order.
        """
        check_batches(cls, settings, counts)

    @classmethod
    def images_to_learn(cls, settings: CommonSettings, counts: Sequence[int], new: range) -> int:
        """Return how many images ``data`` gives for the task of the classes ``new``."""
        images = sum(counts[0 if settings.oracle_flag else new.start : new.stop])
        return 2 * images if sum(shares(settings.memory, counts[: new.start])) else images

    @classmethod
    def shares_first_task(cls, other: type[Learner] | None) -> bool:
        """Return whether this learner can start from the first-task model of the other."""
        return other is cls or (other is not None and first_task_of(cls) == first_task_of(other) != "")

    @classmethod
    def reads_DW(cls, memory: int) -> bool:
        """Return whether ``--DW`` has an effect with a coreset of ``memory`` images."""
        return cls.weighs_classes and (memory > 0 or not cls.takes_coreset)

    @classmethod
    def new_model(cls, settings: CommonSettings) -> Classifier:
        """Return the classifier, its initial weights drawn from torch's random state."""
        outputs = DATASETS[settings.dataset].outputs or class_count(settings)
        return classifier(settings.model_type, settings.model_name, outputs, image_side(settings))

    # The contract with the trainer

    def begin_task(self, task: Task) -> None:
        """Make what is new in the task. Called once per task, not after resuming in the middle of it."""
        if isinstance(self.model.last, (Heads, HeadPairs)):
            with self.streams.weights("heads"):
                self.model.last.start(range(task.old, task.seen))

    def start_task(self, task: Task) -> None:
        """Set what the losses read. Called before the task's stages, also after resuming."""
        self.old, self.seen = task.old, task.seen
        self.frozen_teacher = Frozen(self.teacher, self.image_shape, self.bf16)

    def stages(self, task: Task) -> list[Stage]:
        """Return what to train for a task, in order; has no side effects."""
        return [self.learning(task)]

    def end_task(self, task: Task) -> None:
        """Keep what later tasks need: images, and the model as the next task's teacher."""
        if self.coreset.memory:
            self.remember(task)
        self.teacher.load_state_dict(self.model.state_dict())

    def predict(self, images: Tensor) -> Tensor:
        """Return logits [B, classes] of images [B, 3, H, W]."""
        return self.model(images)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """While open, the model is a copy in evaluation mode that computes the same from fewer operations."""
        model, self.model = self.model, folded(self.model, self.image_shape)
        try:
            with torch.no_grad(), exact():
                yield
        finally:
            self.model = model

    def notes(self, task: Task) -> list[str]:
        """Return lines about a task that the log says once per run."""
        return [] if task.old else self.first_notes

    def dream(self, count: int) -> Tensor:
        """Return x~, ``count`` images of the old classes, if the learner has a generator."""
        raise NotImplementedError

    def lasting_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return by name the optimisers whose state is kept from task to task, for the checkpoint."""
        return {}

    def networks(self) -> dict[str, nn.Module]:
        """Return the networks that a finished task leaves, by file name."""
        return {"class": self.model}

    def stored_values(self) -> int:
        """Return the number of parameters of the model and of a generator that is kept, plus the pixels of
        the coreset (the published measure)."""
        pixels = math.prod(self.image_shape)
        networks = [self.model, self.generator] if self.keeps_generator else [self.model]
        parameters = sum(p.numel() for network in networks for p in network.parameters())
        return parameters + len(self.coreset) * pixels

    # Images to learn from and to keep

    def data(self, task: Task) -> Images:
        """Return the task's images and, from the second task on, as many of the coreset, drawn with
        replacement."""
        if not len(self.coreset):
            return task.train
        count, random = len(task.train), self.streams.once("resampling")
        kept = self.coreset.images(task.train.source)
        chosen = torch.randint(len(kept), (count,), generator=random, device=self.streams.device)
        return task.train + kept[chosen]

    def remember(self, task: Task) -> None:
        """Choose the whole coreset again when a task ends: at random, from all images that were learned from,
        repeats included, as published."""
        self.coreset.draw(self.data(task), task.seen, self.streams.once("coreset"))

    def features(self, images: Images) -> Tensor:
        """Return the model's features [N, D] of images without augmentation."""
        with self.evaluating():
            return torch.cat([self.model.features(x) for x, _ in images.in_order()])

    # Parts of losses

    @property
    def bf16(self) -> bool:
        return self.settings.precision == "bf16"

    def loss(self, x: Tensor, y: Tensor) -> Losses:
        """Return the terms of the loss by name, each a scalar tensor; their sum is minimised.

        It must neither copy to the host nor branch on data, because a CUDA graph may hold it.

        Args:
            x: images [B, 3, H, W] as the networks see them. y: labels [B], places of the class order.
        """
        raise NotImplementedError

    def classification(self, logits: Tensor, y: Tensor) -> Tensor:
        """Return CE(h[seen], y), weighted by ``image_weights``."""
        losses = F.cross_entropy(logits[:, : self.seen], y, reduction="none")
        weight = self.image_weights(y)
        return (losses if weight is None else losses * weight).mean()

    def image_weights(self, y: Tensor) -> Tensor | None:
        """Return the weights [B] by ``--DW`` of images labelled ``y``; None if all weigh the same."""
        return None if self.class_weights is None else self.class_weights[y]

    def teach(self, images: Tensor) -> Tensor:
        """Return the teacher's logits [B, old] for the old classes."""
        return self.frozen_teacher(images)[:, : self.old]

    # Parts of stages

    def learning(self, task: Task, module: nn.Module | None = None) -> Stage:
        """Return the stage "learn": ``loss`` over ``data(task)``, for the model or another module."""

        def choose() -> Images:
            data = self.data(task)
            if self.settings.DW and self.reads_DW(self.settings.memory):
                self.class_weights = inverse_frequency(torch.bincount(data.labels, minlength=task.seen))
            return data

        trained = self.model if module is None else module
        return self.schedule("learn", choose, self.loss, trained, trained.parameters())

    def schedule(
        self, name: str, choose: Callable[[], Images], loss: Callable[..., Losses],
        trained: nn.Module, parameters: Iterable[nn.Parameter], lr_factor: float = 1.0,
    ) -> Stage:
        """Return a stage over the images that ``choose`` gives, for all epochs of ``--schedule`` with a fresh
        optimiser."""
        *milestones, epochs = self.settings.schedule
        optimizer = optimizer_for(self.settings, parameters, self.streams.device, lr_factor)
        cosine = self.settings.schedule_type == "cosine"
        return Stage(
            name, self.batches(choose), loss, trained, optimizer, epochs, milestones, cosine=cosine)

    def batches(self, choose: Callable[[], Images]) -> ShuffledBatches:
        return ShuffledBatches(choose, self.settings.batch_size, self.settings.train_aug, self.streams)
