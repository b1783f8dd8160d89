import csv
import io
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.utils.reports.conftest import PUBLISHED, TWO
from utils.errors import UserError
from utils.reports.paper import SPLITS, TABLES
from utils.reports.paper_tables import PaperTables
from utils.reports.tables import accuracy_table, main
from utils.training.measures import Measures
from utils.training.metrics import Results

# Forms


def test_text_has_its_columns_under_each_other(leave, tmp_path):
    leave("a", TWO, repeat=2)
    title, _, heading, *lines = PaperTables(tmp_path).show().splitlines()
    assert title == "Table 1, no coreset; published protocol"
    ours = lines[[line.split("  ")[0] for line in lines].index("ABD (Ours)")]
    for name, value in (("5 tasks", "55.0 ± 5.0"), ("repeats", "2"), ("paper", "43.9 ± 0.9"), ("difference", "+11.1")):
        end = heading.index(name) + len(name)
        assert ours[:end].endswith(value)


def test_one_repeat_has_no_deviation_but_in_csv_and_beside_the_papers(leave, records, tmp_path):
    leave("a", TWO[:1], repeat=1)
    text = PaperTables(tmp_path).show("markdown")
    assert "| ABD (Ours) | 60.0 | 1 | 43.9 ± 0.9 | +16.1 |" in text
    assert "| a | ABD (Ours) | 5 | 70.0 | 25.0 |  | 5.0 h | 1,000 |" in text
    assert records(**PUBLISHED, table=1, method="ABD (Ours)", tasks=5)[0]["accuracy_std"] == "0.000000"
    assert accuracy_table([tmp_path / "a"], "text", []).splitlines()[1].split()[-3:] == ["60.0", "70.0", "1"]


def test_markdown_is_tables_of_equally_many_cells(leave, tmp_path):
    leave("a|b", TWO, repeat=2)
    text = PaperTables(tmp_path).show("markdown").replace("a\\|b", "a-b")
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert [block[1] for block in blocks] == ["|" + " --- |" * (block[0].count("|") - 1) for block in blocks]
    assert all(line.count("|") == block[0].count("|") for block in blocks for line in block)
    assert "| ABD (Ours) | 55.0 ± 5.0 | 2 | 43.9 ± 0.9 | +11.1 |" in text
    assert "| a-b | ABD (Ours) | 5 | 70.0 ± 0.0 | 37.5 ± 12.5 |  | 5.0 h | 1,000 |" in text


def test_csv_has_every_column_on_every_line(leave, tmp_path):
    leave('comma, "quote"', TWO)
    heading, *lines = csv.reader(io.StringIO(PaperTables(tmp_path).show("csv")))
    assert {len(line) for line in lines} == {len(heading)}
    assert len(set(heading)) == len(heading)
    assert sum('comma, "quote"' in line for line in lines) == 2


def test_the_papers_numbers_are_those_of_its_tables():
    assert {method.name: [method.numbers[split][0] for split in SPLITS] for method in TABLES[2][1]} == {
        "UB": [69.9] * 3, "Naive Rehearsal": [34.0, 24.0, 14.9], "LwF (coreset)": [39.4, 27.4, 16.6], "E2E": [47.4, 38.4, 32.7],
        "BiC": [53.7, 45.9, 37.5], "ABD (Ours)": [43.9, 33.7, 20.0]}
    assert [method.numbers.get(20) for method in TABLES[1][1]] == [
        (69.9, 0.2), (4.4, 0.3), (4.7, 0.1), (7.7, 0.5), (4.1, 0.3), (5.7, 0.3), None, (20.0, 1.4), None, None, None]


# Side by side


@pytest.fixture
def runs(tmp_path):
    """Two finished repeats of three tasks, and one repeat in its second task."""
    finished, stopped = Results(), Results()
    for repeat in (0, 1):
        for task in (0, 1, 2):
            finished.add(repeat, Measures([90.0 - 20 * task + 2 * repeat] * (task + 1), [0.0] * (task + 1)), 1, 1.0)
    stopped.add(0, Measures([71.0], [71.0]), 1, 1.0)
    finished.save(tmp_path / "abd", 3)
    stopped.save(tmp_path / "base", 3)
    return [tmp_path / "abd", tmp_path / "base"]


