"""Which runs are repeats of one another, and what tells others apart."""

import shutil
from dataclasses import dataclass

import pytest

from tests.utils.reports.conftest import PUBLISHED, TWO, matrix
from utils.files import read_yaml
from utils.reports.paper_tables import PaperTables
from utils.reports.runs import Stat, read_runs
from utils.reports.tables import accuracy_table
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


def test_runs_that_differ_in_nothing_but_their_seed_are_one_row(leave, records, tmp_path):
    for seed, rows in enumerate((*TWO, matrix(5, 100.0))):
        leave(f"abd/seed-{seed}", [rows], repeat=1, seed=seed, gpuid=[seed], workers=seed)
    cell, = records(**PUBLISHED, table=1, method="ABD (Ours)", tasks=5)
    assert (cell["repeats"], float(cell["accuracy"])) == ("3", pytest.approx(190 / 3))
    assert (float(cell["accuracy_std_sample"]), float(cell["accuracy_std_population"])) == pytest.approx(
        (15.2753, 12.4722), abs=1e-4)
    folders = [tmp_path / "abd" / f"seed-{seed}" for seed in range(3)]
    _, line = accuracy_table(folders, "text", []).splitlines()
    assert line.startswith("seed-0, seed-1, seed-2") and "63.3 ± 15.3" in line and line.endswith("  3")


def test_settings_that_do_not_change_results_make_no_row(leave, merge):
    leave("a", TWO[:1])
    leave(
        "b", TWO[1:], seed=1, repeat=1, **dict.fromkeys({*NOT_IN_RESULTS} - {"log_dir", "repeat"}, "another"))
    assert [run.name for run in merge("a", "b")[0]] == ["a, b"]


@pytest.mark.parametrize("change", [
    {"lr": 0.2}, {"beta": 7.0}, {"DW": True}, {"memory_format": "contiguous"}, {"validation": True},
    {"mse_weight": 0.3}, {"load_any": True}])
def test_runs_that_differ_in_any_other_setting_are_rows_of_their_own_and_none_vanishes(
    leave, records, tmp_path, change):
    leave("a", TWO[:1], learner_name="Own", mse_weight=0.1)
    leave("b", TWO[1:], learner_name="Own", **{"mse_weight": 0.1, **change})
    (name, value), = change.items()
    assert {cell["run"] for cell in records() if cell["run"]} == {"a", "b"}
    b, = [cell for cell in records() if cell["run"] == "b"]
    read = name != "DW"  # the class is gone: it may have read it
    assert f"{name} {value}" in f"{b['protocol']} {b['method']}" or not read
    heading, *lines = accuracy_table([tmp_path / "a", tmp_path / "b"], "csv", []).splitlines()
    assert len(lines) == 2 and (name in heading.split(",") or name == "validation") and str(value) in lines[1]


def test_the_same_seed_twice_counts_once_and_a_line_says_so(leave, merge):
    leave("a", [TWO[0][:3]], repeat=1)
    leave("b", TWO, repeat=2)
    leave("c", [matrix(5)], seed=1, repeat=1)
    (run,), warnings = merge("a", "b", "c")
    assert (run.seeds, run.finished) == ([0, 1], 2)
    assert warnings == [
        "seed 0 is there twice: b counts, a does not", "seed 1 is there twice: b counts, c does not"]


def test_a_repeat_under_way_or_not_begun_is_marked_and_in_no_mean(leave, records, tmp_path):
    leave("a", [*TWO, matrix(5, 10.0, done=2)])
    leave("b", [], repeat=1, seed=3)
    cell, = records(**PUBLISHED, table=1, method="ABD (Ours)", tasks=5)
    assert (float(cell["accuracy"]), cell["repeats"], cell["unfinished"]) == (55.0, "2", "task 3/5; task 1/5")
    assert "2 + 2 unfinished (task 3/5, task 1/5)" in PaperTables(tmp_path).show()


# First tasks of other runs


def test_takers_of_an_equal_first_task_are_repeats(leave, merge):
    for seed in (0, 1):
        leave(f"base-s{seed}", TWO[:1], "base", seed=seed)
        leave(f"lwf-s{seed}", TWO[:1], "lwf", seed=seed, load_model_dir=f"outputs/base-s{seed}")
    leave("lwf-s2", TWO[:1], "lwf", seed=2)
    assert [run.name for run in merge("lwf-s0", "lwf-s1", "lwf-s2")[0]] == ["lwf-s0, lwf-s1, lwf-s2"]


def test_takers_from_repeats_of_another_first_task_are_repeats_and_say_what_they_took(leave, merge, records):
    for seed in (0, 1):
        leave(f"base-s{seed}", TWO[:1], "base", seed=seed)
        leave(f"abd-s{seed}", TWO[:1], seed=seed, load_model_dir=f"outputs/base-s{seed}", load_any=True)
    leave("other", TWO[:1], "base", lr=0.2)
    leave("abd-other", TWO[:1], seed=2, load_model_dir="outputs/other", load_any=True)
    assert [run.name for run in merge("abd-s0", "abd-s1", "abd-other")[0]] == ["abd-s0, abd-s1", "abd-other"]
    label = records(run="abd-s0, abd-s1")[0]["protocol"]
    assert label == "scaled down or changed: load_model_dir outputs/base-s0 (load_any 1)"


