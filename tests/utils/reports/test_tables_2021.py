"""Tables of runs of the published code of 2021, and of this project before a key."""

import pytest

from tests.utils.reports.conftest import PUBLISHED, TWO, matrix, warnings
from utils.files import write_yaml
from utils.reports.paper_tables import PaperTables

# On each task after each, of three tasks of a repeat that forgets 56.2 points.
FORGETS = [[90.0, 60.0, 30.0], [0.0, 80.0, 27.6], [0.0, 0.0, 70.0]]


def rewrite(path, history, **more):
    content = {"mean": 0, "history": [[[value] for value in row] for row in history], **more}
    for name in ("pt", "pt-local"):
        write_yaml(path / "results-acc" / f"{name}.yaml", content)


@pytest.fixture
def three(leave):
    """A run of the first three of five tasks, whose pt.yaml has no key axes."""
    path = leave("a", [[[90.0], [60.0, 80.0], [30.0, 27.6, 70.0]]], max_task=3)
    rewrite(path, FORGETS)
    return path


def test_a_folder_of_the_published_code_is_read_as_what_it_is(three, as_published, records, tmp_path):
    as_published(three)
    write_yaml(three / "results-time" / "global.yaml", {"mean": [0.1] * 3, "history": [[0.1]] * 3})
    write_yaml(three / "results-mem" / "global.yaml", {"mean": [7] * 3, "history": [[7]] * 3})
    cell, = records(run="a", table=1)
    assert float(cell["forgetting"]) == pytest.approx((90 - 30 + 80 - 27.6) / 2) == pytest.approx(56.2)
    assert float(cell["accuracy"]) == pytest.approx((30 + 27.6 + 70) / 3)
    assert (cell["seconds"], cell["stored_values"]) == ("", "")
    assert warnings(tmp_path) == []
    assert "| a (2021 code) | ABD (Ours)" in PaperTables(tmp_path).show("markdown")


def test_an_unset_generator_and_dw_of_the_published_code_change_nothing(leave, as_published, records):
    for name, changes in (("base", {}), ("e2e", {"DW": True}), ("bic", {"DW": True})):
        path = leave(name, [matrix(5)], name)
        as_published(path, **changes)
        rewrite(path, [[0.0] * 5] * 5)
        assert records(run=name)[0]["protocol"] == "published protocol"


def test_a_run_of_before_the_key_is_read_by_its_absence(three, records):
    rewrite(three, [[90.0, float("nan"), float("nan")], [60.0, 80.0, float("nan")], [30.0, 27.6, 70.0]])
    assert float(records(run="a", table=1)[0]["forgetting"]) == pytest.approx(56.2)


def test_a_run_of_today_is_read_by_the_key(three, records):
    rewrite(three, FORGETS, axes=["on task", "after task", "repeat"])
    assert float(records(run="a", table=1)[0]["forgetting"]) == pytest.approx(56.2)


@pytest.mark.parametrize(("published", "history", "more", "expected"), [
    (False, FORGETS, {}, "has no key axes and is not as this project wrote before that key"),
    (True, [[90.0, float("nan"), float("nan")], [60.0, 80.0, float("nan")], [30.0, 27.6, 70.0]], {}, "is not as the published code wrote"),
    (True, [[90.0, 0.0, 0.0], [60.0, 80.0, 0.0], [30.0, 27.6, 70.0]], {}, "is not as the published code wrote"),
    (False, FORGETS, {"axes": ["after task", "on task", "repeat"]}, "has axes"), (False, FORGETS, {"axes": 3}, "has axes")])
def test_what_is_not_clear_is_left_out_in_one_line(three, as_published, records, tmp_path, published, history, more, expected):
    rewrite(three, history, **more)
    if published:
        as_published(three)
    assert (records(run="a", table=1)[0]["forgetting"], records(run="a", table=1)[0]["accuracy"][:4]) == ("", "42.5")
    line, = warnings(tmp_path)
    assert str(three / "results-acc" / "pt.yaml") in line and expected in line


@pytest.mark.parametrize("name", ["metrics.jsonl", "checkpoint.pt"])
def test_a_folder_with_files_of_both_is_named_and_left_out(three, as_published, records, tmp_path, name):
    as_published(three)
    (three / name).write_text("")
    assert records(run="a") == []
    line, = warnings(tmp_path)
    assert f"{three}: its args.yaml is none of this project's (no no_figures), its {name} is" in line


def test_repeats_that_are_under_way_side_by_side_are_no_runs_of_their_own(leave, records, tmp_path):
    leave("a", TWO[:1], repeat=2)
    leave("a/parallel/repeat-2", TWO[1:], repeat=2)
    line, = records(**PUBLISHED, table=1, method="ABD (Ours)", tasks=5)
    assert (line["run"], line["repeats"], warnings(tmp_path)) == ("a", "1", [])
