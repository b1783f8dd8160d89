import builtins

import pytest

from utils.errors import UserError
from utils.reports.tensorboard import TensorBoard, require_tensorboard
from utils.training.listeners import Listener

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

    board = TensorBoard(None)
    board.writer = Writer()
    board.close()


def test_a_missing_package_is_found_before_any_work(monkeypatch, tiny, tmp_path):
    from run import main

    real = builtins.__import__

    def without(name, *arguments, **more):
        if name.startswith(("tensorboard", "torch.utils.tensorboard")):
            raise ModuleNotFoundError("No module named 'tensorboard'")
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    expected = "--tensorboard: No module named 'tensorboard'; sh install_requirements.sh dev"
    for start in (require_tensorboard, lambda: main(tiny(*FLAGS[:2], "--log_dir", tmp_path / "run"))):
        with pytest.raises(UserError, match=expected):
            start()
    assert not (tmp_path / "run").exists()
