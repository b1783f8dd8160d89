import contextlib
import math

import pytest
import torch

from dataloaders.batches import Images, InMemory, Pixels
from dataloaders.tasks import Task
from utils.errors import RunError
from utils.training.measures import IMAGES_A_MEAN, class_means, measure, over_images


class Model(torch.nn.Module):
    """Features are the images' first pixels, and so are the logits."""

    def __init__(self):
        super().__init__()
        self.last = torch.nn.Identity()

    def features(self, images):
        return images[:, 0, 0]


class Fixed(torch.nn.Module):
    """A learner whose logits are the images' first pixels."""

    def __init__(self):
        super().__init__()
        self.model = Model()

    def predict(self, images):
        return self.model.last(self.model.features(images))

    def evaluating(self):
        return contextlib.nullcontext()


def images(rows, labels):
    """A set of images with these first pixels."""
    stored = torch.zeros(len(rows), 3, len(rows[0]), len(rows[0]), dtype=torch.uint8)
    stored[:, 0, 0] = torch.tensor(rows, dtype=torch.uint8)
    pixels = Pixels((0.0,) * 3, (1.0,) * 3)
    return Images.all_of(InMemory(stored, torch.tensor(labels), pixels, evaluation_batch=3))


def task(index, old, seen, test, train=None):
    return Task(index, old, seen, train or test, test, tuple("abcdefgh"))


@pytest.fixture
def shown():
    """Images of class 2, 3, 2, 3: the best of all four outputs, of the first three, of the last two."""
    return images([[0, 0, 9, 1], [0, 9, 1, 2], [9, 0, 1, 2], [0, 1, 9, 10]], [2, 3, 2, 3])


@pytest.fixture
def tasks(shown):
    """Two tasks of two classes, with 2 and 4 test images; one of the first is taken for class 2."""
    return [task(0, 0, 2, images([[9, 0, 0, 0], [0, 1, 5, 0]], [0, 1])), task(1, 2, 4, shown)]


def test_accuracy_is_among_all_seen_classes_and_among_the_tasks_own(tasks):
    measures = measure(Fixed(), tasks)
    assert (measures.by_task, measures.local) == ([50.0, 50.0], [100.0, 75.0])


@pytest.mark.parametrize(("top_k", "expected"), [(1, (50.0, 75.0)), (2, (75.0, 100.0)), (5, (100.0, 100.0))])
def test_top_k_counts_a_class_among_the_k_best_of_those_that_compete(shown, top_k, expected):
    measures = measure(Fixed(), [task(1, 2, 4, shown)], top_k)
    assert (measures.by_task[0], measures.local[0]) == expected


def test_old_and_new_are_the_earlier_and_the_latest_tasks_among_all_seen(tasks):
    found = measure(Fixed(), tasks)
    assert (found.images, found.old, found.new) == ([2, 4], 50.0, 50.0)
    assert math.isnan(measure(Fixed(), tasks[:1]).old)
    assert over_images([80.0, 40.0], [30, 10]) == 70.0


def test_confusion_counts_which_class_is_taken_for_which(tasks):
    confusion = measure(Fixed(), tasks).confusion
    assert confusion.tolist() == [[1, 0, 0, 0], [0, 0, 1, 0], [1, 0, 1, 0], [0, 1, 0, 1]]


# The nearest class mean


def test_a_class_mean_is_of_features_of_length_1_and_has_length_1():
    train = images([[200, 0, 0], [0, 2, 0], [0, 0, 7]], [0, 0, 1])
    means = class_means(Fixed(), [task(0, 0, 2, train)])
    assert means.flatten().tolist() == pytest.approx([0.5**0.5, 0.5**0.5, 0, 0, 0, 1])


def test_the_nearest_class_mean_is_measured_on_all_test_images_of_seen_classes():
    train = [images([[9, 1, 0, 0], [3, 4, 0, 0]], [0, 0]), images([[0, 0, 9, 1], [0, 9, 0, 1]], [2, 3])]
    test = [images([[9, 0, 0, 0], [0, 9, 0, 0]], [0, 1]), images([[0, 0, 9, 0], [0, 0, 0, 9]], [2, 3])]
    first, then = task(0, 0, 2, test[0], train[0]), task(1, 2, 4, test[1], train[1])
    assert measure(Fixed(), [first, then]).ncm == measure(Fixed(), [first]).ncm == 50.0


def test_of_each_class_the_first_images_alone_are_taken_and_of_its_own_task():
    many = IMAGES_A_MEAN + 20
    train = images([[9, 0]] * IMAGES_A_MEAN + [[0, 9]] * 20 + [[0, 9]] * many, [0] * many + [1] * many)
    cumulative = task(1, 1, 2, train, train)
    assert class_means(Fixed(), [task(0, 0, 1, train, train[:many]), cumulative]).tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("columns", [1, 3])
def test_logits_of_fewer_classes_than_seen_are_refused(tasks, columns):
    class Few(Fixed):
        def predict(self, images):
            return super().predict(images)[:, :columns]

    with pytest.raises(RunError, match="Few.predict returned"):
        measure(Few(), tasks)
