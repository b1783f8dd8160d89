import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.utils.reports.conftest import measures
from utils.reports.final_screen import ROOT, command, final_screen
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


def test_it_has_measures_time_memory_the_next_commands_and_last_the_final_accuracy(
        results, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/opt/another python/bin/python3")
    script = shlex.quote(str(ROOT / "experiments"))
    start = f"PYTHON='/opt/another python/bin/python3' sh {script}"
    folder = os.path.abspath("outputs/five tasks")
    assert final_screen(Settings(log_dir="outputs/five tasks/abd"), results) == [
        "",
        "after the last task, in %, mean over 2 repeats",
        "average incremental:  75.0 ± 3.5",
        "forgetting:           50.0 ± 14.1",
        "backward transfer:    -50.0 ± 14.1",
        "task-incremental:     60.0 ± 7.1",
        "old:                  40.0 ± 14.1",
        "new:                  80.0 ± 0.0",
        "nearest class mean:   0.0 ± 0.0",
        "trained:              2.0 h",
        "stored:               1,234,567 parameters and pixels of the coreset",
        "figures:              outputs/five tasks/abd/figures",
        f"next:                 {start}/tables.sh '{folder}/abd'",
        f"                      {start}/diagnose.sh '{folder}/abd'",
        "final accuracy: 60.0 ± 7.1 % over 2 repeats (55.0, 65.0; ± is the sample's deviation, n-1)"]


def test_one_task_has_nothing_to_forget_and_a_run_without_figures_names_none():
    results = Results()
    results.add(0, measures([90.0]), 1000, 60.0)
    text = "\n".join(final_screen(Settings(no_figures=True, dataset="ImageNet"), results))
    assert not any(word in text for word in ("figures:", "diagnose", "forgetting"))
    assert text.endswith("final accuracy: 90.0 % (top-5) over 1 repeat")


def test_tasks_of_unequal_size_and_validation_are_said():
    results, note = Results(), "± is the sample's deviation, n-1"
    for repeat in (0, 1):
        results.add(repeat, measures([90.0], [300]), 1, 1.0)
        results.add(repeat, measures([60.0 + repeat, 80.0], [300, 100]), 1, 1.0)
    assert final_screen(Settings(), results)[-2:] == [
        f"final accuracy over images: 65.4 ± 0.5 % over 2 repeats (65.0, 65.8; {note})",
        f"final accuracy: 70.2 ± 0.4 % over 2 repeats (70.0, 70.5; {note}), mean of tasks"]
    lines = final_screen(Settings(validation=True), results)
    assert all("% (validation)" in lines[place] for place in (1, -2, -1))


def test_the_next_command_works_in_any_folder(copied, tmp_path, environment, monkeypatch):
    folder = copied("NormalNN").rename(tmp_path / "a run")
    line = command("tables.sh", folder)
    done = subprocess.run(
        ["sh", "-c", line], cwd="/", env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "") and "Base" in done.stdout
    monkeypatch.setattr(sys, "executable", str(Path(ROOT) / ".venv" / "bin" / "python"))
    assert "PYTHON=" not in command("tables.sh", folder)
