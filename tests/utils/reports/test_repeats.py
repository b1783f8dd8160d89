"""Which runs are repeats of one another, and what of runs is read."""

import pytest

from tests.utils.reports.conftest import TWO, matrix
from utils.reports.runs import Stat, names_of, read_runs
from utils.settings import NOT_IN_RESULTS


@pytest.fixture
def merge(leave, tmp_path):
    """The runs in folders as reports see them: merge(name, ...) -> ([run], [warning])."""
    def read(*names):
        warnings = []
        return read_runs([tmp_path / name for name in names], names, warnings), warnings

    return read


def test_deviation_is_the_samples_beside_the_populations_and_none_of_one_repeat():
    assert Stat.of([50.0, 60.0, float("nan")]) == pytest.approx((55.0, 50**0.5, 5.0))
    assert str(Stat.of([50.0])) == str(Stat(50.0))


def test_runs_that_differ_in_nothing_but_their_seed_are_one_row(leave, rows, tmp_path):
    for seed, content in enumerate((*TWO, matrix(5, 100.0))):
        leave(f"abd/seed-{seed}", [content], repeat=1, seed=seed, gpuid=[seed], workers=seed)
    row, = rows()
    assert (row["run"], row["repeats"], row["final"]) == ("seed-{0,1,2}", "3", "63.3 ± 15.3")


def test_settings_that_do_not_change_results_make_no_row(leave, merge):
    leave("a", TWO[:1], repeat=1)
    same = dict.fromkeys({*NOT_IN_RESULTS} - {"log_dir", "repeat"}, "another")
    leave("b", TWO[1:], seed=1, repeat=1, first_split_size=1, task_sizes=[20] * 5, **same)
    assert [(run.name, [*run.repeats]) for run in merge("a", "b")[0]] == [("{a,b}", [0, 1])]


@pytest.mark.parametrize("change", [
    {"lr": 0.2}, {"beta": 7.0}, {"DW": True}, {"memory_format": "contiguous"}, {"mse_weight": 0.3}])
def test_runs_that_differ_in_any_other_setting_are_rows_with_a_column_for_it(leave, rows, change):
    leave("a", TWO[:1], learner_name="Own", mse_weight=0.1)
    leave("b", TWO[1:], learner_name="Own", **{"mse_weight": 0.1, **change})
    (name, value), = change.items()
    a, b = rows()
    assert (a["run"], b["run"], b[name]) == ("a", "b", str(value)) and a[name] != b[name]


def test_settings_of_methods_are_columns_only_between_runs_of_one_method(leave, rows):
    leave("abd", TWO)
    leave("base", TWO, "base", lr=0.2)
    assert {"mu", "deep_inv_params", "learner_name"}.isdisjoint(rows()[0]) and rows()[0]["lr"] == "0.2"
    leave("abd weaker", TWO, mu=0.05)
    assert sorted(row["mu"] for row in rows()) == ["0.05", "0.1", "1.0"]


def test_the_same_seed_twice_counts_once_and_a_line_says_so(leave, merge):
    leave("a", [TWO[0][:3]], repeat=1)
    leave("b", TWO, repeat=2)
    (run,), warnings = merge("a", "b")
    assert ([*run.repeats], run.measures()["final"].mean) == ([0, 1], 55)
    assert warnings == ["{a,b}: seed 0 is there twice; the one that came furthest counts"]
    assert merge("b", "a")[0][0].measures() == run.measures()


def test_repeats_under_way_are_marked_and_in_no_mean(leave, rows):
    leave("a", [*TWO, matrix(5, 10.0, done=2)], repeat=4)
    leave("begun", [], repeat=1, lr=0.2)
    a, begun = rows()
    assert (a["final"], a["repeats"]) == ("55.0 ± 7.1", "2 of 4")
    assert (begun["final"], begun["repeats"]) == ("", "0 of 1")


def test_a_first_task_taken_over_is_the_runs_own_unless_it_was_forced(leave, rows, merge):
    for seed in (0, 1):
        leave(f"lwf-s{seed}", TWO[:1], "lwf", repeat=1, seed=seed, load_model_dir=f"outputs/base-s{seed}")
    leave("lwf-s2", TWO[:1], "lwf", repeat=1, seed=2)
    assert [run.name for run in merge("lwf-s0", "lwf-s1", "lwf-s2")[0]] == ["lwf-s{0,1,2}"]
    leave("forced", TWO, "lwf", load_model_dir="outputs/other", load_any=True)
    forced, = rows("forced")
    assert forced["load_any"] == "True" and forced["paper"] == "(17.0 ± 0.1)"
    assert [row["load_model_dir"] for row in rows()][:1] == ["outputs/other"]


@pytest.mark.parametrize(
    "content", ["[1, 2", "- 1", "history: [[1.0, 2.0], [3.0]]", "history: [[1.0]]", "mean: [1]"])
@pytest.mark.parametrize("part", ["args.yaml", "results-acc/global.yaml", "results-acc/pt.yaml"])
def test_a_run_with_a_damaged_file_is_one_line_that_names_it_and_the_others_are_shown(
    leave, merge, tmp_path, part, content):
    leave("whole", [matrix(5)], "base")
    (path := leave("damaged", TWO) / part).write_text(content)
    runs, (warning,) = merge("damaged", "whole")
    assert str(path) in warning and "\n" not in warning and [run.name for run in runs] == ["whole"]


def test_names_are_the_paths_from_the_folder_that_holds_all(tmp_path):
    assert names_of([tmp_path / "a" / "run", tmp_path / "b"]) == ["a/run", "b"]
    assert names_of([tmp_path / "a" / "run"]) == ["run"]
