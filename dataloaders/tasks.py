"""A data set as a sequence of tasks, each a run of consecutive places of the class order."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch

from dataloaders.batches import Images, InMemory, Pixels, Source
from dataloaders.datasets import DATASETS, Data, Split, class_count
from dataloaders.image_files import ImageFiles
from dataloaders.sets.imagenet import published_order
from dataloaders.transforms import TRANSFORMS
from utils.arithmetic import memory_format as format_of_run
from utils.errors import UserError
from utils.settings import Settings

VALIDATION_FOLDS = 5


def class_order(dataset: str, classes: int, seed: int) -> list[int]:
    """The order in which a data set's classes are learned with ``--rand_split`` (docs/specification.md, "Protocol").

    Args:
        classes: how many the data set numbers. Of ImageNet the order is that of its 1,000, of which the first ``classes`` are given.
        seed: of the shuffle; as published, the repeat's index from 0. ImageNet's order is the same for all.
    """
    if dataset == "ImageNet":
        return published_order()[:classes]
    order = list(range(classes))
    random.Random(seed).shuffle(order)
    return order


@dataclass(frozen=True)
class Task:
    """One task. Classes are places of the order: ``old`` ones came before, ``seen`` counts those too.

    Attributes:
        index: from 0.
        train: its training images (with ``--oracle_flag`` those of all tasks so far).
        test: its own test images, of the classes old..seen - 1.
        names: what the class at each place of the order is called.
    """

    index: int
    old: int
    seen: int
    train: Images
    test: Images
    names: tuple[str, ...]


def split_classes(classes: int, first: int, other: int, max_task: int = -1, sizes: Sequence[int] = ()) -> list[range]:
    """The places of the order that each task learns; where they don't divide, the last task has fewer, as published.

    Args:
        first, other: classes of the first and of every other task.
        max_task: tasks at most; below 0, all.
        sizes: of all tasks, in place of ``first`` and ``other``; classes that are left are not learned.
    """
    stops = [*accumulate(sizes)] if sizes else [*range(first, classes, other), classes]
    ranges = [range(a, b) for a, b in zip([0, *stops], stops)]
    return ranges if max_task < 0 else ranges[:max_task]


def task_ranges(settings: Settings, whole: bool = False) -> list[range]:
    """The places of the class order that each task of a run learns; ``whole``: also of tasks that ``--max_task`` leaves out."""
    return split_classes(
        class_count(settings), settings.first_split_size, settings.other_split_size, -1 if whole else settings.max_task, settings.task_sizes)


def check_split(settings: Settings) -> None:
    """Raises UserError where the tasks asked for have more classes than the data set, or a setting is another data set's."""
    for option, given in (("imagenet_classes", settings.imagenet_classes), ("incomplete_data", settings.incomplete_data)):
        if given and option not in DATASETS[settings.dataset].options:
            served = [name for name, known in DATASETS.items() if option in known.options]
            raise UserError(f"--{option}: is for {' and '.join(served)}, not for {settings.dataset}; leave it out")
    classes, first, total = class_count(settings), settings.first_split_size, sum(settings.task_sizes)
    remedy = "; name more with --imagenet_classes, or learn fewer" if settings.imagenet_classes else ""
    if total > classes:
        raise UserError(f"--task_sizes: add up to {total} classes, {settings.dataset} has {classes}{remedy}")
    if first > classes:
        raise UserError(f"--first_split_size {first}: {settings.dataset} has {classes} classes{remedy}")


def hold_out(data: Split, fold: int) -> tuple[Split, Split]:
    """(training, validation): every fifth image of each class, beginning with the fold's, is held out."""
    held = np.zeros(len(data.labels), bool)
    for label in np.unique(data.labels):
        held[np.flatnonzero(data.labels == label)[fold % VALIDATION_FOLDS :: VALIDATION_FOLDS]] = True
    return Split(data.images[~held], data.labels[~held]), Split(data.images[held], data.labels[held])


