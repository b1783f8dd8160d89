"""Tables of runs whose files or repeats are missing or damaged."""

import pytest

from tests.utils.reports.conftest import TWO, matrix, warnings
from utils.reports.paper import SPLITS, TABLES
from utils.reports.paper_tables import PaperTables


def test_a_folder_without_runs_gives_both_tables_of_the_papers_numbers_alone(tmp_path, records):
    cells = records()
    assert len(cells) == sum(len(TABLES[number][1]) for number in (1, 2)) * len(SPLITS)
    assert {cell[name] for cell in cells for name in ("accuracy", "difference", "repeats", "run", "forgetting", "seconds")} == {""}
    assert [cell["paper"] for cell in cells if cell["method"] == "LwF-Synthetic"] == ["", "", ""]
    warning, = warnings(tmp_path)
    assert str(tmp_path) in warning and "holds no runs" in warning


def test_a_repeat_that_has_not_finished_is_marked_and_in_no_mean(leave, records, tmp_path):
    leave("a", [*TWO, matrix(5, 10.0, done=2)])
    cell, = records(table=1, method="ABD (Ours)", tasks=5)
    assert (float(cell["accuracy"]), cell["repeats"], cell["unfinished"]) == (55.0, "2", "task 3/5")
    assert (float(cell["forgetting"]), float(cell["seconds"])) == (37.5, 5 * 3600)
    assert "2 + 1 unfinished (task 3/5)" in PaperTables(tmp_path).show()


@pytest.mark.parametrize(("matrices", "repeats", "place"), [([], "0", "task 1/5"), (TWO, "2", "task 1/5"), ([*TWO, matrix(5)], "3", "")])
def test_a_repeat_without_results_yet_is_marked_where_it_is_wanted(leave, records, matrices, repeats, place):
    leave("a", matrices, repeat=3)
    cell, = records(table=1, method="ABD (Ours)", tasks=5)
    assert (cell["repeats"], cell["unfinished"]) == (repeats, place)


@pytest.mark.parametrize(("part", "lost"), [
    ("results-acc/pt.yaml", "forgetting"), ("results-time/global.yaml", "seconds"), ("results-mem/global.yaml", "stored_values")])
def test_a_missing_part_of_the_results_is_an_empty_cell(leave, records, tmp_path, part, lost):
    (leave("a", TWO) / part).unlink()
    cell, = records(table=1, method="ABD (Ours)", tasks=5)
    assert [name for name in ("accuracy", "forgetting", "seconds", "stored_values") if not cell[name]] == [lost]
    assert warnings(tmp_path) == []


DAMAGED = ["", "[1, 2", "text", "- 1", "history: [[1.0, 2.0], [3.0]]", "history: [[a, b]]", "history: 3", "history: {a: 1}", "mean: [1]", "\x00"]


@pytest.mark.parametrize("content", DAMAGED)
@pytest.mark.parametrize(("part", "shown"), [
    ("args.yaml", ""), ("results-acc/global.yaml", ""), ("results-acc/pt.yaml", "55.000000"), ("results-time/global.yaml", "55.000000")])
def test_a_damaged_file_is_one_line_that_names_it_and_the_rest_is_shown(leave, records, tmp_path, part, shown, content):
    leave("whole", [matrix(5)], "base")
    path = leave("damaged", TWO) / part
    path.write_text(content)
    warning, = warnings(tmp_path)
    assert str(path) in warning
    assert "\n" not in warning
    assert records(method="Base", tasks=5)[0]["accuracy"] == "60.000000"
    assert records(table=1, method="ABD (Ours)", tasks=5)[0]["accuracy"] == shown


def test_settings_not_written_to_their_end_are_one_line(leave, tmp_path):
    path = leave("a", TWO) / "args.yaml"
    lines = path.read_text().splitlines(keepends=True)
    for count in range(1, next(place for place, line in enumerate(lines) if line.startswith("repeat:"))):
        path.write_text("".join(lines[:count]))
        tables = PaperTables(tmp_path)
        text, (warning,) = tables.show(), tables.warnings
        assert f"{path} lacks" in warning
        assert "55.0" not in text


def test_settings_of_another_kind_are_one_line(leave, tmp_path):
    path = leave("a", TWO, repeat="three") / "args.yaml"
    assert warnings(tmp_path) == [f"{path}: repeat 'three' is not a whole number"]


def test_results_of_other_tasks_than_the_settings_are_not_shown(leave, records, tmp_path):
    path = leave("a", TWO)
    leave("a", [], first_split_size=10, other_split_size=10)
    assert [cell["accuracy"] for cell in records(table=1, method="ABD (Ours)")] == ["", "", ""]
    assert warnings(tmp_path)[0] == f"{path / 'results-acc/global.yaml'} is not about 10 tasks, as args.yaml is"