def test_a_table_shows_accuracy_after_each_task_and_the_final_one(runs):
    _, line, _ = accuracy_table(runs, "text", []).splitlines()
    assert line.split() == ["abd", "91.0", "71.0", "51.0", "51.0", "±", "1.0", "71.0", "±", "1.0", "2"]


def test_a_run_that_has_not_ended_shows_what_it_has(runs):
    line = accuracy_table(runs, "text", []).splitlines()[2]
    assert line.split() == "base 71.0 0 + 1 unfinished (task 2/3)".split()


def test_columns_lie_under_each_other(runs):
    heading, *lines = accuracy_table(runs, "text", []).splitlines()
    assert [line.index("91.0") + 4 for line in lines[:1]] == [heading.index(" 1 ") + 2]
    assert lines[1].index("71.0") == lines[0].index("91.0")


def test_side_by_side_has_the_other_forms_too(runs):
    assert accuracy_table(runs, "csv", []).splitlines()[1] == "abd,91.0,71.0,51.0,51.0 ± 1.0,71.0 ± 1.0,,,2"
    assert accuracy_table(runs, "markdown", []).splitlines()[1:3] == [
        "|" + " --- |" * 7, "| abd | 91.0 | 71.0 | 51.0 | 51.0 ± 1.0 | 71.0 ± 1.0 | 2 |"]


def test_a_folder_that_is_no_run_is_named(runs, tmp_path):
    with pytest.raises(UserError, match="nothing: is no run"):
        accuracy_table([*runs, tmp_path / "nothing"], "text", [])


def test_runs_of_one_name_are_told_apart_by_their_paths_and_this_folder_has_a_name(runs, tmp_path, monkeypatch):
    shutil.copytree(runs[1], tmp_path / "again" / "base")
    monkeypatch.chdir(tmp_path / "base")

    def names(*paths):
        return [line.split(",")[0] for line in accuracy_table(list(map(Path, paths)), "csv", []).splitlines()[1:]]

    assert names("../abd", ".") == ["abd", "base"]
    assert names(".", "../again/base", "../abd") == [".", "../again/base", "../abd"]


@pytest.mark.parametrize(("part", "content", "warning", "row"), [
    ("results-acc/global.yaml", None, "base: has not finished its first task", "base,,,,,,,,"),
    ("results-acc/global.yaml", "history: [", "global.yaml cannot be read", "base,,,,,,,,"),
    ("results-acc/over-images.yaml", "history: 3", "over-images.yaml holds no numbers", "base,71.0,,,,,,,0 + 1 unfinished (task 2/3)"),
    ("args.yaml", "- 1", "args.yaml cannot be read", "base,71.0,,,,,,,0 + 1 unfinished (task 2/3)")])
