import sys

import pytest

from utils.reports.final_screen import final_screen
from utils.settings import Settings
from utils.training.measures import Measures
from utils.training.metrics import Results


@pytest.fixture
def results():
    """Two repeats of two tasks."""
    results = Results()
    for repeat, last in enumerate((30.0, 50.0)):
        results.add(repeat, Measures([90.0], [90.0]), 1000, 60.0)
        results.add(repeat, Measures([last, 80.0], [90.0, 80.0]), 1234567, 3600.0)
    return results


def test_it_has_the_matrix_time_memory_figures_the_next_commands_and_last_the_final_accuracy(results):
    assert final_screen(Settings(log_dir="outputs/five tasks/abd"), results, "%") == [
        "",
        "accuracy in %, mean over 2 repeats",
        "after task  on 1  on 2",
        "1           90.0",
        "2           40.0  80.0",
        "",
        "trained:  2.0 h",
        "stored:   1,234,567 values: parameters of model and generator, pixels of the coreset",
        "figures:  outputs/five tasks/abd/figures",
        "next:     sh experiments/tables.sh 'outputs/five tasks/abd'",
        f"          {sys.executable} -m utils.reports.diagnose 'outputs/five tasks/abd'",
        "final accuracy: 60.0 ± 5.0 % over 2 repeats (55.0, 65.0)"]


@pytest.mark.parametrize(("dataset", "tasks", "folder"), [
    ("CIFAR100", 5, "outputs"), ("CIFAR100", 20, "outputs"), ("CIFAR100", 4, "outputs/abd"), ("Digits", 5, "outputs/abd")])
def test_tables_are_the_papers_where_it_has_a_column_for_the_run(dataset, tasks, folder):
    results = Results()
    for task in range(tasks):
        results.add(0, Measures([50.0] * (task + 1), [50.0] * (task + 1)), 1, 1.0)
    assert f"next:     sh experiments/tables.sh {folder}" in final_screen(Settings(dataset=dataset, log_dir="outputs/abd"), results, "%")


def test_times_are_on_no_line_about_accuracy(results):
    """tests/kill.py compares those of runs that took more and less time."""
    slower = Results({**results.state_dict(), "seconds": [[1e4, 1e5]] * 2})
    screens = [final_screen(Settings(), one, "%") for one in (results, slower)]
    differing = [line for line, other in zip(*screens) if line != other]
    assert len(differing) == 1 and "accuracy" not in differing[0]


def test_no_figures_and_nothing_to_diagnose_after_one_task():
    results = Results()
    results.add(0, Measures([90.0], [90.0]), 1000, 60.0)
    text = "\n".join(final_screen(Settings(no_figures=True), results, "% (top-5)"))
    assert "figures" not in text and "diagnose" not in text
    assert text.endswith("final accuracy: 90.0 % (top-5) over 1 repeat")


def test_twenty_tasks_fit_a_screen():
    results = Results()
    for task in range(20):
        results.add(0, Measures([100.0] * (task + 1), [100.0] * (task + 1)), 1000, 60.0)
    lines = final_screen(Settings(), results, "%")
    assert len(lines) < 40 and max(len(line) for line in lines if line[:2].strip().isdigit()) < 150


def test_tasks_of_unequal_size_end_with_both_accuracies_by_name():
    results = Results()
    for repeat in (0, 1):
        results.add(repeat, Measures([60.0 + repeat, 80.0], [0.0] * 2, [300, 100]), 1, 1.0)
    assert final_screen(Settings(), results, "%")[-2:] == [
        "final accuracy over images: 65.4 ± 0.4 % over 2 repeats (65.0, 65.8)",
        "final accuracy: 70.2 ± 0.2 % over 2 repeats (70.0, 70.5), mean of tasks"]
