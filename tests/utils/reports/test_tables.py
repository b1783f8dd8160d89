"""The tables: measures, published rows, marks, forms, and the command that prints them."""

import csv
import io

import pytest

from dataloaders.orders import read_order
from tests.utils.reports.conftest import HALF, SIZES, TWO, matrix
from utils.errors import UserError
from utils.reports.paper import STUDIES
from utils.reports.tables import main, records, show_table

PAPER, CIFAR100, TINYIMAGENET = (study.rows for study in STUDIES)


def test_the_papers_numbers_are_those_of_its_tables():
    assert [[*row.values()][2][1:] for row in PAPER.values()][:7] == [
        (69.9, 0.2), (4.4, 0.3), (4.7, 0.1), (7.7, 0.5), (4.1, 0.3), (5.7, 0.3), (20.0, 1.4)]
    assert [number[1:] for number in CIFAR100["R-DFCIL"].values()] == [
        (54.76, 0.76), (49.7, 0.61), (30.01, 0.56)]
    assert [number.mean for number in TINYIMAGENET["ABD"].values()] == [33.18, 27.34, 16.46]


# Measures


def test_measures_are_means_over_repeats_of_numbers_by_hand(leave, tables):
    leave("abd", TWO)
    run, = tables()[0].runs
    expected = {
        "final": (55, 50**0.5, 5), "final over images": (55, 50**0.5, 5), "average": (70, 0, 0),
        "average over images": (70, 0, 0), "forgetting": (37.5, 312.5**0.5, 12.5),
        "backward transfer": (-37.5, 312.5**0.5, 12.5), "seconds": (18000, 0, 0),
        "stored values": (1000, 0, 0)}
    assert {name: tuple(stat) for name, stat in run.measures().items()} == {
        name: pytest.approx(numbers) for name, numbers in expected.items()}


@pytest.mark.parametrize(("matrix", "forgetting", "transfer"), [
    ([[80.0], [70.0, 80.0], [88.0, 70.0, 80.0], [50.0, 60.0, 70.0, 80.0], [40.0, 50.0, 60.0, 70.0, 80.0]],
     27.0, -25.0),  # 48 30 20 10 from the best, 40 30 20 10 from right after learning it
    (matrix(5, 50.0, -2.0), -2.0, 5.0)])
def test_forgetting_is_from_the_best_and_transfer_from_the_first_accuracy(
    leave, tables, matrix, forgetting, transfer):
    leave("a", [matrix])
    measures = tables()[0].runs[0].measures()
    assert (measures["forgetting"].mean, measures["backward transfer"].mean) == (forgetting, transfer)


def test_the_best_mean_of_each_measure_is_marked_upper_bounds_apart(leave, rows):
    leave("abd", [matrix(5, 80.0)])
    leave("base", [matrix(5, 90.0, 20.0)], "base")
    leave("ub", [[[99.0]]], "base", first_split_size=100)
    ub, base, abd = rows()
    assert (abd["final"], abd["forgetting"], base["average"]) == ("**60.0**", "**25.0**", "**70.0**")
    assert (ub["final"], base["final"], base["backward transfer"]) == ("99.0", "50.0", "-50.0")


def test_accuracy_over_images_stands_beside_the_mean_over_tasks_where_they_differ(leave, rows, tables):
    leave("rdfcil", [HALF], "rdfcil", "cifar100-b50-t5", images=SIZES)
    row, = rows()
    assert (row["final"], row["final over images"], row["paper"]) == ("80.8", "62.5", "54.76 ± 0.76 / 64.78")
    assert tables()[0].name == "CIFAR100, 50 + 5 x 10 classes, top-1 accuracy"
    assert "over images ± std (n or n-1 unstated)" in tables()[0].notes()[0]


# Tables and published rows


def test_runs_share_a_table_if_data_split_and_kind_of_accuracy_are_the_same(leave, tables):
    leave("a", TWO)
    leave("b", TWO, batch_size=32)
    leave("shorter", [matrix(5, done=2)], max_task=2)
    leave("held out", TWO, validation=True)
    leave("top 5", [matrix(5)], dataset="ImageNet", first_split_size=10, other_split_size=10)
    assert {table.name: len(table.runs) for table in tables()} == {
        "CIFAR100, 2 x 20 classes, top-1 accuracy": 1, "CIFAR100, 5 x 20 classes, top-1 accuracy": 2,
        "CIFAR100, 5 x 20 classes, top-1 validation accuracy": 1,
        "ImageNet, 5 x 10 classes, top-5 accuracy": 1}


def test_ub_on_all_classes_is_in_every_split(leave, tables):
    leave("ub", [[[70.0]]], "base", first_split_size=100, other_split_size=100)
    assert [table.name for table in tables()] == ["CIFAR100, 100 classes, top-1 accuracy"]
    leave("joint", TWO, "base", oracle_flag=True)
    leave("ten", [matrix(10)], first_split_size=10, other_split_size=10)
    assert [[(run.method, run.name) for run in table.runs] for table in tables()] == [
        [("UB", "ub"), ("ABD", "ten")], [("UB", "joint"), ("UB", "ub")]]


@pytest.mark.parametrize(("learner", "memory", "method"), [
    ("NormalNN", 0, "Base"), ("NormalNN", 2000, "Naive Rehearsal"), ("LWF", 0, "LwF"),
    ("LWF", 2000, "LwF (coreset)"), ("LWF_MC", 0, "LwF.MC"), ("Generative_Replay", 0, "DGR"),
    ("DeepInversionGenBN", 0, "DeepInversion"), ("DeepInversionLWF", 0, "LwF-Synthetic"),
    ("ETE", 2000, "E2E"), ("BIC", 2000, "BiC"), ("AlwaysBeDreaming", 0, "ABD"), ("RDFCIL", 0, "R-DFCIL"),
    ("AlwaysBeDreaming", 2000, "AlwaysBeDreaming (coreset)"), ("BiC", 2000, "BiC (own class) (coreset)")])
