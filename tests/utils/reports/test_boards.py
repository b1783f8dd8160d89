import sys
from types import SimpleNamespace

import pytest

from utils.errors import UserError
from utils.reports.boards import TensorBoard
from utils.training.listeners import Listener

WANDB = ("NormalNN", "--wandb", "mine", "--no_figures")
FLAGS = ("NormalNN", "--tensorboard", "--no_figures", 0)


@pytest.fixture
def scalars(tmp_path):
    """What TensorBoard shows of the first repeat: scalars() -> {tag: [(step, value)]}, {figure: [step]}."""
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not installed")

    def read():
        events = accumulator.EventAccumulator(str(tmp_path / "tensorboard" / "repeat-1"))
        events.Reload()
        return {tag: [event.step for event in events.Images(tag)] for tag in events.Tags()["images"]} | {
            tag: [(event.step, event.value) for event in events.Scalars(tag)]
            for tag in events.Tags()["scalars"]}

    return read


def test_a_stopped_and_resumed_run_has_each_loss_accuracy_and_figure_once(trainer, scalars, tmp_path):
    class Stop(Listener):
        def epoch_ended(self, run, *_):
            if (run.place.task, run.place.epoch) == (1, 1):
                raise KeyboardInterrupt  # the second epoch of the second task comes after the checkpoint

    stopped = trainer(tmp_path, *FLAGS)
    stopped.listeners.append(Stop())
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    results = trainer(tmp_path, *FLAGS).run()
    shown = scalars()
    assert [step for step, _ in shown["learn/classification"]] == [1, 2, 4, 5]
    assert [step for step, _ in shown["learn/lr"]] == [1, 2, 4, 5]
    expected = enumerate(results.history("accuracy")[0], 1)
    assert shown["accuracy/accuracy"] == [(task, pytest.approx(value)) for task, value in expected]
    assert [step for step, _ in shown["accuracy/forgetting"]] == [2] == shown["confusion"]
    assert [step for step, _ in shown["accuracy/task 1"]] == [1, 2] == shown["losses"]


def test_a_full_disk_is_no_error_of_closing(monkeypatch):
    """It has ended the run already, whose line it must not replace."""
    class Writer:
        def close(self):
            raise OSError(28, "No space left on device")

    board = TensorBoard()
    board.writer = Writer()
    board.close()


@pytest.mark.parametrize(("flag", "module", "remedy"), [
    ("--tensorboard", "tensorboard", "sh install_requirements.sh dev"),
    ("--wandb", "wandb", "pip install wandb")])
def test_a_missing_package_is_found_before_any_work(monkeypatch, tiny, tmp_path, flag, module, remedy):
    from run import main

    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    more = [flag, "mine"] if flag == "--wandb" else [flag]
    with pytest.raises(UserError, match=f"{flag}: .*{module}.*; {remedy}"):
        main(tiny("NormalNN", *more, "--log_dir", tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_stopped_and_resumed_run_is_one_run_at_weights_and_biases(trainer, tmp_path, monkeypatch):
    runs = []

    def init(**facts):
        runs.append(SimpleNamespace(**facts, logged=[]))
        runs[-1].log = lambda values, step: runs[-1].logged.append((step, values))
        return runs[-1]

    class Stop(Listener):
        def task_ended(self, run):
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    stopped = trainer(tmp_path, *WANDB)
    stopped.listeners.append(Stop())
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    results = trainer(tmp_path, *WANDB).run()
    first, second = runs
    assert first.id == second.id and first.project == "mine" and first.config["learner_name"] == "NormalNN"
    steps = [[step for step, _ in each.logged] for each in runs]
    assert steps == [[1, 2, 3], [3, 4, 5, 6]]
    assert set(second.logged[1][1]) == {"learn/classification", "learn/lr"}
    assert second.logged[-1][1]["accuracy/accuracy"] == results.history("accuracy")[0][-1]
    assert second.logged[-1][1]["task"] == 2 and "accuracy/old" not in second.logged[0][1]
