"""The tables: measures, published rows, marks, forms, and the command that prints them."""

import csv
import io
import subprocess
import sys
from dataclasses import dataclass

import pytest

from dataloaders.orders import read_order
from tests.utils.reports.conftest import TWO, matrix
from utils.errors import UserError
from utils.reports.paper import PAPER, STUDIES
from utils.reports.tables import main, records, show_table

HALF, SIZES = [[60.0 - 5 * after, *[90.0] * after] for after in range(6)], [5000, *[1000] * 5]


def test_the_papers_numbers_are_those_of_its_tables():
    rows = [{name: [number[1:] for number in row.values()] for name, row in study.rows.items()}
            for study in STUDIES]
    assert rows[0]["ABD"] == [(43.9, 0.9), (33.7, 1.2), (20.0, 1.4)]
    assert [row[-1][0] for row in rows[0].values()] == [
        69.9, 4.4, 4.7, 7.7, 4.1, 5.7, 20.0, 14.9, 16.6, 32.7, 37.5]
    assert rows[1]["R-DFCIL"] == [(54.76, 0.76), (49.7, 0.61), (30.01, 0.56)]
    assert [row.text for row in STUDIES[2].rows["ABD"].values()] == [
        "33.18 / 44.55", "27.34 / 41.64", "16.46 / 34.47"]


# Measures


def test_measures_are_means_over_repeats_of_numbers_by_hand(leave, tables):
    leave("abd", TWO)
    run, = tables()[0].runs
    assert {name: tuple(stat) for name, stat in run.measures().items()} == {name: pytest.approx(numbers)
        for name, numbers in {
            "final": (55, 50**0.5, 5), "final over images": (55, 50**0.5, 5), "average": (70, 0, 0),
            "average over images": (70, 0, 0), "forgetting": (37.5, 312.5**0.5, 12.5),
            "backward transfer": (-37.5, 312.5**0.5, 12.5), "seconds": (5 * 3600, 0, 0),
            "stored values": (1000, 0, 0)}.items()}


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
    leave("b", TWO, task_sizes=[20] * 5, batch_size=32)
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
    five, ten = tables()
    assert [[(run.method, run.name) for run in table.runs] for table in (ten, five)] == [
        [("UB", "joint"), ("UB", "ub")], [("UB", "ub"), ("ABD", "ten")]]


@pytest.mark.parametrize(("learner", "memory", "method"), [
    ("NormalNN", 0, "Base"), ("NormalNN", 2000, "Naive Rehearsal"), ("LWF", 0, "LwF"),
    ("LWF", 2000, "LwF (coreset)"), ("LWF_MC", 0, "LwF.MC"), ("Generative_Replay", 0, "DGR"),
    ("DeepInversionGenBN", 0, "DeepInversion"), ("DeepInversionLWF", 0, "LwF-Synthetic"),
    ("ETE", 2000, "E2E"), ("BIC", 2000, "BiC"), ("AlwaysBeDreaming", 0, "ABD"), ("RDFCIL", 0, "R-DFCIL"),
    ("AlwaysBeDreaming", 2000, "AlwaysBeDreaming (coreset)"), ("BiC", 2000, "BiC (own class) (coreset)")])
def test_a_run_is_known_by_its_learner_and_coreset(leave, rows, learner, memory, method):
    special = {"Generative_Replay": {"weight_decay": 0.0}, "AlwaysBeDreaming": {"mu": 0.1}}
    config = {"RDFCIL": "rdfcil", "BIC": "bic"}.get(learner, "lwf")
    leave("any", [matrix(10)], config, learner_name=learner, memory=memory, task_sizes=[10] * 10,
          **special.get(learner, {}))
    row, = rows()
    published = [number.text for number in PAPER.rows.get(method, {}).values()]
    assert (row["method"], row.get("paper", "")) == (method, published[1] if published else "")


@pytest.mark.parametrize("changes", [
    {"model_name": "resnet8"}, {"schedule": [1, 2]}, {"batch_size": 64}, {"lr": 0.2}, {"mu": 1.0},
    {"power_iters": 100}, {"oracle_flag": True}, {"class_order": read_order("numpy:1993", 100, "")}])
def test_a_run_at_other_settings_has_the_number_in_parentheses_and_says_which(leave, rows, tables, changes):
    leave("changed", [matrix(5)], **changes)
    _, note = tables()[0].notes()
    (name, value), = changes.items()
    shown = "68 56 78 …" if name == "class_order" else str(value)
    assert rows()[0]["paper"] == "(43.9 ± 0.9)" and f"changed with {name} {shown}" in note and len(note) < 130


@pytest.mark.parametrize(
    ("learner", "memory", "reads"), [("NormalNN", 2000, True), ("ETE", 2000, False)])
def test_dw_is_a_departure_only_if_it_is_read(leave, tables, learner, memory, reads):
    leave("run", TWO, "lwf", learner_name=learner, memory=memory, DW=True)
    assert ["DW True" in note for note in tables()[0].notes()] == [False, True][: 1 + reads]


