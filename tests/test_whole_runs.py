import json

import pytest
import torch
import whole_runs
from torch.nn import functional as F

from dataloaders.coreset import Coreset
from learners import LEARNERS, REGISTRY
from learners.abd import AlwaysBeDreaming
from learners.dreaming import DreamingLearner
from learners.lwf import LWF
from utils.command_line import parse


@pytest.mark.parametrize("name", whole_runs.RUNS)
def test_a_small_whole_run_is_as_stored(name):
    assert whole_runs.differences(name, whole_runs.measure(name), whole_runs.stored_run(name)) == []


def test_every_learner_of_the_tables_has_a_run_also_with_a_coreset_where_it_takes_one():
    runs = [parse(REGISTRY, whole_runs.flags_of(name)) for name in whole_runs.RUNS]
    published = {name for name, learner in LEARNERS.items() if learner.published}
    missing = "a line in RUNS of tests/whole_runs.py, and its run: python tests/whole_runs.py --write NAME"
    assert published <= {run.learner_name for run in runs}, missing
    assert {name for name in published if LEARNERS[name].takes_coreset} <= {run.learner_name for run in runs if run.memory}, missing
    assert any(run.oracle_flag for run in runs)


@pytest.mark.parametrize("name", whole_runs.RUNS)
def test_a_stored_run_says_what_it_was_and_has_what_matters(name):
    stored = json.loads((whole_runs.GOLDEN_RUNS / f"{name}.json").read_text())
    assert stored["flags"].split() == whole_runs.flags_of(name)
    assert len(stored["commit"]) == 40
    settings = parse(REGISTRY, whole_runs.flags_of(name))
    assert len(stored["tasks"]) == settings.max_task
    for number, task in enumerate(stored["tasks"]):
        assert bool(task["coreset"]) == bool(settings.memory)
        assert len(task["accuracies"]) == number + 1
        stages = {quantity.split()[0] for quantity in task["losses"]}
        second = {"ETE": "balance", "BIC": "bias", "RDFCIL": "heads", "CwD": "heads", "RFD": "heads"}.get(settings.learner_name)
        dreams = issubclass(LEARNERS[settings.learner_name], DreamingLearner)
        assert stages == {"learn", *([second] if second and number else []), *(["dream"] if dreams and number else [])}


# Planted faults. Their runs end with the task that shows them: --max_task only leaves later tasks out.


def found(name, tasks):
    """The quantities that differ once a fault is planted, as (task, kind)."""
    got = whole_runs.measure(name, "--max_task", str(tasks))
    return whole_runs.differences(name, got, whole_runs.stored_run(name)[:tasks])


def test_a_first_task_of_abd_over_the_seen_classes_is_found(monkeypatch):
    monkeypatch.setattr(AlwaysBeDreaming, "loss", lambda self, x, y: {"classification": F.cross_entropy(self.model(x)[:, : self.seen], y)})
    first, *_ = found("abd", 1)
    assert first.startswith("abd: task 1, losses, learn 1 classification: ")


def test_a_teacher_frozen_at_another_time_is_found(monkeypatch):
    def end_task(self, task):
        if not task.old:  # and never again
            self.teacher.load_state_dict(self.model.state_dict())

    monkeypatch.setattr(LWF, "end_task", end_task)
    lines = found("lwf", 3)
    assert lines[0].startswith("lwf: task 3, losses, learn 1 ")
    assert not any("task 2" in line for line in lines)


def test_the_usual_momentum_of_batch_norm_in_abd_is_found(monkeypatch):
    monkeypatch.setattr(AlwaysBeDreaming, "start_task", DreamingLearner.start_task)
    lines = found("abd", 2)
    assert lines
    assert {line.split(", ")[0] for line in lines} == {"abd: task 2"}
    assert any("running_mean" in line for line in lines)


def test_another_order_of_the_coreset_is_found(monkeypatch):
    rank = Coreset.rank

    def reversed_rank(self, *arguments):
        rank(self, *arguments)
        self.classes = [rows.flip(0) for rows in self.classes]

    monkeypatch.setattr(Coreset, "rank", reversed_rank)
    (line,) = found("e2e", 1)
    assert line.startswith("e2e: task 1, coreset: ")


@pytest.mark.parametrize(("value", "same"), [(2.0, True), (2.0 + 1e-7, True), (2.0 + 1e-5, False), (float("nan"), False), (None, False)])
def test_rounding_is_no_difference_and_a_nan_or_a_missing_number_is_one(value, same):
    task = {"losses": {"learn 1 classification": 2.0}, "weights": {}, "coreset": [], "accuracies": [50.0]}
    other = {**task, "losses": {} if value is None else {"learn 1 classification": value}}
    assert (whole_runs.differences("base", [other], [task]) == []) == same
    assert torch.get_default_dtype() == torch.float32