def test_what_cannot_be_read_of_a_run_is_a_warning_and_the_others_are_shown(runs, capsys, part, content, warning, row):
    (runs[1] / part).unlink(missing_ok=True)
    if content:
        (runs[1] / part).write_text(content)
    assert main([*map(str, runs), "--csv"]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[1:] == ["abd,91.0,71.0,51.0,51.0 ± 1.0,71.0 ± 1.0,,,2", row]
    line, = printed.err.splitlines()
    assert warning in line and str(runs[1]) in line


def test_settings_that_say_nothing_of_the_classes_are_those_of_all(runs):
    (runs[0] / "args.yaml").write_text("imagenet_classes: null\nincomplete_data: true\n")
    warnings = []
    assert accuracy_table(runs, "csv", warnings).splitlines()[1].startswith('"abd, incomplete data"') and warnings == []


# Tasks of unequal size


def test_side_by_side_has_both_kinds_of_accuracy_where_tasks_are_uneven(tmp_path):
    for name, counts in (("even", [100, 100]), ("uneven", [300, 100])):
        results = Results()
        for repeat in (0, 1):
            results.add(repeat, Measures([80.0 + repeat], [0.0], counts[:1]), 1, 1.0)
            results.add(repeat, Measures([60.0, 20.0], [0.0] * 2, counts), 1, 1.0)
        results.save(tmp_path / name, 2)
    assert accuracy_table([tmp_path / "uneven", tmp_path / "even"], "markdown", []).splitlines() == [
        "| accuracy (%) after task | 1 | 2 | final | average | final, over images | average, over images | repeats |", "|" + " --- |" * 8,
        "| uneven | 80.5 | 40.0 | 40.0 ± 0.0 | 60.2 ± 0.2 | 50.0 ± 0.0 | 65.2 ± 0.2 | 2 |",
        "| even | 80.5 | 40.0 | 40.0 ± 0.0 | 60.2 ± 0.2 | 40.0 ± 0.0 | 60.2 ± 0.2 | 2 |"]
    assert "over images" not in accuracy_table([tmp_path / "even"], "text", [])
    assert "over images" in accuracy_table([tmp_path / "even"], "csv", [])
    (tmp_path / "even" / "results-acc" / "over-images.yaml").unlink()  # a run from before
    assert "over images" not in accuracy_table([tmp_path / "even"], "text", [])
    assert accuracy_table([tmp_path / "uneven", tmp_path / "even"], "markdown", []).splitlines()[3].endswith("| 60.2 ± 0.2 |  |  | 2 |")


# The command


def test_runs_are_set_side_by_side_and_a_folder_of_runs_gives_the_tables(runs, tmp_path, capsys):
    assert main([str(run) for run in runs]) == main([str(runs[0])]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["accuracy", "abd", "base", "accuracy", "abd"]
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("Table 1")


def test_a_run_in_the_folder_of_runs_hides_none_from_a_folder_below_and_is_said_to_hide_them_from_its_own(leave, tmp_path, capsys):
    leave("outputs/laptop/abd", TWO)
    leave("outputs", TWO[:1], "base")
    assert main([str(tmp_path / "outputs" / "laptop"), "--csv"]) == 0
    printed = capsys.readouterr()
    assert "55.000000" in printed.out and printed.err == ""
    assert main([str(tmp_path / "outputs")]) == 0
    line, = capsys.readouterr().err.splitlines()
    assert f"{tmp_path / 'outputs'}: is itself a run" in line and str(tmp_path / "outputs" / "laptop" / "abd") in line
    assert main([str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert "outputs/laptop/abd" in printed.out and printed.err == ""


def test_outputs_is_where_runs_are_sought_by_itself(leave, tmp_path, monkeypatch, capsys):
    leave("outputs/a", TWO)
    monkeypatch.chdir(tmp_path)
    assert main(["--csv"]) == 0
    assert "55.000000" in capsys.readouterr().out


def test_warnings_stay_out_of_the_tables(leave, tmp_path, capsys):
    (leave("a", TWO) / "args.yaml").write_text("[")
    assert main([str(tmp_path), "--csv"]) == 0
    printed = capsys.readouterr()
    assert printed.err == f"utils.reports.tables: {tmp_path / 'a' / 'args.yaml'} cannot be read (ParserError)\n"
    assert "args.yaml" not in printed.out


@pytest.mark.parametrize("arguments", [["nowhere"], ["--html"], [".", "--csv", "--markdown"], [".", "."]])
def test_wrong_input_is_one_line_and_status_2(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    line, = printed.err.splitlines()
    assert line.startswith("utils.reports.tables: ")


def test_the_command_as_a_user_starts_it(root, tmp_path, environment):
    done = subprocess.run(
        ["sh", str(root / "experiments" / "tables.sh"), str(tmp_path), "--markdown"],
        cwd=tmp_path, env={**environment, "PYTHON": sys.executable}, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr.splitlines()) == (
        0, [f"utils.reports.tables: {tmp_path}: holds no runs, so the tables show the paper's numbers alone"])
    assert done.stdout.startswith("### Table 1")