def test_a_subclass_stands_last_under_its_class_name_without_its_parents_number(leave, rows, monkeypatch):
    from learners import LEARNERS

    @dataclass
    class OwnSettings(LEARNERS["AlwaysBeDreaming"].Settings):
        mse_weight: float = 0.1

    class ABDMSE(LEARNERS["AlwaysBeDreaming"]):
        Settings = OwnSettings

    monkeypatch.setitem(LEARNERS, "ABDMSE", ABDMSE)
    leave("abd", TWO)
    leave("a", TWO, learner_name="ABDMSE", mse_weight=0.3)
    leave("gone", TWO, learner_name="Gone", mse_weight=0.3)
    assert [(row["method"], row["paper"]) for row in rows()] == [
        ("ABD", "43.9 ± 0.9"), ("ABDMSE", ""), ("Gone", "")]


@pytest.mark.parametrize(("name", "value"), [
    ("incomplete_data", True), ("imagenet_classes", [f"n{k}" for k in range(100)]), ("load_any", True)])
def test_a_run_that_is_not_what_names_say_is_marked_even_alone(leave, rows, name, value):
    leave("run", TWO, **{name: value})
    assert rows()[0][name].startswith("n0" if name == "imagenet_classes" else "True")


# Forms and the command


def test_the_text_fits_a_terminal_and_names_what_it_shows(leave, tables):
    leave("abd", TWO)
    leave("base", TWO, "base")
    title, _, heading, *lines = show_table(tables()[0], "text", False).splitlines()
    assert title == "CIFAR100, 5 x 20 classes, top-1 accuracy in %, mean ± std (n-1) over repeats"
    assert heading.split("  ")[0] == "method" and heading.endswith("paper   run")
    assert len({len(line) for line in (heading, *lines[:2])}) == 1 and len(heading) < 100


def test_published_rows_without_a_run_are_there_if_asked_for(leave, rows):
    leave("abd", TWO)
    assert len(rows()) == 1
    assert [(row["method"], row["paper"]) for row in rows(paper=True)][:2] == [
        ("ABD", "43.9 ± 0.9"), ("UB", "69.9 ± 0.2")]


def test_latex_is_a_tabular_with_every_sign_escaped(leave, tables):
    leave("a_b", TWO)
    leave("lower", [matrix(5, 10.0)], lr=0.2, mu=0.5)
    latex = show_table(tables()[0], "latex", False)
    head, abd, lower = (line for line in latex.splitlines() if line.endswith(r"\\"))
    assert head.startswith("method & lr & mu & final &") and head.count("&") == abd.count("&")
    assert r"\textbf{55.0 ± 7.1} &" in abd and r"& a\_b \\" in abd and r"accuracy in \%" in latex
    assert r"power" not in latex and r"mu 0.5" in latex.splitlines()[-1]


def test_csv_has_one_number_per_cell(leave, tables, tmp_path):
    leave("abd", TWO)
    leave("b", TWO, mu=0.5)
    heading, *lines = records(tables())
    found = [dict(zip(heading, line)) for line in lines]
    first = next(line for line in found if (line["measure"], line["mu"]) == ("final", "0.1"))
    assert (first["mean"], first["std (n-1)"], first["std (n)"], first["repeats"], first["planned"]) == (
        "55.000000", "7.071068", "5.000000", "2", "3")
    curve = [line for line in found if (line["measure"], line["run"]) == ("accuracy", "abd")]
    assert [(line["task"], float(line["mean"])) for line in curve] == [
        ("1", 85), ("2", 77.5), ("3", 70), ("4", 62.5), ("5", 55)]
    assert [line["departures"] for line in found if line["measure"] == "published final"] == ["", "mu 0.5"]


def test_the_command_takes_runs_and_folders_each_once(leave, tmp_path, capsys, monkeypatch):
    leave("outputs", TWO[:1], "base")
    inner = leave("outputs/laptop/abd", TWO)
    monkeypatch.chdir(tmp_path)
    for arguments, runs in (([], {"Base", "ABD"}), ([inner], {"ABD"}), (["outputs", inner], {"Base", "ABD"})):
        main([*map(str, arguments), "--csv"])
        out, err = capsys.readouterr()
        assert err == "" and {line["method"] for line in csv.DictReader(io.StringIO(out))} == runs


@pytest.mark.parametrize("arguments", [["nowhere"], ["--html"], [".", "--csv", "--markdown"], ["."]])
def test_wrong_input_is_refused_before_anything_is_printed(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError):
        main(arguments)
    assert capsys.readouterr().out == ""


def test_the_command_as_a_user_starts_it(leave, root, tmp_path, environment):
    leave("abd", TWO)
    done = subprocess.run(
        ["sh", str(root / "experiments" / "tables.sh"), str(tmp_path), "--markdown"], cwd=tmp_path,
        env={**environment, "PYTHON": sys.executable}, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "") and "| ABD | 55.0 ± 7.1 |" in done.stdout
