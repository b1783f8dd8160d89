import csv
import io
import math
import shutil

import numpy as np
import pytest
import torch
import yaml

from utils.errors import UserError
from utils.reports.diagnose import diagnose, main, table
from utils.reports.diagnosis import (
    DIAGNOSTICS,
    PANELS,
    Diagnosis,
    diagnose_model,
    diagnosis_figure,
    linear_cka,
    median_distance,
    squared_mmd,
)
from utils.reports.runs import names_of, read_runs

ABD = "AlwaysBeDreaming"
OF_DREAMS = {name for name in DIAGNOSTICS if "dreams" in name}


def run_in(*folders):
    run, = read_runs(folders, names_of(folders), [])
    return run


# Measures


@pytest.fixture
def sample():
    random = torch.Generator().manual_seed(0)
    return lambda *shape: torch.randn(*shape, generator=random)


def column(*values):
    return torch.tensor(values, dtype=torch.float).unsqueeze(1)


def test_squared_mmd_by_hand_without_pairs_of_a_point_with_itself():
    # Every pair within a sample has kernel 1, every pair between them exp(-d^2 / (2 s^2)).
    assert squared_mmd(column(0, 0), column(3, 3, 3), 2.0) == pytest.approx(2 - 2 * math.exp(-9 / 8))
    k = math.exp(-1 / 2)
    assert squared_mmd(column(0, 1), column(0, 1), 1.0) == pytest.approx(k + k - 2 * (1 + k) / 2)


def test_the_bandwidth_is_the_median_of_all_distances():
    assert median_distance(column(0, 1, 3)) == 2
    assert squared_mmd(column(5, 5), column(5, 5), median_distance(column(5, 5, 5, 5))) == 0


def test_alignment_by_hand_and_regardless_of_rotation_scale_and_place(sample):
    x, turn = sample(30, 5), torch.linalg.qr(sample(5, 5)).Q
    assert linear_cka(x, 3 * x @ turn + 2) == pytest.approx(1)
    assert linear_cka(x, x * torch.tensor([9.0, 1, 1, 1, 1])) < 0.9
    assert linear_cka(column(1, -1, 0, 0), column(0, 0, 1, -1)) == pytest.approx(0)
    assert linear_cka(column(1, -1, 1, -1), column(1, -1, 0, 0)) == pytest.approx(2**2 / (4 * 2))
    assert math.isnan(linear_cka(column(1, 2, 3), column(4, 4, 4)))


def test_rows_confusion_and_alignment_of_a_known_model(problem, sample):
    learner, (_, task) = problem("NormalNN")
    learner.eval().start_task(task)
    with torch.no_grad():
        learner.model.last.weight[:2] = torch.eye(64)[:2] * 3
        learner.model.last.weight[2:4] = torch.eye(64)[:2] * 5
        learner.model.last.weight[4:] = torch.eye(64)[0] * 100
        learner.model.last.bias[:] = torch.tensor(
            [0, 0, 1e3, 0, *[1e6] * 6])  # classes not seen yet do not count
    old, new = [sample(6, 3, 32, 32), sample(4, 3, 32, 32)], [sample(8, 3, 32, 32)]
    found = diagnose_model(learner, task, old, new, new)
    assert (found["norm_old"], found["norm_new"]) == pytest.approx((3, 5))
    assert (found["old_as_new"], found["dreams_as_new"], found["new_as_old"]) == (100, 100, 0)
    assert (
        found["cka_old"], found["cka_dreams"],
        found["cka_new"]) == pytest.approx((1, 1, 1))  # the teacher has the same features
    assert found["mmd_dreams"] == found["mmd_new"]
    assert {
        name for name,
        value in diagnose_model(learner, task, old, new, []).items() if math.isnan(value)} == OF_DREAMS


# A run


