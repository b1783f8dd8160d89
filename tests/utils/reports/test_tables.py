"""The published tables, runs side by side, and the command that prints them."""

import csv
import io
import subprocess
import sys

import pytest

from dataloaders.orders import read_order
from tests.utils.reports.conftest import PUBLISHED, TWO, matrix
from utils.errors import UserError
from utils.reports.paper import TABLES
from utils.reports.paper_tables import PaperTables
from utils.reports.tables import accuracy_table, main

HALF, SIZES = [[60.0 - 5 * after, *[90.0] * after] for after in range(6)], [5000, *[1000] * 5]


def test_the_papers_numbers_are_those_of_its_tables():
    shown = {
        number: {
            method.name: [tuple(number)[:2] for number in numbers.values()] for method,
            numbers in table.rows.items()}
        for number, table in TABLES.items()}
    assert shown[1]["ABD (Ours)"] == shown[2]["ABD (Ours)"] == [(43.9, 0.9), (33.7, 1.2), (20.0, 1.4)]
    assert [numbers[-1][0] for numbers in shown[1].values() if numbers] == [
        69.9, 4.4, 4.7, 7.7, 4.1, 5.7, 20.0]
    assert [numbers[0][0] for numbers in shown[2].values()] == [69.9, 34.0, 39.4, 47.4, 53.7, 43.9]
    assert [number.average for method in (
        "ABD", "R-DFCIL") for table in (3, 4) for other, numbers in TABLES[table].rows.items()
            for number in numbers.values() if other.name == method] == [
        62.4, 58.97, 48.91, 44.55, 41.64, 34.47, 64.78, 61.71, 49.95, 48.91, 47.6, 40.85]


# Measures


def test_a_cell_is_the_mean_and_both_deviations_beside_the_papers_number(leave, records, tmp_path):
    leave("a|b", TWO, repeat=2)
    cell, = records(**PUBLISHED, table=1, method="ABD (Ours)", tasks=5)
    expected = {
        "accuracy": (55, 50**0.5, 5), "average_incremental_accuracy": (70, 0, 0), "forgetting": (
            37.5, 312.5**0.5, 12.5),
        "seconds": (5 * 3600, 0, 0), "stored_values": (1000, 0, 0), "accuracy_over_images": (55, 50**0.5, 5)}
    for name, numbers in expected.items():
        shown = [float(cell[f"{name}{part}"]) for part in ("", "_std_sample", "_std_population")]
        assert shown == pytest.approx(numbers, abs=1e-5)
    assert [cell[name] for name in ("paper", "paper_std", "paper_std_kind", "difference")] == [
        "43.900000", "0.900000", "std (n)", "11.100000"]
    text = PaperTables(tmp_path).show("markdown").replace("a\\|b", "a-b")
    assert "| 5 tasks ± std (n-1) | repeats | paper ± std (n) | difference |" in text
    assert "| ABD (Ours) | 55.0 ± 7.1 | 2 | 43.9 ± 0.9 | +11.1 |" in text
    assert "| a-b | ABD (Ours) | 5 | 70.0 ± 0.0 | 37.5 ± 17.7 |  | 5.0 h | 1,000 |" in text
    assert all(
        line.count("|") == block.splitlines()[0].count("|") for block in text.split("\n\n")
        for line in block.splitlines())


def test_one_repeat_has_no_deviation(leave, records, tmp_path):
    leave("a", TWO[:1], repeat=1)
    assert "| ABD (Ours) | 60.0 | 1 | 43.9 ± 0.9 | +16.1 |" in PaperTables(tmp_path).show("markdown")
    cell, = records(**PUBLISHED, table=1, method="ABD (Ours)", tasks=5)
    assert {cell[name] for name in cell if "accuracy_std" in name} == {""}
    assert accuracy_table([tmp_path / "a"], "text", []).splitlines()[1].split()[-3:] == ["60.0", "70.0", "1"]


@pytest.mark.parametrize(("rows", "forgotten"), [
    (
        [[80.0], [70.0, 80.0], [88.0, 70.0, 80.0], [50.0, 60.0, 70.0, 80.0], [40.0, 50.0, 60.0, 70.0, 80.0]],
        27.0),  # 48 30 20 10
    (matrix(5, 50.0, -2.0), -2.0)])
def test_forgetting_is_from_the_best_earlier_accuracy_and_what_was_gained_counts_against_it(
    leave, records, rows, forgotten):
    leave("a", [rows])
    assert float(records(table=1, method="ABD (Ours)", tasks=5)[0]["forgetting"]) == forgotten


