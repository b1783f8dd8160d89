"""Which runs are repeats of one another, and how their files are read."""

import shutil

import pytest

from tests.utils.reports.conftest import TWO, matrix
from utils.files import read_yaml, write_yaml
from utils.reports.runs import Stat, read_runs
from utils.settings import NOT_IN_RESULTS


@pytest.fixture
def merge(leave, tmp_path, capsys):
    """The runs in folders as reports see them: merge(name, ...) -> ([run], [warning])."""
    def read(*names):
        runs = read_runs([tmp_path / name for name in names], "it")
        return runs, capsys.readouterr().err.splitlines()

    return read


def test_deviation_is_the_samples_beside_the_populations_and_none_of_one_repeat():
    assert Stat.of([50.0, 60.0, float("nan")]) == pytest.approx((55.0, 50**0.5, 5.0))
    assert str(Stat.of([50.0])) == str(Stat(50.0))


def test_runs_that_differ_in_nothing_that_changes_results_but_the_seed_are_one_row(leave, rows):
    same = dict.fromkeys({*NOT_IN_RESULTS} - {"log_dir", "repeat", "max_task"}, "another")
    for seed, content in enumerate((*TWO, matrix(5, 100.0))):
        leave(f"abd/seed-{seed}", [content], seed=seed, threads=seed, **(same if seed else {}))
    leave("split", [matrix(5)], seed=3, first_split_size=1, task_sizes=[20] * 5)  # the same split
    row, = rows("abd/seed-0", "abd/seed-1", "abd/seed-2")
    assert (row["run"], row["repeats"], row["final"]) == ("seed-{0,1,2}", "3", "63.3 ± 15.3")
    assert [row["repeats"] for row in rows()] == ["4"]


@pytest.mark.parametrize("change", [
    {"lr": 0.2}, {"beta": 7.0}, {"DW": True}, {"memory_format": "contiguous"}, {"mse_weight": 0.3}])
def test_runs_that_differ_in_any_other_setting_are_rows_with_a_column_for_it(leave, rows, change):
    leave("a", TWO, learner_name="Own", mse_weight=0.1)
    leave("b", TWO, learner_name="Own", **{"mse_weight": 0.1, **change})
    (name, value), = change.items()
    a, b = rows()
    assert (a["run"], b["run"], b[name]) == ("a", "b", str(value)) and a[name] != b[name]


def test_settings_of_methods_are_columns_only_between_runs_of_one_method(leave, rows):
    leave("abd", TWO)
    leave("base", TWO, "base", lr=0.2)
    assert {"mu", "deep_inv_params", "learner_name"}.isdisjoint(rows()[0]) and rows()[0]["lr"] == "0.2"
    leave("weaker", TWO, mu=0.05)
    assert sorted(row["mu"] for row in rows()) == ["0.05", "0.1", "1.0"]


def test_the_same_seed_twice_counts_once_and_a_line_says_so(leave, merge):
    leave("a", [TWO[0][:3]])
    leave("b", TWO)
    for names in ("ab", "ba"):
        (run,), warnings = merge(*names)
        assert ({*run.seeds}, run.measures()["final"].mean) == ({0, 1}, 55)
        both = f"{{{','.join(names)}}}"
        assert warnings == [f"it: {both}: seed 0 is there twice; the run that got further counts"]


def test_repeats_under_way_are_marked_and_in_no_mean(leave, rows):
    leave("a", [*TWO, matrix(5, 10.0, done=2)], repeat=4)
    leave("begun", [], lr=0.2)
    assert [(row["final"], row["repeats"]) for row in rows()] == [("55.0 ± 7.1", "2 of 4"), ("", "0 of 1")]


def test_a_first_task_taken_over_is_the_runs_own_unless_it_was_forced(leave, rows, merge):
    leave("a", TWO[:1], "lwf", load_model_dir="outputs/base")
    leave("b", TWO[1:], "lwf", seed=1)
    assert [run.name for run in merge("a", "b")[0]] == ["{a,b}"]
    leave("forced", TWO, "lwf", load_model_dir="outputs/other", load_any=True)
    row, = [row for row in rows() if row["load_model_dir"]]
    assert (row["load_model_dir"], row["load_any"], row["paper"]) == ("outputs/other", "True", "(17.0 ± 0.1)")


def test_repeats_whose_first_task_was_forced_are_joined_if_their_sources_differ_only_in_the_seed(
        leave, merge, tmp_path):
    runs = ("base-0", "other-0", "base-1", "other-1")
    for name in runs:
        source, seed = name.split("-")
        path = leave(f"sources/{source}/seed-{seed}", TWO[:1], "base", seed=int(seed), beta=len(source) / 10)
        leave(name, TWO[:1], "lwf", seed=int(seed), load_any=True, load_model_dir=str(path))
    assert [run.name for run in merge(*runs)[0]] == ["base-{0,1}", "other-{0,1}"]
    shutil.rmtree(tmp_path / "sources")
    assert [run.name for run in merge(*runs)[0]] == ["base-{0,1}", "other-{0,1}"]
    for seed in "01":
        path = leave(f"renamed-{seed}", TWO[:1], "base", seed=int(seed))
        leave(f"base-{seed}", TWO[:1], "lwf", seed=int(seed), load_any=True, load_model_dir=str(path))
    assert [run.name for run in merge("base-0", "base-1")[0]] == ["base-{0,1}"]


def test_a_run_from_before_a_setting_existed_is_a_repeat_of_one_that_has_its_default(leave, rows, tmp_path):
    leave("new", TWO[1:], "rdfcil", seed=1)
    args = leave("old", TWO[:1], "rdfcil") / "args.yaml"
    recorded = read_yaml(args)
    del recorded["load_any"], recorded["angle_weight"]
    write_yaml(args, recorded)
    row, = rows()
    assert (row["repeats"], row["final"]) == ("2", "55.0 ± 7.1")


@pytest.mark.parametrize("content", ["[1, 2", "- 1", "history: [[1.0, 2.0], [3.0]]", "history: [[1.0]]"])
@pytest.mark.parametrize("part", ["args.yaml", "results-acc/global.yaml", "results-acc/pt.yaml"])
def test_a_damaged_run_is_one_line_and_others_are_shown(leave, merge, tmp_path, part, content):
    leave("whole", TWO, "base")
    (leave("damaged", TWO) / part).write_text(content)
    runs, (warning,) = merge("damaged", "whole")
    assert warning.startswith(f"it: {tmp_path / 'damaged'}: left out")
    assert [run.name for run in runs] == ["whole"]


def test_names_are_the_paths_from_the_folder_that_holds_all(leave, merge):
    leave("a/run", TWO)
    leave("b", TWO, lr=0.2)
    assert [run.name for run in merge("a/run", "b")[0]] == ["a/run", "b"]
    assert [run.name for run in merge("a/run")[0]] == ["run"]