def test_a_source_that_has_changed_or_gone_is_a_departure(leave, records, tmp_path):
    leave("base", TWO, "base")
    leave("lwf", TWO, "lwf", load_model_dir="outputs/base")
    assert records(run="lwf")[0]["protocol"] == "published protocol"
    leave("base", TWO, "base", schedule=[1])
    assert "load_model_dir outputs/base" in records(run="lwf")[0]["protocol"]
    shutil.rmtree(tmp_path / "base")
    assert "load_model_dir outputs/base" in records(run="lwf")[0]["protocol"]


# A method's row is its own


def test_a_subclass_stands_last_under_its_class_name_and_not_in_its_parents_row(leave, records, monkeypatch):
    from learners import LEARNERS

    @dataclass
    class OwnSettings(LEARNERS["AlwaysBeDreaming"].Settings):
        mse_weight: float = 0.1

    class ABDMSE(LEARNERS["AlwaysBeDreaming"]):
        Settings = OwnSettings

    monkeypatch.setitem(LEARNERS, "ABDMSE", ABDMSE)
    leave("abd", TWO)
    leave("mine", TWO, learner_name="ABDMSE", mse_weight=0.3)
    leave("shorter", TWO, learner_name="ABDMSE", mse_weight=0.3, power_iters=10)
    cells = records(**PUBLISHED, table=1, tasks=5)
    assert (cells[-1]["method"], cells[-1]["run"], cells[-1]["paper"]) == ("ABDMSE", "mine", "")
    assert [cell["run"] for cell in cells if cell["method"] == "ABD (Ours)"] == ["abd"]
    shorter, = records(run="shorter")
    assert shorter["method"] == "ABDMSE, power_iters 10" and shorter["protocol"] != "published protocol"


def test_a_run_whose_learner_no_longer_exists_is_shown_by_its_recorded_name(leave, records, tmp_path):
    leave("gone", TWO, learner_name="Deleted", memory=2000)
    assert records(run="gone")[0]["method"] == "Deleted (coreset)" and records(run="gone")[0]["table"] == "2"
    assert "gone" in accuracy_table([tmp_path / "gone"], "text", [])


def test_a_run_of_before_a_setting_is_one_with_its_default(leave, merge):
    leave("a", TWO[:1], "bic")
    path = leave("b", TWO[1:], "bic", seed=1) / "args.yaml"
    content = read_yaml(path)
    path.write_text(
        "".join(f"{line}\n" for line in path.read_text().splitlines() if not line.startswith("bias_at_test")))
    assert "bias_at_test" in content and len(merge("a", "b")[0]) == 1


# What was measured


def test_validation_accuracies_are_marked_and_share_no_row(leave, records, tmp_path):
    leave("test", TWO[:1])
    leave("held out", TWO[1:], seed=1, validation=True)
    text = PaperTables(tmp_path).show()
    assert "final top-1 accuracy (%)" in text and "final top-1 validation accuracy (%)" in text
    assert {cell["run"]: cell["measured"] for cell in records() if cell["run"]} == {
        "test": "top-1 accuracy", "held out": "top-1 validation accuracy"}
    heading, *lines = accuracy_table([tmp_path / "test", tmp_path / "held out"], "text", []).splitlines()
    assert "measured" in heading and [("validation" in line) for line in lines] == [False, True]
    assert accuracy_table([tmp_path / "held out"], "text", []).startswith("top-1 validation accuracy (%)")


def test_top_5_and_top_1_are_told_apart(leave, tmp_path):
    leave("imnet", [matrix(5)], dataset="ImageNet", first_split_size=10, other_split_size=10)
    leave("cifar", [matrix(5)])
    folders = [tmp_path / "imnet", tmp_path / "cifar"]
    heading, *lines = accuracy_table(folders, "text", []).splitlines()
    assert heading.startswith(
        "accuracy (%)") and "top-5 accuracy" in lines[0] and "top-1 accuracy" in lines[1]
    assert accuracy_table(folders[:1], "markdown", []).startswith("| top-5 accuracy (%) after task")


def test_a_class_with_the_name_of_a_published_row_is_told_from_it(leave, records):
    leave("own", TWO, learner_name="BiC", memory=2000)
    cell, = [cell for cell in records() if cell["run"]]
    assert (cell["method"].split(",")[0], cell["paper"]) == ("BiC (own class) (coreset)", "")


def test_a_run_whose_learner_file_is_gone_is_not_in_the_published_protocol_if_it_dreamed_less(leave, records):
    leave("gone", TWO, learner_name="Gone", power_iters=100)
    cell, = [cell for cell in records() if cell["run"]]
    assert "power_iters 100" in cell["method"] and cell["protocol"] != "published protocol"


def test_top_5_and_top_1_of_one_method_say_which_they_are(leave, records):
    leave("a", TWO)
    path = leave("b", TWO, beta=7.0)
    file = path / "results-acc" / "global.yaml"
    file.write_text(file.read_text() + "top_k: 5\n")
    methods = {cell["run"]: cell["method"] for cell in records(table=1) if cell["run"]}
    assert methods["a"].endswith("top-1 accuracy") and methods["b"].endswith("top-5 accuracy")
