import pytest
import whole_runs

from learners import LEARNERS, REGISTRY
from tests.learners.conftest import PUBLISHED
from utils.command_line import parse


@pytest.mark.parametrize("name", whole_runs.RUNS)
def test_a_small_whole_run_is_as_stored(name):
    stored = whole_runs.stored_run(name)
    assert stored["flags"].split() == whole_runs.flags_of(name)
    assert whole_runs.differences(name, whole_runs.measure(name), stored["tasks"]) == []


def test_every_published_learner_has_a_stored_run_also_with_a_coreset_if_it_takes_one():
    runs = [parse(REGISTRY, whole_runs.flags_of(name)) for name in whole_runs.RUNS]
    assert {*PUBLISHED} == {run.learner_name for run in runs}
    with_coreset = {run.learner_name for run in runs if run.memory}
    assert {name for name in PUBLISHED if LEARNERS[name].takes_coreset} == with_coreset


STORED = {"losses": {"learn 1 total": 2.0}, "weights": {"w": 3.0}, "coreset": [[1, 2]], "accuracies": [50.0]}


@pytest.mark.parametrize(("changed", "what"), [
    ({"losses": {"learn 1 total": 2.0 + 1e-7}}, None), ({"losses": {}}, "losses, learn 1"),
    ({"losses": {"learn 1 total": 2.0 + 1e-5}}, "losses, learn 1"),
    ({"losses": {"learn 1 total": float("nan")}}, "losses, learn 1"),
    ({"weights": {"w": 3.0, "new": 1.0}}, "weights, new"), ({"coreset": [[2, 1]]}, "coreset"),
    ({"accuracies": [60.0]}, "accuracies")])
def test_rounding_is_no_difference_and_all_else_is_one(changed, what):
    found = whole_runs.differences("base", [STORED | changed], [STORED])
    assert [line.partition(what or ":")[0] for line in found] == ["base: task 1, "] * bool(what)
