"""A data set as a sequence of tasks, each a range of consecutive places in the class order."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch

from dataloaders.batches import Images, InMemory, Pixels, Source
from dataloaders.coreset import rank_in_class
from dataloaders.datasets import DATASETS, Data, Split, class_count
from dataloaders.image_files import ImageFiles
from dataloaders.sets.imagenet import published_order
from dataloaders.transforms import TRANSFORMS
from utils.device import memory_format
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


def pixels_of(settings: Settings, normalised: bool, device: torch.device) -> Pixels:
    """What turns the pixels of a run into what networks see: ``normalised`` images, or images in [0, 1]."""
    known, how = DATASETS[settings.dataset], TRANSFORMS[settings.transforms]
    mean, std = how.statistics.get(settings.dataset, (known.mean, known.std))
    if not normalised:
        mean, std = (0.0,) * 3, (1.0,) * 3
    return Pixels(mean, std, device, how.normalised_first, memory_format(settings, device))


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


def splits_of_repeat(settings: Settings, data: Data, repeat: int) -> tuple[Split, Split]:
    """Training and test images. With ``--validation``, every fifth image of each training class is a test
    image, beginning with another one in each repeat; ``--images_per_class`` takes the first of each class."""

    def rank(split: Split) -> np.ndarray:
        return rank_in_class(torch.from_numpy(split.labels)).numpy()

    def chosen(split: Split, which: np.ndarray) -> Split:
        return Split(split.images[which], split.labels[which])

    train, test = data.train, data.test
    if settings.validation:
        held = rank(train) % VALIDATION_FOLDS == (settings.seed + repeat) % VALIDATION_FOLDS
        train, test = chosen(train, ~held), chosen(train, held)
    if count := settings.images_per_class:
        train, test = (chosen(split, rank(split) < count) for split in (train, test))
    return train, test


def tasks_of_repeat(
    settings: Settings, data: Data, repeat: int, normalised: bool, device: torch.device,
) -> list[Task]:
    """The tasks of a repeat, counted from 0, on the device. See ``pixels_of``."""
    train, test = splits_of_repeat(settings, data, repeat)
    order = order_of_repeat(settings, len(data.names), repeat)
    pixels = pixels_of(settings, normalised, device)
    place = np.full(len(data.names), -1)
    place[order] = np.arange(len(order))

    def source(split: Split) -> Source:
        labels = torch.from_numpy(place[split.labels]).to(device)
        if split.images.dtype == np.uint8:
            return InMemory(torch.from_numpy(split.images).to(device), labels, pixels)
        return ImageFiles(split.images, labels, pixels, settings.workers)

    def select(whole: Source, start: int, stop: int) -> Images:
        return Images(whole, ((whole.labels >= start) & (whole.labels < stop)).nonzero().flatten())

    training, testing = source(train), source(test)
    names = tuple(data.names[label] for label in order)
    return [
        Task(index, new.start, new.stop,
             select(training, 0 if settings.oracle_flag else new.start, new.stop),
             select(testing, new.start, new.stop), names)
        for index, new in enumerate(task_ranges(settings))
    ]


def images_per_class(settings: Settings, data: Data, repeat: int) -> list[int]:
    """The number of training images of every class, in learned order."""
    train, _ = splits_of_repeat(settings, data, repeat)
    counts = np.bincount(train.labels, minlength=len(data.names))
    return counts[order_of_repeat(settings, len(data.names), repeat)].tolist()
