import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.utils.reports.conftest import measures
from utils.reports.final_screen import final_screen
from utils.settings import Settings
from utils.training.results import Results


@pytest.fixture
def results():
    """Two repeats of two tasks."""
    results = Results()
    for repeat, last in enumerate((30.0, 50.0)):
        results.add(repeat, measures([90.0]), 1000, 60.0)
        results.add(repeat, measures([last, 80.0]), 1234567, 3600.0)
    return results


@pytest.fixture
def another_python(monkeypatch):
    """The run's is not the one of .venv, which scripts take by themselves; tests may run with either."""
    monkeypatch.setattr(sys, "executable", "/opt/another python/bin/python3")


def next_command(script, folder):
    """In a shell anywhere, with this Python."""
    script = Path(__file__).resolve().parents[3] / "experiments" / script
    words = map(shlex.quote, (sys.executable, str(script), os.path.abspath(folder)))
    return "PYTHON={} sh {} {}".format(*words)


def test_it_has_the_matrix_time_memory_figures_the_next_commands_and_last_the_final_accuracy(
    results, another_python):
    assert final_screen(Settings(log_dir="outputs/five tasks/abd"), results) == [
        "",
        "accuracy in %, mean over 2 repeats",
        "after task  on 1  on 2",
        "1           90.0",
        "2           40.0  80.0",
        "",
        "trained:  2.0 h",
        "stored:   1,234,567 values: parameters of model and generator, pixels of the coreset",
        "figures:  outputs/five tasks/abd/figures",
        f"next:     {next_command('tables.sh', 'outputs/five tasks/abd')}",
        f"          {next_command('diagnose.sh', 'outputs/five tasks/abd')}",
        "final accuracy: 60.0 ± 7.1 % over 2 repeats (55.0, 65.0; ± is the sample's deviation, n-1)"]


@pytest.mark.parametrize(("changes", "folder"), [
    ({}, "outputs"), ({"task_sizes": [5] * 20}, "outputs"), (
        {"task_sizes": [50, *[10] * 5], "learner_name": "RFD"}, "outputs"),
    ({"task_sizes": [25] * 4}, "outputs/abd"), ({"dataset": "Digits"}, "outputs/abd"),
    ({"learner_name": "SharpLWF", "first_split_size": 7}, "outputs/abd")])
def test_tables_are_the_papers_where_they_have_a_cell_for_the_run(results, changes, folder, another_python):
    settings = Settings(**{
        "dataset": "CIFAR100", "first_split_size": 20, "other_split_size": 20, "log_dir": "outputs/abd",
        **changes})
    assert f"next:     {next_command('tables.sh', folder)}" in final_screen(settings, results)


def test_no_figures_and_nothing_to_diagnose_after_one_task():
    results = Results()
    results.add(0, measures([90.0]), 1000, 60.0)
    text = "\n".join(final_screen(Settings(no_figures=True, dataset="ImageNet"), results))
    assert "figures" not in text and "diagnose" not in text
    assert text.endswith("final accuracy: 90.0 % (top-5) over 1 repeat")


def test_twenty_tasks_fit_a_screen():
    results = Results()
    for task in range(20):
        results.add(0, measures([100.0] * (task + 1)), 1000, 60.0)
    lines = final_screen(Settings(), results)
    assert len(lines) < 40 and max(len(line) for line in lines if line[:2].strip().isdigit()) < 150


def test_tasks_of_unequal_size_end_with_both_accuracies_by_name():
    results, note = Results(), "± is the sample's deviation, n-1"
    for repeat in (0, 1):
        results.add(repeat, measures([60.0 + repeat, 80.0], [300, 100]), 1, 1.0)
    assert final_screen(Settings(), results)[-2:] == [
        f"final accuracy over images: 65.4 ± 0.5 % over 2 repeats (65.0, 65.8; {note})",
        f"final accuracy: 70.2 ± 0.4 % over 2 repeats (70.0, 70.5; {note}), mean of tasks"]


def test_accuracies_on_held_out_training_images_are_marked(results):
    lines = final_screen(Settings(validation=True), results)
    assert lines[1] == "accuracy in % (validation), mean over 2 repeats"
    assert lines[-1].startswith("final accuracy: 60.0 ± 7.1 % (validation) over 2 repeats")


def test_the_next_command_works_in_any_folder(copied, tmp_path, environment):
    """The last screen of a run in a folder with a space."""
    folder = copied("NormalNN").rename(tmp_path / "a run")
    results = Results()
    results.add(0, measures([90.0]), 1000, 60.0)
    lines = final_screen(Settings(dataset="Digits", log_dir=os.path.relpath(folder)), results)
    line, = (line.removeprefix("next:").strip() for line in lines if line.startswith("next:"))
    done = subprocess.run(
        ["sh", "-c", line], cwd="/", env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert "a run" in done.stdout


def test_the_environments_own_python_needs_no_naming(monkeypatch, results):
    monkeypatch.setattr(
        sys, "executable", str(Path(__file__).resolve().parents[3] / ".venv" / "bin" / "python"))
    assert not any("PYTHON=" in line for line in final_screen(Settings(), results))
