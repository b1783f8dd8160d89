"""What all learners share: the contract with the trainer, the teacher, the optimiser, the first task.

A learner answers ``stages(task)``, ``end_task(task)`` and ``predict(images)``. It opens no file, writes no log and shows
no progress; the trainer (utils/training/trainer.py) knows nothing of losses.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from inspect import get_annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dataloaders.batches import Images, ShuffledBatches
from dataloaders.coreset import Coreset, shares
from dataloaders.datasets import DATASETS
from dataloaders.tasks import Task, check_split, task_ranges
from learners.stage import Losses, Stage
from models import Classifier, Frozen, HeadPairs, Heads, classifier, folded, image_sides
from utils.arithmetic import exact
from utils.errors import UserError
from utils.settings import Settings
from utils.streams import Streams

CROSS_ENTROPY = "cross-entropy over the seen classes"  # the first task of most learners, which may take it over from each other


def distillation(student: Tensor, teacher: Tensor, temperature: float, weight: Tensor | None = None) -> Tensor:
    """KD(s, t; T): cross-entropy of softened logits [B, K], K the named classes; mean over the batch, of images that
    weigh ``weight`` [B] where it is given. The student may have logits of more classes, for which the target is 0.

    docs/specification.md, "Distillation": no factor T^2.
    """
    target = F.softmax(teacher / temperature, 1)
    losses = -(target * F.log_softmax(student / temperature, 1)[:, : target.shape[1]]).sum(1)
    return (losses if weight is None else losses * weight).mean()


def inverse_frequency(counts: Tensor) -> Tensor:
    """``--DW``: w_k = sum_j (n_j + 1) / ((n_k + 1) K) of K classes that have so many images, ``counts`` [K].
    docs/specification.md, "Protocol"."""
    more = counts + 1
    return more.sum() / (more * len(counts))


class Learner(nn.Module):
    """Base class. A subclass overrides ``loss`` and, where it needs more, ``stages`` and ``end_task``.

    Args:
        settings: of the run.
        streams: random streams; a learner draws from ``noise``, and ``once`` for its choice of images.
        model: the classifier.

    Attributes:
        settings: of the run. A learner with flags of its own declares them in a dataclass that extends Settings, and annotates
            this attribute with it: ``settings: BICSettings`` in the body of BIC (learners/bic.py).
        model: the student, which is kept from task to task.
        teacher: the model as it was after the previous task.
        frozen_teacher: what losses call in its place: it computes the same, faster and without gradients.
        coreset: the training images kept, where the learner ``takes_coreset`` and ``--memory`` is above 0.
        ranges: the classes of every task, as places of the class order.
        old, seen: classes learned before the current task, and including it.
        class_weights: [seen] by ``--DW``, where the learner reads it.
        learner_type: the published kind of learner; a class without one can't be chosen.
        normalised: whether the networks see normalised images.
        takes_coreset: whether ``--memory`` above 0 is meaningful.
        takes_oracle: whether ``--oracle_flag`` is.
        step_cost: of a step of the stage "learn" from the second task on, see Stage.cost.
        generator_type: the kind of generator needed, as ``--gen_model_type`` names it; "" where none is.
        first_task: what its first task trains, the same words as of the learners that train the same; "" where it shares that with none.
        first_task_settings: those of its own that change its first task, by name, so that ``--load_model_dir`` compares them.
        keeps_generator: whether its generator lives on from task to task, so that its parameters are stored.
    """

    learner_type = ""
    normalised = True
    takes_coreset = False
    takes_oracle = False
    generator_type = ""
    keeps_generator = False
    step_cost = 1.0
    first_task = ""
    first_task_settings: Sequence[str] = ()
    settings: Settings

    def __init__(self, settings: Settings, streams: Streams, model: Classifier):
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

    generator: nn.Module  # where there is a generator_type
    frozen_teacher: Frozen

    @property
    def replayed(self) -> nn.Module:
        """The generator that a task's dreams come from: as the task before left it."""
        return self.generator

    # Settings

    @classmethod
    def settings_class(cls) -> type[Settings]:
        """The one that the annotation ``settings`` names."""
        declaring = next(kind for kind in cls.__mro__ if "settings" in get_annotations(kind))
        return get_annotations(declaring, eval_str=True)["settings"]

    @classmethod
    def check(cls, settings: Settings) -> None:
        """What the learner refuses; a subclass adds its own. Raises UserError, before any work."""
        name = settings.learner_name
        if settings.learner_type != cls.learner_type:
            raise UserError(f"--learner_type {settings.learner_type}: {name} is of type {cls.learner_type}")
        if settings.memory and not cls.takes_coreset:
            raise UserError(f"--memory {settings.memory}: {name} keeps no coreset; use --memory 0")
        if settings.oracle_flag and not cls.takes_oracle:
            raise UserError(f"--oracle_flag: the upper bound is NormalNN's; {name} learns task by task")
        check_split(settings)
        if cls.generator_type:
            kind, size = settings.gen_model_type, settings.gen_model_name
            if kind != cls.generator_type:
                raise UserError(f"--gen_model_type {kind}: {name} needs --gen_model_type {cls.generator_type}")
            sides, side = image_sides(kind), DATASETS[settings.dataset].image_size
            if size not in sides:
                raise UserError(f"--gen_model_name {size}: there is no autoencoder of that size; one of {', '.join(sides)}")
            if sides[size] != side:
                raise UserError(f"--gen_model_name {size}: makes images of {sides[size]} pixels a side, {settings.dataset} has {side}")

    @classmethod
    def shares_first_task(cls, other: type[Learner] | None) -> bool:
        """Whether the first task's model of another learner is this one's."""
        return other is cls or (other is not None and cls.first_task == other.first_task != "")

    @classmethod
    def reads_DW(cls, memory: int) -> bool:
        """Whether ``--DW`` changes what is learned, given ``--memory``. Where it does not, the flag is taken all the same."""
        return False

    @classmethod
    def new_model(cls, settings: Settings) -> Classifier:
        """What learns, with initial weights from torch's random state."""
        return classifier(settings.model_type, settings.model_name, DATASETS[settings.dataset].outputs)

    # The contract with the trainer

    def begin_task(self, task: Task) -> None:
        """Create what begins with the task. Called once a task, not after resuming in the middle of it."""
        if isinstance(self.model.last, (Heads, HeadPairs)):
            with self.streams.weights("heads"):
                self.model.last.start(range(task.old, task.seen))

    def start_task(self, task: Task) -> None:
        """Set what the losses read of the task. Called before its stages, again after resuming."""
        self.old, self.seen = task.old, task.seen
        self.frozen_teacher = Frozen(self.teacher, self.bf16)

    def stages(self, task: Task) -> list[Stage]:
        """What to train for a task, in order. Has no effect of its own: it is also asked for planning."""
        return [self.learning(task)]

    def end_task(self, task: Task) -> None:
        """What to keep of a task when its stages are done: images, and the model as the next task's teacher."""
        if self.coreset.memory:
            self.remember(task)
        self.teacher.load_state_dict(self.model.state_dict())

    def predict(self, images: Tensor) -> Tensor:
        """Logits [B, classes] of images [B, 3, H, W]."""
        return self.model(images)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """While open, the model is a copy of it in evaluation mode that computes the same from fewer operations."""
        model, self.model = self.model, folded(self.model)
        try:
            with torch.no_grad(), exact():
                yield
        finally:
            self.model = model

    def dream(self, count: int) -> Tensor:
        """x~: ``count`` images of the old classes, where the learner has a generator."""
        raise NotImplementedError

    def lasting_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Optimisers whose state lives on from task to task, by name, for the checkpoint."""
        return {}

    def networks(self) -> dict[str, nn.Module]:
        """What a finished task leaves, by file name."""
        return {"class": self.model}

    def stored_values(self) -> int:
        """Parameters of the model and of a generator that is kept, and pixels of the coreset (the published measure)."""
        pixels = 3 * DATASETS[self.settings.dataset].image_size ** 2
        networks = [self.model, self.generator] if self.keeps_generator else [self.model]
        return sum(p.numel() for network in networks for p in network.parameters()) + len(self.coreset) * pixels

    # The images to learn from and those to keep

    def data(self, task: Task) -> Images:
        """The task's images and, from the second task on, as many of the coreset, resampled with replacement."""
        if not len(self.coreset):
            return task.train
        count, random = len(task.train), self.streams.once("resampling")
        kept = self.coreset.images(task.train.source)
        return task.train + kept[torch.randint(len(kept), (count,), generator=random, device=self.streams.device)]

    @classmethod
    def planned_images(cls, memory: int, counts: Sequence[int], old: int, seen: int, new: int) -> dict[str, int]:
        """How many images each stage over images has, for the checks before any work and the remaining time; a stage
        that is not named has the task's.

        Args:
            memory: images that the coreset may hold. counts: images of every class, in learning order.
            old, seen: classes learned before the task, and including it. new: images of the task.
        """
        return {"learn": 2 * new if sum(shares(memory, counts[:old])) else new}

    def expected(self, task: Task, stage: str) -> int:
        """How many images a stage will have, before the coreset is known."""
        labels = task.train.source.labels  # below 0 where a class is not learned
        counts = labels[labels >= 0].bincount(minlength=task.seen).tolist()
        return self.planned_images(self.settings.memory, counts, task.old, task.seen, len(task.train)).get(stage, len(task.train))

    def remember(self, task: Task) -> None:
        """Choose the whole coreset again when a task ends: at random, from all that was learned from, repeats included, as published."""
        self.coreset.draw(self.data(task), task.seen, self.streams.once("coreset"))

    def features(self, images: Images) -> Tensor:
        """The model's features [N, D] in evaluation mode, of images without augmentation."""
        with self.evaluating():
            return torch.cat([self.model.features(x) for x, _ in images.in_order()])

    # What losses are made of

    @property
    def bf16(self) -> bool:
        """Whether steps run under autocast to bfloat16."""
        return self.settings.precision == "bf16"

    def loss(self, x: Tensor, y: Tensor) -> Losses:
        """The terms of the loss by name, each a scalar; their sum is minimised.

        Tensor code alone: it must not copy to the host nor branch on data, which a CUDA graph could not hold.

        Args:
            x: images [B, 3, H, W] as the networks see them. y: their labels [B], places of the class order.
        """
        raise NotImplementedError

    def classification(self, logits: Tensor, y: Tensor) -> Tensor:
        """CE(h[seen], y), mean over images that weigh ``image_weights``."""
        losses = F.cross_entropy(logits[:, : self.seen], y, reduction="none")
        weight = self.image_weights(y)
        return (losses if weight is None else losses * weight).mean()

    def image_weights(self, y: Tensor) -> Tensor | None:
        """[B] of images labelled ``y``, by ``--DW``; None where all weigh the same."""
        return None if self.class_weights is None else self.class_weights[y]

    def teach(self, images: Tensor) -> Tensor:
        """The teacher's logits [B, old] for the old classes."""
        return self.frozen_teacher(images)[:, : self.old]

    # What stages are made of

    def learning(self, task: Task, module: nn.Module | None = None) -> Stage:
        """The stage "learn": ``loss`` over ``data(task)``. Learned are the model's parameters, or those of ``module``."""

        def choose() -> Images:
            data = self.data(task)
            if self.settings.DW and self.reads_DW(self.settings.memory):
                self.class_weights = inverse_frequency(torch.bincount(data.labels, minlength=task.seen))
            return data

        trained = self.model if module is None else module
        cost = self.step_cost if task.old else 1.0
        return self.schedule("learn", task, choose, self.loss, trained, trained.parameters(), cost=cost)

    def schedule(
        self, name: str, task: Task, choose: Callable[[], Images], loss: Callable[..., Losses],
        trained: nn.Module, parameters: Iterable[nn.Parameter], lr_factor: float = 1.0, cost: float = 1.0,
    ) -> Stage:
        """A stage over images for the full schedule with a fresh optimiser; see Stage and ShuffledBatches."""
        *milestones, epochs = self.settings.schedule
        return Stage(name, self.batches(name, task, choose), loss, trained, self.optimizer(parameters, lr_factor), epochs, milestones, cost)

    def batches(self, stage: str, task: Task, choose: Callable[[], Images]) -> ShuffledBatches:
        """Training batches of the images that ``choose`` gives, as many as ``stage`` will have."""
        return ShuffledBatches(choose, self.expected(task, stage), self.settings.batch_size, self.settings.train_aug, self.streams)

    def optimizer(self, parameters: Iterable[nn.Parameter], lr_factor: float = 1.0) -> torch.optim.Optimizer:
        """The published optimiser, over ``parameters``."""
        s = self.settings
        if s.optimizer == "Adam":
            return self.adam(parameters, s.lr * lr_factor, (s.momentum, 0.999), s.weight_decay)
        return torch.optim.SGD(parameters, s.lr * lr_factor, s.momentum, weight_decay=s.weight_decay, fused=True)

    def adam(
        self, parameters: Iterable[nn.Parameter], lr: float, betas: tuple[float, float] = (0.9, 0.999), weight_decay: float = 0.0,
    ) -> torch.optim.Adam:
        on_gpu = self.streams.device.type == "cuda"
        return torch.optim.Adam(parameters, lr, betas, weight_decay=weight_decay, fused=True, capturable=on_gpu)
