"""What a checkpoint holds, and from which of them a run is resumed."""

import pytest
import torch

from learners import build_learner
from utils.errors import RunError, UserError
from utils.files import read_tensors
from utils.settings import Settings
from utils.training.log import Log
from utils.training.state import Place, RunState

CPU = torch.device("cpu")


@pytest.fixture
def saved(finished):
    """A checkpoint, within the second task's first stage."""
    state = read_tensors(finished("NormalNN") / "checkpoint.pt")
    return {**state, "place": {"repeat": 0, "task": 1, "stage": 0, "epoch": 1}}


@pytest.fixture
def state(tmp_path):
    return RunState(Settings(dataset="Digits", model_name="resnet8", log_dir="outputs/x"), "", CPU, Log(tmp_path))


def load(state, saved):
    state.load_state_dict(saved)
    state.start_repeat([], build_learner(state.settings, state.streams, CPU, 0))


def test_a_run_that_begins_with_a_later_repeat_saves_what_every_run_saves(saved):
    before = RunState.before(2, CPU)
    assert before.keys() == saved.keys() - {"settings"}
    assert before["place"] == {"repeat": 2, "task": 0, "stage": 0, "epoch": 0}
    assert before["results"].keys() == saved["results"].keys() and all(values == [[], []] for values in before["results"].values())


def test_what_is_loaded_is_what_is_saved_again(state, saved):
    load(state, saved)
    assert state.resumed and state.place == Place(0, 1, 0, 1)
    again = state.state_dict()
    assert {name: again[name] for name in ("place", "device", "seconds")} == {name: saved[name] for name in ("place", "device", "seconds")}
    assert all(torch.equal(again["learner"][name], value) for name, value in saved["learner"].items())
    assert all(torch.equal(again["streams"][name], value) for name, value in saved["streams"].items())
    assert again["results"]["matrix"] == saved["results"]["matrix"]


def test_a_new_repeat_loads_no_networks(state, saved):
    load(state, {**saved, "place": {"repeat": 1, "task": 0, "stage": 0, "epoch": 0}, "learner": {}, "streams": {}})
    assert not state.resumed and state.streams.place == (1, 0) and state.seconds == 0


def test_a_learner_of_another_version_is_refused_in_one_line(state, saved):
    saved["learner"].popitem()
    with pytest.raises(RunError, match="another version of NormalNN") as error:
        load(state, saved)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("lost", ["place", "device", "learner", "optimizers", "streams", "results", "seconds", "log"])
def test_a_checkpoint_of_another_version_of_the_code_is_refused(state, saved, lost):
    RunState.check(saved, state.settings, saved["data"], CPU)
    del saved[lost]
    with pytest.raises(UserError, match="--log_dir outputs/x: its checkpoint is of another version"):
        RunState.check(saved, state.settings, saved["data"], CPU)


def test_another_device_is_refused_within_a_repeat_alone(state, saved):
    RunState.check({**saved, "device": "cuda", "place": {"repeat": 1, "task": 0, "stage": 0, "epoch": 0}}, state.settings, saved["data"], CPU)
    with pytest.raises(UserError, match="--gpuid: .* under way on cuda, this would resume it on cpu"):
        RunState.check({**saved, "device": "cuda"}, state.settings, saved["data"], CPU)


def test_a_run_whose_data_have_changed_is_refused(state, saved):
    with pytest.raises(UserError, match="^--dataroot data: Digits has changed since the run in --log_dir outputs/x began"):
        RunState.check(saved, state.settings, "another", CPU)
    for known in ({**saved, "data": ""}, {name: value for name, value in saved.items() if name != "data"}):  # not known
        RunState.check(known, state.settings, "another", CPU)