def task_sequence(
    dataset: str,
    train: Split,
    test: Split,
    names: tuple[str, ...],
    ranges: list[range],
    order: list[int],
    *,
    normalised: bool = True,
    cumulative: bool = False,
    workers: int = 0,
    device: torch.device | str = "cpu",
    raise_if_stopped: Callable[[], None] = lambda: None,
    transforms: str = "abd",
    memory_format: torch.memory_format = torch.channels_last,
) -> list[Task]:
    """The tasks of one repeat, on the device.

    Args:
        names: of the data set's classes.
        order: order[place] is the data set's number of the class learned at that place; not all need be learned.
        normalised: networks see normalised images; otherwise images in [0, 1] (DGR).
        cumulative: each task's training images are those of all tasks so far (``--oracle_flag``).
        workers: processes that decode images that stay on disk.
        raise_if_stopped: called while one of them is waited for; may raise, to end that.
        transforms: as ``--transforms`` names them.
        memory_format: of the images.
    """
    known = DATASETS[dataset]
    how = TRANSFORMS[transforms]
    mean, std = how.statistics.get(dataset, (known.mean, known.std)) if normalised else ((0.0,) * 3, (1.0,) * 3)
    pixels = Pixels(mean, std, device, how.normalised_first, memory_format)
    place = np.full(len(names), -1)
    place[order] = np.arange(len(order))

    def source(split: Split) -> Source:
        labels = torch.from_numpy(place[split.labels]).to(device)
        if split.images.dtype == np.uint8:
            return InMemory(torch.from_numpy(split.images).to(device), labels, pixels)
        return ImageFiles(split.images, labels, pixels, workers, raise_if_stopped=raise_if_stopped)

    def select(whole: Source, classes: range) -> Images:
        mine = (whole.labels >= classes.start) & (whole.labels < classes.stop)
        return Images(whole, mine.nonzero().flatten())

    training, testing = source(train), source(test)
    placed = tuple(names[label] for label in order)
    return [
        Task(index, new.start, new.stop, select(training, range(0 if cumulative else new.start, new.stop)), select(testing, new), placed)
        for index, new in enumerate(ranges)
    ]


# The tasks of a run


def order_of_repeat(settings: Settings, classes: int, repeat: int) -> list[int]:
    """The numbers of the data set's classes, of which there are ``classes``, in the order of a repeat."""
    if settings.class_order:
        return settings.class_order
    if settings.rand_split and not DATASETS[settings.dataset].in_learning_order:
        return class_order(settings.dataset, classes, settings.seed + repeat)
    return list(range(classes))


def splits_of_repeat(settings: Settings, data: Data, repeat: int) -> tuple[Split, Split]:
    """Training and test images of a repeat; with ``--validation`` the latter are held out of the training images."""
    return hold_out(data.train, settings.seed + repeat) if settings.validation else (data.train, data.test)


def tasks_of_repeat(
    settings: Settings, data: Data, repeat: int, normalised: bool, device: torch.device, raise_if_stopped: Callable[[], None] = lambda: None,
) -> list[Task]:
    """The tasks of a repeat, counted from 0; see task_sequence."""
    train, test = splits_of_repeat(settings, data, repeat)
    return task_sequence(
        settings.dataset, train, test, data.names, task_ranges(settings), order_of_repeat(settings, len(data.names), repeat),
        normalised=normalised, cumulative=settings.oracle_flag, workers=settings.workers, device=device, raise_if_stopped=raise_if_stopped,
        transforms=settings.transforms, memory_format=format_of_run(settings, device))


def check_batches(settings: Settings, data: Data, check: Callable[[Settings, list[int]], None]) -> None:
    """Refuse data that leave a stage of a repeat without a batch. Raises UserError.

    Args:
        check: a learner's check_data.
    """
    for repeat in range(settings.repeat):
        train, _ = splits_of_repeat(settings, data, repeat)
        count = np.bincount(train.labels, minlength=len(data.names))
        check(settings, count[order_of_repeat(settings, len(data.names), repeat)].tolist())
