"""A data set as a sequence of tasks, each a range of consecutive places in the class order."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch

from dataloaders.batches import Images, InMemory, Pixels, Source
from dataloaders.datasets import DATASETS, Data, Split, class_count
from dataloaders.image_files import ImageFiles
from dataloaders.sets.imagenet import published_order
from dataloaders.transforms import TRANSFORMS
from utils.device import memory_format as format_of_run
from utils.errors import UserError
from utils.settings import Settings

VALIDATION_FOLDS = 5


@dataclass(frozen=True)
class Task:
    """One task. Labels are places in the class order, from 0.

    Attributes:
        index: from 0.
        old, seen: number of classes before this task, and including it.
        train: its training images (with ``--oracle_flag`` those of all tasks so far).
        test: test images of its own classes.
        names: the name of the class at each place in the order.
    """

    index: int
    old: int
    seen: int
    train: Images
    test: Images
    names: tuple[str, ...]


def class_order(dataset: str, classes: int, seed: int) -> list[int]:
    """The order in which classes are learned with ``--rand_split``, shuffled by the seed; ImageNet's is the
    beginning of that of its 1,000 whatever the seed (docs/specification.md, "Protocol")."""
    if dataset == "ImageNet":
        return published_order()[:classes]
    order = list(range(classes))
    random.Random(seed).shuffle(order)
    return order


def split_classes(
    classes: int, first: int, other: int, max_task: int = -1, sizes: Sequence[int] = (),
) -> list[range]:
    """The places in the order that each task learns. As published, the last task has what is left.

    Args:
        first, other: number of classes of the first and of every other task.
        max_task: number of tasks at most; all if it is below 1.
        sizes: of all tasks, instead of ``first`` and ``other``; classes that are left over are not learned.
    """
    stops = [*accumulate(sizes)] if sizes else [*range(first, classes, other), classes]
    ranges = [range(start, stop) for start, stop in zip([0, *stops], stops)]
    return ranges if max_task < 1 else ranges[:max_task]


def task_ranges(settings: Settings, whole: bool = False) -> list[range]:
    """The places in the order that each task learns; ``whole`` includes tasks beyond ``--max_task``."""
    return split_classes(class_count(settings), settings.first_split_size, settings.other_split_size,
                         -1 if whole else settings.max_task, settings.task_sizes)


def check_split(settings: Settings) -> None:
    """Raises UserError if the tasks need more classes than there are, or a flag is for other data sets."""
    known = DATASETS[settings.dataset]
    for option in ("imagenet_classes", "incomplete_data", "classes", "test_share"):
        if getattr(settings, option) and option not in known.options:
            served = [name for name, other in DATASETS.items() if option in other.options]
            raise UserError(f"--{option}: is for {' and '.join(served) or 'folder:PATH'}, not for "
                            f"{settings.dataset}; leave it out")
    classes, first, total = class_count(settings), settings.first_split_size, sum(settings.task_sizes)
    remedy = "learn fewer" + ", or name more with --imagenet_classes" * bool(settings.imagenet_classes)
    if total > classes:
        raise UserError(f"--task_sizes: {total} in all; {settings.dataset} has {classes} classes; {remedy}")
    if first > classes:
        raise UserError(f"--first_split_size {first}: {settings.dataset} has {classes} classes; {remedy}")


def hold_out(data: Split, fold: int) -> tuple[Split, Split]:
    """(training, validation): every fifth image of each class is held out, beginning with the fold's."""
    held = np.zeros(len(data.labels), bool)
    for label in np.unique(data.labels):
        held[np.flatnonzero(data.labels == label)[fold % VALIDATION_FOLDS :: VALIDATION_FOLDS]] = True
    return Split(data.images[~held], data.labels[~held]), Split(data.images[held], data.labels[held])


def pixels_of(
    dataset: str, transforms: str, normalised: bool, device: torch.device | str,
    memory_format: torch.memory_format,
) -> Pixels:
    """What turns a data set's pixels into what networks see. See task_sequence."""
    known, how = DATASETS[dataset], TRANSFORMS[transforms]
    mean, std = how.statistics.get(dataset, (known.mean, known.std))
    if not normalised:
        mean, std = (0.0,) * 3, (1.0,) * 3
    return Pixels(mean, std, device, how.normalised_first, memory_format)


