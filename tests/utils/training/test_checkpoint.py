import pytest
import torch
import yaml
from utils.training.recorded import SINCE

from tests.utils.training.conftest import STATE, refusal
from utils.files import write_tensors
from utils.training.folder import Place, RunFolder


def test_a_new_folder_has_the_settings_and_no_state(settings, tmp_path):
    folder = RunFolder(settings(mu=0.3))
    assert folder.state is None
    folder.begin()
    assert yaml.safe_load((tmp_path / "run" / "args.yaml").read_text())["mu"] == 0.3


def test_a_checkpoint_comes_back(settings):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], 0.1)
    state = {"place": vars(Place(1, 2, 3, 4)), "learner": {"w": torch.randn(3)}, "optimizers": {"stage": optimizer.state_dict()}, "seconds": 1.5}
    RunFolder(settings()).save(state)
    found = RunFolder(settings()).state
    assert Place(**found["place"]) == Place(1, 2, 3, 4)
    assert torch.equal(found["learner"]["w"], state["learner"]["w"])
    assert found["optimizers"]["stage"]["param_groups"][0]["lr"] == 0.1


@pytest.mark.parametrize(("name", "value"), [("mu", 0.3), ("schedule", [1, 3]), ("learner_name", "LWF"), ("max_task", 2), ("validation", True)])
def test_a_checkpoint_of_other_settings_is_refused_by_name(settings, name, value):
    RunFolder(settings()).save(STATE)
    message = refusal(settings(**{name: value}))
    assert "--log_dir" in message
    assert f"({name} " in message
    assert "--overwrite 1" in message


@pytest.mark.parametrize(("more", "reason"), [
    ({"learner_name": "AlwaysBeDreaming"}, "over the seen outputs alone"), ({"DW": True}, "--DW weighed images otherwise"), ({}, "")])
def test_a_run_that_learned_otherwise_before_is_not_resumed(settings, tmp_path, more, reason):
    RunFolder(settings(**more)).save(STATE)
    assert RunFolder(settings(**more)).state
    path = tmp_path / "run" / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    state["settings"] = {name: value for name, value in state["settings"].items() if name not in SINCE}
    write_tensors(path, state)
    if reason:
        message = refusal(settings(**more))
        assert reason in message
        assert "--log_dir" in message
        assert "--overwrite 1" in message
    else:
        assert RunFolder(settings(**more)).state
    assert RunFolder(settings(overwrite=1, **more)).state is None


def test_a_refused_folder_keeps_its_settings(settings, tmp_path):
    folder = RunFolder(settings())
    folder.begin()
    folder.save(STATE)
    before = (tmp_path / "run" / "args.yaml").read_bytes()
    refusal(settings(mu=0.3))
    assert (tmp_path / "run" / "args.yaml").read_bytes() == before


@pytest.mark.parametrize(("name", "value"), [("repeat", 3), ("gpuid", [-1]), ("workers", 2), ("dataroot", "x"), ("no_figures", True)])
def test_settings_that_change_no_result_may_change(settings, name, value):
    RunFolder(settings()).save(STATE)
    assert RunFolder(settings(**{name: value})).state


def test_tasks_and_repeats_are_counted_from_1(settings, tmp_path):
    assert RunFolder(settings()).model_path(0, 4) == tmp_path / "run" / "models" / "repeat-1" / "task-5"


# --threads


def test_a_new_run_records_the_threads_it_chooses(settings, monkeypatch, tmp_path):
    monkeypatch.setattr("utils.training.folder.default_threads", lambda processes: 12 // processes)
    for more, threads in (({}, 12), ({"parallel": 4, "repeat": 3}, 4), ({"parallel": 2, "threads": 5}, 5)):
        folder = RunFolder(settings(overwrite=1, **more))
        folder.begin()
        folder.save(STATE)
        assert folder.settings.threads == threads
        assert yaml.safe_load((tmp_path / "run" / "args.yaml").read_text())["threads"] == threads


def test_a_resumed_run_keeps_its_threads_on_a_machine_of_another_size(settings, monkeypatch):
    monkeypatch.setattr("utils.training.folder.default_threads", lambda processes: 12)
    RunFolder(settings()).save(STATE)
    monkeypatch.setattr("utils.training.folder.default_threads", lambda processes: 3)
    folder = RunFolder(settings())
    assert folder.settings.threads == 12
    folder.save(STATE)
    assert RunFolder(settings()).settings.threads == 12
    assert RunFolder(settings(threads=12)).settings.threads == 12
    assert "(threads 12 there, 3 here)" in refusal(settings(threads=3))
    assert RunFolder(settings(overwrite=1)).settings.threads == 3