def test_accuracy_over_the_joint_models_is_taken_seed_by_seed(leave, records):
    leave("a", TWO, repeat=2)
    leave("joint", [matrix(5, 80.0, 0.0)], "base", oracle_flag=True, seed=1)
    cell, = records(**PUBLISHED, table=1, method="ABD (Ours)", tasks=5)
    assert (cell["normalised_accuracy"], cell["normalised_accuracy_std_sample"]) == (
        "0.875000", "")  # 90 80 70 60 50
    leave("joint", [matrix(5, 100.0, 0.0), matrix(5, 80.0, 0.0)], "base", oracle_flag=True)
    cell, = records(**PUBLISHED, table=1, method="ABD (Ours)", tasks=5)
    assert float(cell["normalised_accuracy"]) == pytest.approx((0.7 + 0.875) / 2)
    assert cell["run"] and records(method="UB", tasks=5, table=1)[0]["normalised_accuracy"] == ""
    for changes in ({"batch_size": 64}, {"first_split_size": 10, "other_split_size": 10}):
        leave(
            "joint", [matrix(10 if "first_split_size" in changes else 5)], "base", oracle_flag=True,
            **changes)
        assert records(run="a")[0]["normalised_accuracy"] == ""


def test_ub_on_all_classes_is_that_of_every_split_beside_the_joint_model(leave, records):
    leave("ub", [[[70.0]]], "base", first_split_size=100, other_split_size=100)
    cells = records(method="UB")
    assert [(cell["tasks"], cell["accuracy"], cell["forgetting"]) for cell in cells] == [
        (tasks, "70.000000", "") for tasks in ("5", "10", "20")] * 2
    leave("joint", TWO, "base", oracle_flag=True)
    assert {(cell["method"], cell["run"]) for cell in records(table=1, tasks=5) if cell["run"]} == {
        ("UB, oracle_flag False", "ub"), ("UB, oracle_flag True", "joint")}


def test_accuracy_over_images_stands_beside_the_other_where_they_differ(leave, tmp_path):
    leave("even", TWO, "base")
    assert "over images" not in PaperTables(tmp_path).show() + accuracy_table([tmp_path / "even"], "text", [])
    leave("uneven", TWO[:1], images=[400, 100, 100, 100, 100], repeat=1)
    assert "| uneven | ABD (Ours) | 5 | 52.5 | 65.6 | 70.0 |" in PaperTables(tmp_path).show("markdown")
    heading, _, line, _ = accuracy_table(
        [tmp_path / "uneven", tmp_path / "even"], "markdown", []).splitlines()
    assert "final, over images ± std (n-1) | average, over images ± std (n-1) |" in heading
    assert line.endswith("| 60.0 | 70.0 | 52.5 | 65.6 | 1 |")


# Which row


@pytest.mark.parametrize(("learner", "memory", "method"), [
    ("NormalNN", 0, "Base"), ("NormalNN", 2000, "Naive Rehearsal"), ("LWF", 0, "LwF"), (
        "LWF", 2000, "LwF (coreset)"),
    ("LWF_MC", 0, "LwF.MC"), ("Generative_Replay", 0, "DGR"), ("DeepInversionGenBN", 0, "DeepInversion"), (
        "ETE", 2000, "E2E"),
    ("DeepInversionLWF", 0, "LwF-Synthetic"), ("BIC", 2000, "BiC"), ("AlwaysBeDreaming", 0, "ABD (Ours)"), (
        "RDFCIL", 0, "R-DFCIL"),
    ("AlwaysBeDreaming", 2000, "AlwaysBeDreaming (coreset)")])
def test_a_run_is_known_by_its_settings(leave, records, learner, memory, method):
    special = {
        "Generative_Replay": {"weight_decay": 0.0}, "AlwaysBeDreaming": {"mu": 0.1},
        "DeepInversionLWF": {"mu": 0.1}}
    config = "rdfcil" if learner == "RDFCIL" else "lwf"
    leave("any", [matrix(10)], config, learner_name=learner, memory=memory, task_sizes=[10] * 10,
          **special.get(learner, {}))
    cell = [cell for cell in records() if cell["run"]][0]
    assert (cell["protocol"], cell["method"], cell["tasks"]) == ("published protocol", method, "10")
    assert cell["table"] == ("2" if memory else "1")


@pytest.mark.parametrize("changes", [
    {"dataset": "CIFAR10"}, {"first_split_size": 50, "other_split_size": 25}, {"task_sizes": [20] * 3}, {
        "dataset": "Gone"},
    {"first_split_size": 100, "other_split_size": 100}])
