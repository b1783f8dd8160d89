import builtins
import json

import pytest

from utils.errors import UserError
from utils.reports.figures import accuracy_figure
from utils.reports.tensorboard import EventFiles, require_tensorboard

REASON = "the optional package tensorboard is not installed"


def epoch(repeat, task, number, loss):
    return {
        "repeat": repeat, "task": task, "stage": "learn", "epoch": number, "lr": 0.1,
        "losses": {"local": loss}, "seconds": 1.0}


def ended(repeat, task, *by_task):
    mean = sum(by_task) / len(by_task)
    more = {
        "accuracy_over_images": mean - 1, "old": by_task[0] if task > 1 else None, "new": by_task[-1],
        "top1": 11.0, "top5": 55.0, "ncm": 33.0}
    return {
        "repeat": repeat, "task": task, "accuracy": mean, "by_task": list(by_task),
        "by_task_local": list(by_task), "top_k": 5, **more}


@pytest.fixture
def write(tmp_path):
    """Makes these the records of the run in tmp_path."""

    def records(*lines):
        (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    return records


@pytest.fixture
def scalars(tmp_path):
    """What TensorBoard shows of a repeat: scalars(1) -> {tag: [(step, value)]}, and {figure: [step]}."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason=REASON)

    def read(repeat):
        events = accumulator.EventAccumulator(str(tmp_path / "tensorboard" / f"repeat-{repeat}"))
        events.Reload()
        shown = {tag: [event.step for event in events.Images(tag)] for tag in events.Tags()["images"]}
        return shown | {
            tag: [(event.step, pytest.approx(event.value)) for event in events.Scalars(tag)]
            for tag in events.Tags()["scalars"]}

    return read


def test_a_repeat_has_its_losses_rates_accuracies_and_figures(write, scalars, tmp_path):
    records = [
        epoch(1, 1, 1, 3.0), epoch(1, 1, 2, 2.0), ended(1, 1, 50.0), epoch(1, 2, 1, 1.0),
        ended(1, 2, 40.0, 60.0)]
    write()
    for repeat in (0, 1):
        events = EventFiles(tmp_path, repeat)
        for end in range(1, len(records) + 1) if repeat == 0 else ():
            write(*records[:end])
            events.follow()
        if repeat == 0:
            events.figure("accuracy", accuracy_figure([[50.0]], 2, "a title"), 1)
        else:
            write(*records, epoch(2, 1, 1, 7.0))
            events.follow()
        events.close()
    assert scalars(1) == {
        "learn/local": [(1, 3.0), (2, 2.0), (4, 1.0)], "learn/lr": [(1, 0.1), (2, 0.1), (4, 0.1)],
        "accuracy/mean of tasks (top-5)": [(1, 50.0), (2, 50.0)], "accuracy/over images (top-5)": [
            (1, 49.0), (2, 49.0)],
        "accuracy/old (top-5)": [(2, 40.0)], "accuracy/new (top-5)": [(1, 50.0), (2, 60.0)],
        "accuracy/top-1": [(1, 11.0), (2, 11.0)], "accuracy/top-5": [(1, 55.0), (2, 55.0)],
        "accuracy/nearest class mean (top-1)": [(1, 33.0), (2, 33.0)], "accuracy": [1],
        "accuracy/task 1 (top-5)": [(1, 50.0), (2, 40.0)], "accuracy/task 2 (top-5)": [(2, 60.0)]}
    assert scalars(2)["learn/local"] == [(1, 7.0)]


def test_what_a_stopped_run_wrote_after_its_checkpoint_is_not_shown_twice(write, scalars, tmp_path):
    kept = [epoch(1, 1, 1, 3.0), epoch(1, 1, 2, 2.0)]
    write(*kept, epoch(1, 1, 3, 9.0))
    first = EventFiles(tmp_path, 0)
    first.follow()
    first.close()
    write(*kept)  # the checkpoint is older than the third epoch
    again = EventFiles(tmp_path, 0)
    write(*kept, epoch(1, 1, 3, 1.0))
    again.follow()
    again.close()
    assert scalars(1)["learn/local"] == [(1, 3.0), (2, 2.0), (3, 1.0)]


def test_a_full_disk_is_no_error_of_closing(monkeypatch, write, scalars, tmp_path):
    """It has ended the run already, whose line it must not replace."""
    write()
    events = EventFiles(tmp_path, 0)

    def full():
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(events.writer, "close", full)
    events.close()


def test_a_run_leaves_events_of_every_epoch(trainer, scalars, tmp_path):
    pytest.importorskip("tensorboard", reason=REASON)
    trainer(tmp_path, "NormalNN", "--tensorboard", "--validation", "--no_figures", 0).run()
    shown = scalars(1)
    assert [step for step, _ in shown["learn/classification"]] == [1, 2, 4, 5]
    assert [
        step for step,
        _ in shown[
            "validation accuracy/mean of tasks (top-1)"]] == shown["accuracy"] == shown["losses"] == [1, 2]


@pytest.fixture
def missing(monkeypatch):
    """As where tensorboard is not installed."""
    real = builtins.__import__

    def without(name, *arguments, **more):
        if name.startswith(("tensorboard", "torch.utils.tensorboard")):
            raise ModuleNotFoundError("No module named 'tensorboard'")
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)


def test_a_missing_package_is_named_with_the_remedy(missing):
    with pytest.raises(
        UserError,
        match="--tensorboard: No module named 'tensorboard'; sh install_requirements.sh tensorboard"):
        require_tensorboard()


def test_a_missing_package_is_found_before_any_work(missing, tiny, tmp_path):
    from run import main

    with pytest.raises(UserError, match="--tensorboard.*install_requirements.sh tensorboard"):
        main(tiny("NormalNN", "--tensorboard", "--log_dir", tmp_path / "run"))
    assert not (tmp_path / "run").exists()
