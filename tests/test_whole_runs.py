import pytest
import whole_runs
from torch.nn import functional as F

from dataloaders.coreset import Coreset
from learners import LEARNERS, REGISTRY
from learners.abd import AlwaysBeDreaming
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


# Planted faults. Their runs end with the task that shows them: --max_task only leaves later tasks out.


def found(name):
    """The lines about what differs once a fault is planted in the first task."""
    stored = whole_runs.stored_run(name)["tasks"][:1]
    return whole_runs.differences(name, whole_runs.measure(name, "--max_task", "1"), stored)


def test_a_first_task_of_abd_over_the_seen_classes_is_found(monkeypatch):
    def loss(self, x, y):
        return {"classification": F.cross_entropy(self.model(x)[:, : self.seen], y)}

    monkeypatch.setattr(AlwaysBeDreaming, "loss", loss)
    assert found("abd")[0].startswith("abd: task 1, losses, learn 1 classification: ")


def test_another_order_of_the_coreset_is_found(monkeypatch):
    rank = Coreset.rank

    def reversed_rank(self, *arguments):
        rank(self, *arguments)
        self.classes = [rows.flip(0) for rows in self.classes]

    monkeypatch.setattr(Coreset, "rank", reversed_rank)
    (line,) = found("e2e")
    assert line.startswith("e2e: task 1, coreset: ")


NUMBERS = [(2.0 + 1e-7, True), (2.0 + 1e-5, False), (float("nan"), False), (None, False)]


@pytest.mark.parametrize(("value", "same"), NUMBERS)
def test_rounding_is_no_difference_and_a_nan_or_a_missing_number_is_one(value, same):
    task = {"losses": {"learn 1 classification": 2.0}, "weights": {}, "coreset": [], "accuracies": [50.0]}
    other = {**task, "losses": {} if value is None else {"learn 1 classification": value}}
    assert (whole_runs.differences("base", [other], [task]) == []) == same