def test_a_run_of_no_cell_is_in_no_table_and_said(leave, tmp_path, records, changes):
    leave("odd", [], **changes)
    assert [cell for cell in records() if cell["run"]] == []
    warning, = PaperTables(tmp_path).warnings
    assert warning.startswith("in no table for their data set or split: odd; name such a run itself")


@pytest.mark.parametrize("changes", [
    {"model_name": "resnet8"}, {"schedule": [1, 2]}, {"batch_size": 64}, {"max_task": 2},
    {"train_aug": False}, {"lr": 0.2},
    {"mu": 1.0}, {"power_iters": 100}, {"gen_model_name": "CIFAR_GEN_SMALL"}, {"oracle_flag": True}])
def test_a_run_that_departs_from_the_published_settings_stands_apart_and_says_in_what(
    leave, records, changes):
    leave("changed", [matrix(5, done=changes.get("max_task"))], **changes)
    cell = records(run="changed")[0]
    (name, value), = changes.items()
    assert cell["accuracy"] and cell["paper"] == "" and cell["protocol"].startswith(
        "scaled down or changed: ")
    shown = " ".join(map(str, value)) if isinstance(value, list) else value
    assert f"{name} {shown}" in f"{cell['protocol']}, {cell['method']}"


@pytest.mark.parametrize(
    ("learner", "memory", "reads"),
    [("NormalNN", 2000, True), ("ETE", 2000, False), ("DeepInversionGenBN", 0, True)])
def test_dw_is_a_departure_only_if_it_is_read(leave, records, learner, memory, reads):
    leave("run", TWO, "lwf", learner_name=learner, memory=memory, DW=True)
    assert records(run="run")[0]["protocol"] == (
        "scaled down or changed: DW True" if reads else "published protocol")


def test_another_coreset_size_or_bias_layers_at_test_are_named(leave, records):
    leave("small", [matrix(5)], "bic", memory=200, bias_at_test=True)
    assert records(run="small")[0]["method"] == "BiC, memory 200, bias_at_test True"


def test_another_class_order_is_named_in_short(leave, records):
    leave("order", [matrix(5)], class_order=read_order("numpy:1993", 100, ""))
    label = records(run="order")[0]["protocol"]
    assert label.startswith("scaled down or changed: class_order 68 56 78 …") and len(label) < 80


def test_a_run_that_is_only_shorter_has_the_papers_numbers_beside_it_by_name(leave, records, tmp_path):
    leave("tenth/abd", [matrix(5)], "abd", "cifar100-tenth")
    leave("tenth/base", [matrix(5)], "base", "cifar100-tenth")
    leave("unlike", [matrix(5)], schedule=[10, 15, 20, 25], power_iters=2000)
    cells = {cell["run"]: cell for cell in records() if cell["run"]}
    tenth = "published protocol at a tenth of its length"
    assert {cells[name]["protocol"] for name in ("tenth/abd", "tenth/base")} == {tenth}
    assert (cells["tenth/abd"]["method"], cells["tenth/abd"]["paper"]) == ("ABD (Ours)", "43.900000")
    assert cells["unlike"]["protocol"].startswith("scaled down") and cells["unlike"]["paper"] == ""
    heading = next(
        line for line in PaperTables(tmp_path).show().split(f"no coreset; {tenth}")[1].splitlines()
        if line.startswith("final"))
    assert heading.count("paper, full length ± std (n)") == 3 and "difference" not in heading


def test_r_dfcils_runs_stand_beside_its_papers_numbers_over_images(leave, records, tmp_path):
    leave("half", [HALF], "rdfcil", "cifar100-b50-t5", images=SIZES)
    leave("changed", [HALF], "rdfcil", "cifar100-b50-t5", images=SIZES, weight_decay=1e-4)
    leave("tiny", [], "abd", "tinyimagenet-b100-t5")
    cell, = records(run="half")
    assert (cell["table"], cell["protocol"], cell["method"], cell["paper_std"]) == (
        "3", "R-DFCIL's protocol", "R-DFCIL", "0.760000")
    assert float(cell["accuracy"]) == pytest.approx(
        (5 * 35 + 5 * 90) / 10) and float(cell["difference"]) == pytest.approx(62.5 - 54.76)
    assert records(
        run="changed")[0]["protocol"] == "R-DFCIL's protocol, scaled down or changed: weight_decay 0.0001"
    text = PaperTables(tmp_path).show()
    for part in ("final top-1 accuracy over images (%)", "50 + 25 x 2 ± std (n-1)", "64.8"):
        assert part in text
    assert "TinyImageNet, half of the classes first; R-DFCIL's protocol" in text and "nan" not in text


# Damage