def task_sequence(
    dataset: str, train: Split, test: Split, names: tuple[str, ...], ranges: list[range], order: list[int], *,
    normalised: bool = True, cumulative: bool = False, workers: int = 0, device: torch.device | str = "cpu",
    transforms: str = "abd", memory_format: torch.memory_format = torch.channels_last,
) -> list[Task]:
    """The tasks of one repeat, on the device.

    Args:
        names: of the data set's classes.
        order: order[place] is the data set's number of the class learned at that place; some may be left out.
        normalised: networks see normalised images; otherwise images in [0, 1] (DGR).
        cumulative: a task's training images are those of all tasks so far (``--oracle_flag``).
    """
    pixels = pixels_of(dataset, transforms, normalised, device, memory_format)
    place = np.full(len(names), -1)
    place[order] = np.arange(len(order))

    def source(split: Split) -> Source:
        labels = torch.from_numpy(place[split.labels]).to(device)
        if split.images.dtype == np.uint8:
            return InMemory(torch.from_numpy(split.images).to(device), labels, pixels)
        return ImageFiles(split.images, labels, pixels, workers)

    def select(whole: Source, start: int, stop: int) -> Images:
        return Images(whole, ((whole.labels >= start) & (whole.labels < stop)).nonzero().flatten())

    training, testing = source(train), source(test)
    placed = tuple(names[label] for label in order)
    return [
        Task(index, new.start, new.stop, select(training, 0 if cumulative else new.start, new.stop),
             select(testing, new.start, new.stop), placed)
        for index, new in enumerate(ranges)
    ]


def order_of_repeat(settings: Settings, classes: int, repeat: int) -> list[int]:
    """The data set's class numbers, 0 .. ``classes`` - 1, in the order of a repeat."""
    if settings.class_order:
        return settings.class_order
    if settings.rand_split and not DATASETS[settings.dataset].in_learning_order:
        return class_order(settings.dataset, classes, settings.seed + repeat)
    return list(range(classes))


def learned_classes(settings: Settings, data: Data, repeat: int) -> list[tuple[int, str]]:
    """(number in the data set, name) of each class that a repeat learns, in learned order: entry k belongs to
    output k of the network and to row and column k of confusion matrices."""
    order, learned = order_of_repeat(settings, len(data.names), repeat), task_ranges(settings)[-1].stop
    return [(number, data.names[number]) for number in order[:learned]]


def first_of_each_class(data: Split, count: int) -> Split:
    by_class = [np.flatnonzero(data.labels == label)[:count] for label in np.unique(data.labels)]
    kept = np.sort(np.concatenate(by_class))
    return Split(data.images[kept], data.labels[kept])


def splits_of_repeat(settings: Settings, data: Data, repeat: int) -> tuple[Split, Split]:
    """Training and test images; with ``--validation`` the latter are held out of the training images, and
    with ``--images_per_class`` the first ones of each class are all there are."""
    train, test = hold_out(data.train, settings.seed + repeat) if settings.validation else data[:2]
    if count := settings.images_per_class:
        return first_of_each_class(train, count), first_of_each_class(test, count)
    return train, test


def tasks_of_repeat(
    settings: Settings, data: Data, repeat: int, normalised: bool, device: torch.device,
) -> list[Task]:
    """The tasks of a repeat, counted from 0."""
    return task_sequence(
        settings.dataset, *splits_of_repeat(settings, data, repeat), data.names, task_ranges(settings),
        order_of_repeat(settings, len(data.names), repeat), normalised=normalised,
        cumulative=settings.oracle_flag, workers=settings.workers, device=device,
        transforms=settings.transforms, memory_format=format_of_run(settings, device))


def images_per_class(settings: Settings, data: Data, repeat: int) -> list[int]:
    """The number of training images of every class, in learned order."""
    train, _ = splits_of_repeat(settings, data, repeat)
    counts = np.bincount(train.labels, minlength=len(data.names))
    return counts[order_of_repeat(settings, len(data.names), repeat)].tolist()
