import sys
from types import SimpleNamespace

import pytest

from utils.errors import UserError
from utils.reports.wandb import require_wandb
from utils.training.listeners import Listener

FLAGS = ("NormalNN", "--wandb", "mine", "--no_figures")


def test_a_stopped_and_resumed_run_is_one_run_there(trainer, tmp_path, monkeypatch):
    runs = []

    def init(**facts):
        runs.append(SimpleNamespace(**facts, logged=[]))
        runs[-1].log = lambda values, step: runs[-1].logged.append((step, values))
        return runs[-1]

    class Stop(Listener):
        def task_ended(self, run):
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    stopped = trainer(tmp_path, *FLAGS)
    stopped.listeners.append(Stop())
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    results = trainer(tmp_path, *FLAGS).run()
    first, second = runs
    assert first.id == second.id and first.project == "mine" and first.config["learner_name"] == "NormalNN"
    steps = [[step for step, _ in each.logged] for each in runs]
    assert steps == [[1, 2, 3], [3, 4, 5, 6]]
    assert set(second.logged[1][1]) == {"learn/classification", "learn/lr"}
    assert second.logged[-1][1]["accuracy"] == results.history("accuracy")[0][-1]
    assert second.logged[-1][1]["task"] == 2 and "old" not in second.logged[0][1]


def test_a_missing_package_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match="--wandb: .*pip install wandb"):
        require_wandb()