def test_a_run_is_measured_after_each_task_but_the_first_and_folders_of_its_repeats_alike(finished):
    run = finished("NormalNN", "--repeat", "2", "--max_task", "3", "--schedule", "1")
    diagnosis = diagnose(run_in(run), count=20)
    assert diagnosis.repeats == {2: 2, 3: 2}
    rows = [
        torch.load(run / "models" / f"repeat-{repeat}" / "task-3" / "class.pth")["last.weight"].norm(dim=1)
        for repeat in (1, 2)]
    assert diagnosis.values[3]["norm_old"] == pytest.approx(np.mean([row[:4].mean() for row in rows]))
    assert diagnosis.values[3]["norm_new"] == pytest.approx(np.mean([row[4:6].mean() for row in rows]))
    for name in ("top1", "ncm"):
        history = yaml.safe_load((run / "results-acc" / f"{name}.yaml").read_text())["history"]
        assert diagnosis.values[3][name] == pytest.approx(np.mean(history[2]))
    assert {name for name, value in diagnosis.values[2].items() if math.isnan(value)} == OF_DREAMS
    apart = [finished("NormalNN", "--seed", seed, "--max_task", "3", "--schedule", "1") for seed in "01"]
    together = diagnose(run_in(*apart), count=20)
    assert together.repeats == {2: 2, 3: 2}
    np.testing.assert_equal(together.values, diagnosis.values)


def test_dreams_are_those_of_the_teacher_and_the_same_again(finished):
    first, again = (diagnose(run_in(finished("Generative_Replay")), count=30) for _ in range(2))
    assert not any(math.isnan(value) for value in first.values[2].values())
    assert first == again


# What is shown


def made_up(name, tasks, images="test"):
    later = range(2, tasks + 1)
    return Diagnosis(
        name, dict.fromkeys(later, 1),
        {task: {measure: task / 100 for measure in DIAGNOSTICS} for task in later}, images)


def test_the_figure_has_a_panel_for_every_measure_and_a_line_for_every_run():
    axes = diagnosis_figure([made_up("a", 5), made_up("b", 3, "validation")]).axes
    by_title = {each.get_title(): each for each in axes}
    panels = {title: name for row in PANELS.values() for title, name in row.items()}
    assert set(panels.values()) == DIAGNOSTICS.keys() and by_title.keys() - {""} == panels.keys()
    for title in panels:
        assert [line.get_xydata().tolist() for line in by_title[title].lines] == [
            [[task, task / 100] for task in range(2, last + 1)] for last in (5, 3)]
    legend, = (each.get_legend() for each in axes if each.get_legend())
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b (validation images)"]
    lines = table([made_up("a", 2), made_up("b", 2, "validation")]).splitlines()[1:3]
    assert [line.split()[:2] for line in lines] == [["a", "test"], ["b", "validation"]]


def test_the_command_prints_a_table_and_draws_a_figure(finished, tmp_path, capsys):
    figure = tmp_path / "new" / "why.png"
    runs = [str(finished(ABD)), str(finished("NormalNN"))]
    capsys.readouterr()
    main([*runs, "--images", "20", "--figure", str(figure), "--csv"])
    printed = capsys.readouterr()
    assert printed.err == f"experiments/diagnose.sh: drawn {figure}\n" and figure.exists()
    dreaming, plain = csv.DictReader(io.StringIO(printed.out))
    assert {name for name in DIAGNOSTICS if plain[name] == ""} == OF_DREAMS
    assert not {name for name in DIAGNOSTICS if dreaming[name] == ""}


@pytest.mark.parametrize(("damage", "more", "message"), [
    (lambda run: shutil.rmtree(run), [], "no args.yaml"),
    (lambda run: shutil.rmtree(run / "models" / "repeat-1" / "task-2"), [], "has not left the models of two"),
    (lambda run: None, ["--images", "1"], "--images 1"),
    (lambda run: None, ["nowhere"], "nowhere: is not a run")])
def test_what_is_wrong_is_said_before_anything_is_measured(
        finished, tmp_path, monkeypatch, damage, more, message):
    damage(shutil.copytree(finished(ABD), tmp_path / "run"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("utils.reports.diagnose.diagnose_model", lambda *_: pytest.fail("measured"))
    with pytest.raises(UserError, match=message):
        main(["run", *more, "--gpuid", "-1"])


def test_runs_that_were_measured_are_shown_though_a_later_one_is_damaged(
        finished, tmp_path, monkeypatch, capsys):
    shutil.copytree(finished("NormalNN"), tmp_path / "whole")
    damaged = shutil.copytree(finished("NormalNN", "--max_task", "3"), tmp_path / "damaged")
    path = damaged / "models" / "repeat-1" / "task-1" / "class.pth"
    path.write_bytes(path.read_bytes()[:-5])
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    with pytest.raises(UserError, match="task-1/class.pth is no network of this run"):
        main(["whole", "damaged", "--images", "10"])
    assert capsys.readouterr().out.splitlines()[1].split()[:4] == ["whole", "test", "2", "1"]
