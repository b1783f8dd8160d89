
import numpy as np
import pytest
import torch

from dataloaders.datasets import Data, Split
from dataloaders.tasks import (
    class_order,
    images_per_class,
    learned_classes,
    order_of_repeat,
    split_classes,
    splits_of_repeat,
    tasks_of_repeat,
)
from utils.settings import Settings

NAMES = tuple("abcdefghij")
ORDER = [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]


@pytest.fixture
def split():
    """20 images a class; every pixel of an image is its place in the set."""
    labels = np.random.RandomState(0).permutation(np.repeat(np.arange(10), 20))
    images = np.broadcast_to(np.arange(200, dtype=np.uint8)[:, None, None, None], (200, 3, 32, 32)).copy()
    return Split(images, labels)


@pytest.fixture
def tasks(split):
    def build(**more):
        settings = Settings(
            dataset="Digits", class_order=ORDER, first_split_size=4, other_split_size=3, **more)
        return tasks_of_repeat(settings, Data(split, split, NAMES), 0, True, torch.device("cpu"))

    return build


def places(images):
    return images.source.stored[images.rows][:, 0, 0, 0].tolist()


@pytest.mark.parametrize(("split", "stops"), [
    ((100, 20, 20), [20, 40, 60, 80, 100]), ((10, 10, 2), [10]), ((100, 30, 40), [30, 70, 100]),
    ((10, 4, 5), [4, 9, 10]), ((10, 4, 100), [4, 10]), ((10, 4, 5, 2), [4, 9]),
    ((10, 2, 2, -1, [5, 3, 1]), [5, 8, 9]), ((10, 2, 2, 2, [5, 3, 1]), [5, 8])])
def test_classes_split_into_tasks_of_which_the_last_has_what_is_left(split, stops):
    assert split_classes(*split) == [range(*pair) for pair in zip([0, *stops], stops)]


@pytest.mark.parametrize("oracle_flag", [False, True])
def test_a_task_has_all_images_of_its_classes_numbered_by_place_in_the_order(tasks, split, oracle_flag):
    assert [(task.index, task.old, task.seen) for task in tasks()] == [(0, 0, 4), (1, 4, 7), (2, 7, 10)]
    for task in tasks(oracle_flag=oracle_flag):
        first = 0 if oracle_flag else task.old
        assert set(task.train.labels.tolist()) == set(range(first, task.seen))
        assert len({*places(task.train)}) == len(task.train) == 20 * (task.seen - first)
        for images in (task.train, task.test):
            assert [ORDER[label] for label in images.labels] == split.labels[places(images)].tolist()
        assert set(task.test.labels.tolist()) == set(range(task.old, task.seen))
        assert task.names == tuple(NAMES[label] for label in ORDER)


def test_images_may_be_files_and_some_classes_left_out():
    files = Split(np.array([f"{k}.JPEG" for k in range(8)]), np.repeat([5, 0, 9, 3], 2))
    order = [9, 0, 3, 5, 1]
    settings = Settings(dataset="ImageNet", class_order=order, max_task=2, workers=3)
    first, second = tasks_of_repeat(settings, Data(files, files, NAMES), 0, True, torch.device("cpu"))
    assert first.train.source.paths[first.train.rows].tolist() == ["2.JPEG", "3.JPEG", "4.JPEG", "5.JPEG"]
    assert first.train.labels.tolist() == [1, 1, 0, 0]
    assert second.test.source.paths[second.test.rows].tolist() == ["0.JPEG", "1.JPEG", "6.JPEG", "7.JPEG"]
    assert second.test.labels.tolist() == [3, 3, 2, 2]
    assert first.train.source.workers == 3


def test_five_folds_hold_a_fifth_of_every_class_and_every_image_once(split):
    held = []
    for fold in range(5):
        rest, out = splits_of_repeat(Settings(validation=True, seed=1), Data(split, split, NAMES), fold)
        places = out.images[:, 0, 0, 0]
        assert np.bincount(out.labels).tolist() == [4] * 10
        assert np.array_equal(split.labels[places], out.labels)
        assert not {*places} & {*rest.images[:, 0, 0, 0]} and len(rest.labels) == 160
        held.append(places)
        same = splits_of_repeat(Settings(validation=True, seed=fold), Data(split, split, NAMES), 1)[1]
        assert np.array_equal(same.images, out.images)  # seed and repeat add up
    assert sorted(np.concatenate(held).tolist()) == list(range(200))


def test_classes_are_listed_and_counted_in_learned_order(split):
    data = Data(Split(split.images[split.labels != 3], split.labels[split.labels != 3]), split, NAMES)
    settings = Settings(
        dataset="Digits", class_order=ORDER, first_split_size=4, other_split_size=3, max_task=2)
    assert learned_classes(settings, data, 0) == [(number, NAMES[number]) for number in ORDER[:7]]
    assert images_per_class(settings, data, 0) == [0] + [20] * 9
    shuffled = Settings(dataset="Digits", rand_split=True, seed=3, first_split_size=5)
    order = [number for number, _ in learned_classes(shuffled, data, 1)]
    assert order == class_order("Digits", 10, 4) != sorted(order)
    held_out = Settings(dataset="Digits", validation=True)
    assert order_of_repeat(held_out, 10, 0) == list(range(10))
    assert images_per_class(held_out, Data(split, split, NAMES), 0) == [16] * 10
