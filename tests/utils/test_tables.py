import subprocess
import sys

import pytest

from utils.errors import UserError
from utils.metrics import Results
from utils.tables import accuracy_table


@pytest.fixture
def runs(tmp_path):
    """Two finished repeats of three tasks, and one repeat in its second task."""
    finished, stopped = Results(), Results()
    for repeat in (0, 1):
        for task in (0, 1, 2):
            finished.add(repeat, [90.0 - 20 * task + 2 * repeat] * (task + 1), [0.0] * (task + 1), 1, 1.0)
    stopped.add(0, [71.0], [71.0], 1, 1.0)
    finished.save(tmp_path / "abd", 3)
    stopped.save(tmp_path / "base", 3)
    return [tmp_path / "abd", tmp_path / "base"]


def test_a_table_shows_accuracy_after_each_task_and_the_final_one(runs):
    _, line, _ = accuracy_table(runs).splitlines()
    assert line.split() == ["abd", "91.0", "71.0", "51.0", "51.0", "±", "1.0", "2"]


def test_a_run_that_has_not_ended_shows_what_it_has(runs):
    line = accuracy_table(runs).splitlines()[2]
    assert line.split() == ["base", "71.0", "0"]


def test_columns_lie_under_each_other(runs):
    heading, *lines = accuracy_table(runs).splitlines()
    assert [line.index("91.0") + 4 for line in lines[:1]] == [heading.index(" 1 ") + 2]
    assert lines[1].index("71.0") == lines[0].index("91.0")


def test_a_folder_without_results_is_named(tmp_path):
    with pytest.raises(UserError, match="nothing.*global.yaml"):
        accuracy_table([tmp_path / "nothing"])


def test_the_command_prints_one_line_for_a_folder_without_results(root, tmp_path, environment):
    done = subprocess.run(
        [sys.executable, "-m", "utils.tables", str(tmp_path)], cwd=root, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert done.stderr.startswith("utils.tables: ")
    assert len(done.stderr.splitlines()) == 1