def test_a_folder_without_runs_gives_the_published_numbers_alone(tmp_path, records):
    assert len(records()) == 3 * (len(TABLES[1].rows) + len(TABLES[2].rows))
    assert {cell[name] for cell in records() for name in ("accuracy", "difference", "repeats", "run")} == {""}
    assert "holds no runs" in PaperTables(tmp_path).warnings[0]


@pytest.mark.parametrize(
    "content", ["[1, 2", "- 1", "history: [[1.0, 2.0], [3.0]]", "history: 3", "mean: [1]"])
@pytest.mark.parametrize("part", ["args.yaml", "results-acc/global.yaml", "results-acc/pt.yaml"])
def test_a_run_with_a_damaged_file_is_one_line_that_names_it_and_the_others_are_shown(
    leave, records, tmp_path, part, content):
    leave("whole", [matrix(5)], "base")
    (path := leave("damaged", TWO) / part).write_text(content)
    warning, = PaperTables(tmp_path).warnings
    assert str(path) in warning and "\n" not in warning
    assert {cell["run"] for cell in records() if cell["run"]} == {"whole"}


# Side by side, and the command


def test_side_by_side_shows_accuracy_after_each_task_and_the_settings_that_differ(leave, tmp_path):
    leave("abd", TWO, repeat=2)
    leave("weaker", [matrix(5, done=2)], mu=0.05, incomplete_data=True,
          imagenet_classes=[f"n{k}" for k in range(100)])
    heading, *lines = accuracy_table([tmp_path / "abd", tmp_path / "weaker"], "text", []).splitlines()
    assert "  mu  " in heading and [line.split()[-1] for line in lines] == ["2", "3/5)"]
    assert "0.1  85.0  77.5  70.0  62.5  55.0         55.0 ± 7.1           70.0 ± 0.0" in lines[0]
    assert lines[1].startswith("weaker, incomplete data, 100 named classes") and lines[1].endswith(
        "0 + 1 unfinished (task 3/5)")
    rows = csv.DictReader(io.StringIO(accuracy_table([tmp_path / "abd"], "csv", [])))
    first = next(rows)
    assert (first["measured"], first["final"], first["final_std_sample"], first["final_std_population"]) == (
        "top-1 accuracy", "55.000000", "7.071068", "5.000000")


def test_runs_of_one_name_are_told_apart_by_their_paths(leave, tmp_path, monkeypatch):
    leave("a/run", TWO)
    leave("b/run", TWO, lr=0.2)
    lines = accuracy_table([tmp_path / "a/run", tmp_path / "b/run"], "csv", []).splitlines()[1:]
    assert [line.split(",")[0] for line in lines] == [str(tmp_path / "a/run"), str(tmp_path / "b/run")]


def test_the_command_takes_runs_or_a_folder_of_runs(leave, tmp_path, capsys, monkeypatch):
    outer, inner = leave("outputs", TWO[:1], "base"), leave("outputs/laptop/abd", TWO)
    monkeypatch.chdir(tmp_path)
    for arguments, out, err in (
        ([], "top-1 accuracy (%) after task", "outputs: is itself a run"), (
            [str(inner)], "top-1 accuracy", ""),
        ([str(tmp_path)], "Table 1", ""), ([str(outer.parent), "--csv"], "table,protocol", "")):
        main(arguments)
        printed = capsys.readouterr()
        assert printed.out.startswith(out) and err in printed.err and len(
            printed.err.splitlines()) == bool(err)
    leave("begun", [], lr=0.2)
    main([str(tmp_path / "begun"), str(inner)])
    assert capsys.readouterr().err == "utils.reports.tables: begun: has not finished its first task\n"


@pytest.mark.parametrize("arguments", [["nowhere"], ["--html"], [".", "--csv", "--markdown"], [".", "."]])
def test_wrong_input_is_refused_before_anything_is_printed(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError):
        main(arguments)
    assert capsys.readouterr().out == ""


def test_the_command_as_a_user_starts_it(root, tmp_path, environment):
    done = subprocess.run(
        ["sh", str(root / "experiments" / "tables.sh"), str(tmp_path), "--markdown"],
        cwd=tmp_path, env={
            **environment, "PYTHON": sys.executable}, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr.splitlines()) == (
        0,
        [f"utils.reports.tables: {tmp_path}: holds no runs, so the tables show the published numbers alone"])
    assert done.stdout.startswith("### Table 1")


@pytest.mark.parametrize("form", ["text", "csv", "markdown"])
def test_a_run_that_took_over_whatever_first_task_there_was_says_so_even_alone(leave, tmp_path, form):
    leave("abd", TWO, load_any=True, load_model_dir="other")
    assert "abd, load_any" in accuracy_table([tmp_path / "abd"], form, [])
