import csv
import io
import math
import shutil

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from utils.errors import RunError, UserError
from utils.reports.diagnose import diagnose, load_after, main, table
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
from utils.reports.figures import save_figure
from utils.reports.runs import names_of, read_runs

ABD, DGR = "AlwaysBeDreaming", "Generative_Replay"
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


def test_squared_mmd_is_0_on_average_for_one_distribution_and_above_for_two(sample):
    same = [squared_mmd(sample(40, 3), sample(50, 3), 1.5) for _ in range(200)]
    assert abs(np.mean(same)) < 3 * np.std(same) / math.sqrt(200) and min(same) < 0
    assert squared_mmd(sample(40, 3), sample(50, 3) + 1, 1.5) > max(same)


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


@pytest.mark.parametrize(("name", "other", "path"), [
    (ABD, "generator", "task-1/generator"), (DGR, "old_generator", "task-1/generator"),
    ("BIC", "bias", "task-2/bias")])
def test_the_networks_are_those_of_the_task(finished, problem, name, other, path):
    models = finished(name) / "models" / "repeat-1"
    learner, _ = problem(name)
    load_after(learner, 1, models)
    for network, saved_as in (("model", "task-2/class"), ("teacher", "task-1/class"), (other, path)):
        saved = torch.load(models / f"{saved_as}.pth")
        assert all(
            torch.equal(value, saved[key]) for key,
            value in learner.get_submodule(network).state_dict().items())


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
    assert (together.name[:8], together.repeats) == ("NormalNN", {2: 2, 3: 2})
    np.testing.assert_equal(together.values, diagnosis.values)


@pytest.mark.parametrize("name", [ABD, DGR])
def test_a_run_with_dreams_is_measured_the_same_again_and_otherwise_with_another_seed(finished, name):
    first, again, other = (diagnose(run_in(finished(name)), count=30, seed=seed) for seed in (1, 1, 2))
    assert not any(math.isnan(value) for value in first.values[2].values())
    assert first == again
    assert first.values[2]["mmd_dreams"] != other.values[2]["mmd_dreams"]


def test_the_data_set_is_looked_for_where_dataroot_says(finished, monkeypatch):
    from dataloaders.datasets import DATASETS

    roots = []
    read = DATASETS["Digits"].read
    digits = {**vars(DATASETS["Digits"]), "read": lambda root: roots.append(str(root)) or read(root)}
    monkeypatch.setitem(DATASETS, "Digits", type(DATASETS["Digits"])(**digits))
    for dataroot in ("elsewhere", None):
        diagnose(run_in(finished("NormalNN")), dataroot, count=10)
    assert roots == ["elsewhere", "data"]


# What is shown


def made_up(name, tasks, images="test"):
    later = range(2, tasks + 1)
    return Diagnosis(
        name, dict.fromkeys(later, 1),
        {task: {measure: task / 100 for measure in DIAGNOSTICS} for task in later}, images)


def test_the_figure_has_a_panel_for_every_measure_and_a_line_for_every_run(tmp_path):
    figure = diagnosis_figure([made_up(r"a$\foo$b", 5), made_up("b", 3)])
    save_figure(tmp_path / "why.png", figure)  # a dollar is a dollar
    axes = {axes.get_title(): axes for axes in figure.axes}
    panels = {title: name for row in PANELS.values() for title, name in row.items()}
    assert set(panels.values()) == DIAGNOSTICS.keys() and axes.keys() - {""} == panels.keys()
    for title in panels:
        assert [line.get_xydata().tolist() for line in axes[title].lines] == [
            [[task, task / 100] for task in range(2, last + 1)] for last in (5, 3)]


def test_twelve_runs_look_their_own_ways_and_are_named():
    axes = diagnosis_figure([made_up(f"run {k}", 20) for k in range(12)]).axes
    assert len({(line.get_color(), line.get_marker()) for line in axes[0].lines}) == 12
    legend, = (each.get_legend() for each in axes if each.get_legend())
    assert [text.get_text() for text in legend.get_texts()] == [f"run {k}" for k in range(12)]


def test_accuracies_on_held_out_training_images_are_marked():
    held_out, tested = made_up("a", 2, "validation"), made_up("b", 2)
    assert "top-1 validation accuracy %" in table([held_out]) and "top-1 test accuracy %" in table([tested])
    assert [line.split()[:2] for line in table([held_out, tested]).splitlines()[1:3]] == [
        ["a", "validation"], ["b", "test"]]
    labels = [
        text.get_text() for text in diagnosis_figure([held_out, tested]).axes[2].get_legend().get_texts()]
    assert labels == ["a (validation images)", "b"]


@pytest.mark.parametrize("form", ["", "--markdown", "--csv"])
def test_the_command_prints_a_table_and_draws_a_figure(finished, tmp_path, capsys, form):
    figure = tmp_path / "new" / "why.png"
    main([
        str(finished(ABD)), str(finished("NormalNN")), "--images", "20", "--figure", str(figure),
        *filter(None, [form])])
    printed = capsys.readouterr()
    assert printed.err == f"utils.reports.diagnose: drawn: {figure}\n"
    assert all(1000 < size < 2000 for size in Image.open(figure).size)
    if form == "--csv":
        dreaming, plain = csv.DictReader(io.StringIO(printed.out))
        assert {name for name in DIAGNOSTICS if plain[name] == ""} == OF_DREAMS
        assert not {name for name in DIAGNOSTICS if dreaming[name] == ""}
    else:
        assert all(text in printed.out for _, _, text in DIAGNOSTICS.values())


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(("damage", "more", "message"), [
    (lambda run: shutil.rmtree(run), [], "has no args.yaml"),
    (
        lambda run: shutil.rmtree(run / "models" / "repeat-1" / "task-2"), [],
        "has not left the models of two tasks"),
    (
        lambda run: (run / "models" / "repeat-1" / "task-1" / "generator.pth").unlink(), [],
        "task-1/generator.pth is missing"),
    (lambda run: None, ["--images", "1"], "--images 1"), (
        lambda run: None, ["--figure", "why.pdf"], "--figure why.pdf: is no PNG"),
    (lambda run: None, ["nowhere"], "nowhere: is no run")])
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
    flip_a_bit(damaged / "models" / "repeat-1" / "task-1" / "class.pth")
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    with pytest.raises(UserError, match="task-1/class.pth cannot be read"):
        main(["whole", "damaged", "--images", "10"])
    assert any(
        line.split()[:4] == ["whole", "test", "2", "1"] for line in capsys.readouterr().out.splitlines())


@pytest.mark.parametrize(("error", "message"), [
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), "CUDA out of memory"),
    (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), "--workers")])
def test_a_gpu_that_fails_or_a_worker_that_dies_is_one_line(finished, monkeypatch, error, message):
    def fail(*_):
        raise error

    monkeypatch.setattr("utils.reports.diagnose.diagnose_model", fail)
    with pytest.raises(RunError, match=message):
        main([str(finished("NormalNN")), "--gpuid", "-1"])