def test_a_run_is_known_by_its_learner_and_coreset(leave, rows, learner, memory, method):
    special = {"Generative_Replay": {"weight_decay": 0.0},
               "AlwaysBeDreaming": {"mu": 0.1, "finetune_seen": False}}
    config = {"RDFCIL": "rdfcil", "BIC": "bic"}.get(learner, "lwf")
    leave("any", [matrix(10)], config, learner_name=learner, memory=memory, task_sizes=[10] * 10,
          **special.get(learner, {}))
    row, = rows()
    published = PAPER[method][(10,) * 10].text if method in PAPER else ""
    assert (row["method"], row.get("paper", "")) == (method, published)


@pytest.mark.parametrize("changes", [
    {"model_name": "resnet8"}, {"schedule": [1, 2]}, {"batch_size": 64}, {"mu": 1.0}, {"power_iters": 100},
    {"oracle_flag": True}, {"validation": True}, {"class_order": read_order("numpy:1993", 100, "")}])
def test_a_run_at_other_settings_has_the_number_in_parentheses_and_says_which(leave, rows, tables, changes):
    leave("changed", [matrix(5)], **changes)
    _, note = tables()[0].notes()
    (name, value), = changes.items()
    shown = "68 56 78 …" if name == "class_order" else str(value)
    assert rows()[0]["paper"] == "(43.9 ± 0.9)" and f"changed with {name} {shown}" in note and len(note) < 130


@pytest.mark.parametrize(("learner", "memory", "reads"), [("NormalNN", 2000, True), ("ETE", 2000, False)])
def test_dw_is_a_departure_only_if_it_is_read(leave, tables, learner, memory, reads):
    leave("run", TWO, "lwf", learner_name=learner, memory=memory, DW=True)
    assert any("DW True" in note for note in tables()[0].notes()) == reads


def test_rows_are_in_the_papers_order_and_learners_of_ones_own_last_without_a_number(leave, rows):
    for learner, config in (("AnABD", "abd"), ("AlwaysBeDreaming", "abd"), ("NormalNN", "base")):
        leave(learner, TWO, config, learner_name=learner)
    assert [(row["method"], row["paper"]) for row in rows()] == [
        ("Base", "16.4 ± 0.4"), ("ABD", "43.9 ± 0.9"), ("AnABD", "")]


@pytest.mark.parametrize(("name", "value"), [
    ("incomplete_data", True), ("imagenet_classes", [f"n{k}" for k in range(100)]), ("load_any", True)])
def test_a_run_that_is_not_what_names_say_is_marked_even_alone(leave, rows, name, value):
    leave("run", TWO, **{name: value})
    assert rows()[0][name].startswith("n0" if name == "imagenet_classes" else "True")


# Forms and the command


def test_text_fits_a_terminal_and_latex_is_a_tabular_with_every_sign_escaped(leave, tables):
    leave("a_b", TWO)
    leave("lower", [matrix(5, 10.0)], lr=0.2)
    title, _, heading, *lines = show_table(tables()[0], "text", False).splitlines()
    assert title == "CIFAR100, 5 x 20 classes, top-1 accuracy in %, mean ± std (n-1) over repeats"
    assert {len(line) for line in (heading, *lines[:2])} == {len(heading)} and len(heading) < 110
    latex = show_table(tables()[0], "latex", False)
    head, abd, _ = (line for line in latex.splitlines() if line.endswith(r"\\"))
    assert head.startswith("method & lr & final &") and head.count("&") == abd.count("&")
    assert r"\textbf{55.0 ± 7.1} &" in abd and r"& a\_b \\" in abd and r"accuracy in \%" in latex


def test_published_rows_without_a_run_are_there_if_asked_for(leave, rows):
    leave("abd", TWO)
    assert [len(rows()), *(row["paper"] for row in rows(paper=True)[:2])] == [1, "43.9 ± 0.9", "69.9 ± 0.2"]


def test_csv_has_one_number_per_cell(leave, tables):
    leave("abd", TWO, repeat=3)
    leave("b", TWO, mu=0.5)
    heading, *lines = records(tables())
    found = [line for line in (dict(zip(heading, line)) for line in lines) if line["run"] == "abd"]
    assert [found[0][name] for name in heading[3:]] == [
        "0.1", "final", "", "55.000000", "7.071068", "5.000000", "2", "3"]
    assert [(line["task"], float(line["mean"])) for line in found if line["measure"] == "accuracy"] == [
        ("1", 85), ("2", 77.5), ("3", 70), ("4", 62.5), ("5", 55)]


def test_the_command_takes_runs_and_folders_each_once(leave, tmp_path, capsys, monkeypatch):
    leave("outputs", TWO[:1], "base")
    inner = leave("outputs/laptop/abd", TWO)
    monkeypatch.chdir(tmp_path)
    for arguments, runs in (([], {"Base", "ABD"}), ([inner], {"ABD"}), (["outputs", inner], {"Base", "ABD"})):
        main([*map(str, arguments), "--csv"])
        out, err = capsys.readouterr()
        assert err == "" and {line["method"] for line in csv.DictReader(io.StringIO(out))} == runs


@pytest.mark.parametrize("arguments", [["nowhere"], ["."], [".", "--csv", "--markdown"]])
def test_wrong_input_is_refused_in_one_line(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        main(arguments)
    assert "\n" not in str(error.value)
