"""The result files in the form in which they were published, and those beside them."""

import math

import numpy as np
import pytest
import torch

from tests.utils.training.conftest import read
from utils.training.measures import Measures
from utils.training.results import Results


def measures(by_task, local, images, rest=50.0):
    confusion = torch.arange(4 * len(images) ** 2).view(2 * len(images), -1)
    return Measures(by_task, local, images, rest, rest + 40, rest + 10, confusion)


@pytest.fixture
def results():
    """Two repeats of three tasks, the second one not yet finished."""
    results = Results()
    results.add(0, measures([90.0], [90.0], [300]), 100, 1.0)
    results.add(0, measures([40.0, 80.0], [70.0, 85.0], [300, 100]), 110, 2.0)
    results.add(0, measures([10.0, 20.0, 60.0], [60.0, 80.0, 60.0], [300, 100, 100]), 120, 3.0)
    results.add(1, measures([80.0], [80.0], [300]), 100, 5.0)
    return results


@pytest.fixture
def saved(results, tmp_path):
    """The files: saved("acc/global") -> content."""
    results.save(tmp_path, 3)
    return lambda name: read(tmp_path / f"results-{name}.yaml")


def test_global_yaml_is_tasks_by_repeats_and_nan_where_nothing_is_measured(saved):
    content = saved("acc/global")
    assert list(content) == ["mean", "std", "history"]
    np.testing.assert_equal(content["history"], [[90.0, 80.0], [60.0, math.nan], [30.0, math.nan]])
    assert (content["mean"], content["std"]) == ([85.0, 60.0, 30.0], [5.0, 0.0, 0.0])  # the population's


def test_pt_yaml_is_on_task_after_task_repeat_and_says_so(saved):
    content = saved("acc/pt")
    assert content["axes"] == ["on task", "after task", "repeat"]
    whole, begun = np.moveaxis(np.array(content["history"]), 2, 0)
    assert whole.tolist() == [[90.0, 40.0, 10.0], [0.0, 80.0, 20.0], [0.0, 0.0, 60.0]]  # 0: not learned yet
    nan = math.nan
    np.testing.assert_equal(begun, [[80.0, nan, nan], [0.0, nan, nan], [0.0, 0.0, nan]])
    assert content["mean"] == [[85.0, 40.0, 10.0], [0.0, 80.0, 20.0], [0.0, 0.0, 60.0]]
    assert content["std"][0] == [5.0, 0.0, 0.0]


def test_each_other_accuracy_has_its_file(saved):
    expected = {
        "over-images": [90.0, 50.0, 22.0], "old": [math.nan, 40.0, 12.5], "new": [90.0, 80.0, 60.0],
        "top1": [50.0] * 3, "top5": [90.0] * 3, "ncm": [60.0] * 3}
    for name, values in expected.items():
        np.testing.assert_equal([row[0] for row in saved(f"acc/{name}")["history"]], values)
