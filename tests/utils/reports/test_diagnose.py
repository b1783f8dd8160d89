import csv
import io
import math
import shutil

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from utils.reports.diagnose import PANELS, Diagnosis, diagnose, diagnosis_figure, load_after, main
from utils.reports.diagnosis_measures import DIAGNOSTICS
from utils.reports.figures import save_figure

ABD, DGR = "AlwaysBeDreaming", "Generative_Replay"
OF_DREAMS = {name for name in DIAGNOSTICS if "dreams" in name}


# A run


@pytest.mark.parametrize(("name", "other", "path"), [
    (ABD, "generator", "task-1/generator"), (DGR, "old_generator", "task-1/generator"), ("BIC", "bias", "task-2/bias")])
def test_the_networks_are_those_of_the_task(finished, trainer, tmp_path, name, other, path):
    models = finished(name) / "models" / "repeat-1"
    started = trainer(tmp_path, name)
    started.start_repeat()
    load_after(started.state.learner, 1, models)
    for network, saved_as in (("model", "task-2/class"), ("teacher", "task-1/class"), (other, path)):
        saved = torch.load(models / f"{saved_as}.pth")
        assert all(torch.equal(value, saved[key]) for key, value in started.state.learner.get_submodule(network).state_dict().items())


def test_a_run_is_measured_after_each_task_but_the_first(finished):
    run = finished("NormalNN", "--repeat", "2", "--max_task", "3")
    diagnosis = diagnose(run)
    assert diagnosis.repeats == {2: 2, 3: 2}
    rows = [torch.load(run / "models" / f"repeat-{repeat}" / "task-3" / "class.pth")["last.weight"].norm(dim=1) for repeat in (1, 2)]
    assert diagnosis.values[3]["norm_old"] == pytest.approx(np.mean([row[:4].mean() for row in rows]))
    assert diagnosis.values[3]["norm_new"] == pytest.approx(np.mean([row[4:6].mean() for row in rows]))
    for name in ("top1", "ncm"):
        assert diagnosis.values[3][name] == pytest.approx(np.mean(yaml.safe_load((run / "results-acc" / f"{name}.yaml").read_text())["history"][2]))
    accuracy = np.array(yaml.safe_load((run / "results-acc" / "pt.yaml").read_text())["history"])
    assert diagnosis.values[2]["old_as_new"] <= 100 - accuracy[0, 1].mean() + 1e-9
    assert diagnosis.values[2]["new_as_old"] <= 100 - accuracy[1, 1].mean() + 1e-9
    assert {name for name, value in diagnosis.values[2].items() if math.isnan(value)} == OF_DREAMS


def test_a_folder_of_the_published_code_is_measured_like_ours(finished, copied, plain, as_published):
    run = copied("LWF")
    for path in run.glob("models/**/class.pth"):
        plain(path)
    as_published(run)
    np.testing.assert_equal(diagnose(run, count=30).values, diagnose(finished("LWF"), count=30).values)


@pytest.mark.parametrize("name", [ABD, DGR])
def test_a_run_with_dreams_is_measured_the_same_again_and_otherwise_with_another_seed(finished, name):
    first, again, other = (diagnose(finished(name), count=30, seed=seed) for seed in (1, 1, 2))
    assert not any(math.isnan(value) for value in first.values[2].values())
    assert first == again
    assert first.values[2]["mmd_dreams"] != other.values[2]["mmd_dreams"]


# What is shown


def made_up(name, tasks):
    later = range(2, tasks + 1)
    return Diagnosis(name, dict.fromkeys(later, 1), {task: {measure: task / 100 for measure in DIAGNOSTICS} for task in later})


def test_the_figure_has_a_panel_for_every_measure_and_a_line_for_every_run():
    axes = {axes.get_title(): axes for axes in diagnosis_figure([made_up("a", 5), made_up("b", 3)]).axes}
    panels = {title: name for row in PANELS.values() for title, name in row.items()}
    assert set(panels.values()) == DIAGNOSTICS.keys() and axes.keys() - {""} == panels.keys()
    for title in panels:
        assert [line.get_xydata().tolist() for line in axes[title].lines] == [[[task, task / 100] for task in range(2, last + 1)] for last in (5, 3)]


def test_a_dollar_in_a_runs_name_is_a_dollar(tmp_path):
    figure = diagnosis_figure([made_up(r"a$\foo$b", 3)])
    save_figure(tmp_path / "why.png", figure)
    assert figure.axes[2].get_legend().get_texts()[0].get_text() == r"a$\foo$b"


def test_twelve_runs_look_their_own_ways_and_are_named():
    axes = diagnosis_figure([made_up(f"run {k}", 20) for k in range(12)]).axes
    assert len({(line.get_color(), line.get_marker()) for line in axes[0].lines}) == 12
    legend, = (each.get_legend() for each in axes if each.get_legend())
    assert [text.get_text() for text in legend.get_texts()] == [f"run {k}" for k in range(12)]


@pytest.mark.parametrize("form", ["", "--markdown", "--csv"])
def test_the_command_prints_a_table_and_draws_a_figure(finished, tmp_path, capsys, form):
    figure = tmp_path / "new" / "why.png"
    assert main([str(finished(ABD)), str(finished("NormalNN")), "--images", "20", "--figure", str(figure), *filter(None, [form])]) == 0
    printed = capsys.readouterr()
    assert printed.err == f"utils.reports.diagnose: drawn: {figure}\n"
    width, height = Image.open(figure).size
    assert 1000 < width < 2000 and 1000 < height < 2000
    if form == "--csv":
        dreaming, plain = csv.DictReader(io.StringIO(printed.out))
        assert DIAGNOSTICS.keys() < dreaming.keys()
        assert {name for name in DIAGNOSTICS if plain[name] == ""} == OF_DREAMS
        assert not {name for name in DIAGNOSTICS if dreaming[name] == ""}
    else:
        assert all(text in printed.out for heading, _, text in DIAGNOSTICS.values())


def test_tasks_of_several_sizes_are_measured(finished):
    diagnosis = diagnose(finished(ABD, "--task_sizes", "4", "2", "3", "--max_task", "-1", "--schedule", "1"))
    assert diagnosis.repeats == {2: 1, 3: 1}
    assert not any(math.isnan(value) for values in diagnosis.values.values() for value in values.values())


def test_runs_of_one_name_are_told_apart_by_their_paths(finished, tmp_path, capsys):
    runs = [tmp_path / part / "run" for part in ("a", "b")]
    for run in runs:
        shutil.copytree(finished("NormalNN"), run)
    assert main([*map(str, runs), "--images", "20", "--figure", str(tmp_path / "why.png"), "--csv"]) == 0
    assert [line.split(",")[0] for line in capsys.readouterr().out.splitlines()[1:]] == [str(run) for run in runs]


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(("damage", "more", "message"), [
    (lambda run: shutil.rmtree(run), [], "has no args.yaml"),
    (lambda run: (run / "args.yaml").write_text("speed: 3"), [], "there is no setting 'speed'"),
    (lambda run: shutil.rmtree(run / "models" / "repeat-1" / "task-2"), [], "has not left the models of two tasks (run/models/repeat-1/task-2/"),
    (lambda run: shutil.rmtree(run / "models" / "repeat-1" / "task-1"), [], "has not left the models of two tasks (run/models/repeat-1/task-1/"),
    (lambda run: (run / "models" / "repeat-1" / "task-1" / "class.pth").write_text("x"), [], "task-1/class.pth cannot be read"),
    (lambda run: flip_a_bit(run / "models" / "repeat-1" / "task-1" / "class.pth"), [], "task-1/class.pth cannot be read"),
    (lambda run: (run / "models" / "repeat-1" / "task-1" / "generator.pth").unlink(), [], "task-1/generator.pth is missing"),
    (lambda run: None, ["--images", "1"], "--images 1"),
    (lambda run: None, ["--html"], "--html"),
    (lambda run: None, ["--figure", "file/why.png"], "--figure file/why.png: cannot be written"),
])
def test_wrong_input_is_one_line_and_status_2(finished, tmp_path, monkeypatch, capsys, damage, more, message):
    run = shutil.copytree(finished(ABD), tmp_path / "run")
    damage(run)
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--images", "10", *more]) == 2
    line, = capsys.readouterr().err.splitlines()
    assert line.startswith("utils.reports.diagnose: ") and message in line


@pytest.mark.parametrize(("arguments", "message"), [
    (["run", "--figure", "file/why.png"], "--figure file/why.png: cannot be written"), (["run", "--figure", "folder.png"], "--figure folder.png"),
    (["run", "--figure", "why.pdf"], "--figure why.pdf: is no PNG file"), (["run", "nowhere"], "nowhere: is no run")])
def test_what_is_wrong_is_said_before_anything_is_measured(finished, tmp_path, monkeypatch, capsys, arguments, message):
    (tmp_path / "run").symlink_to(finished("NormalNN"))
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.png").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("utils.reports.diagnose.diagnose_model", lambda *_: pytest.fail("measured"))
    assert main(arguments) == 2
    line, = capsys.readouterr().err.splitlines()
    assert line.startswith(f"utils.reports.diagnose: {message}")


def test_runs_that_were_measured_are_shown_though_a_later_one_is_damaged(finished, tmp_path, monkeypatch, capsys):
    shutil.copytree(finished("NormalNN"), tmp_path / "whole")
    flip_a_bit(shutil.copytree(finished("NormalNN"), tmp_path / "damaged") / "models" / "repeat-1" / "task-1" / "class.pth")
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert main(["whole", "damaged", "--images", "10"]) == 2
    printed = capsys.readouterr()
    assert any(line.split()[:3] == ["whole", "2", "1"] for line in printed.out.splitlines())
    assert "task-1/class.pth cannot be read" in printed.err


def test_a_run_from_before_the_nearest_class_mean_is_diagnosed_without(copied):
    run = copied("NormalNN")
    for name in ("top1", "ncm"):
        (run / "results-acc" / f"{name}.yaml").unlink()
    assert {name for name, value in diagnose(run, count=10).values[2].items() if math.isnan(value)} == OF_DREAMS | {"top1", "ncm"}


def test_the_data_set_is_looked_for_where_dataroot_says(finished, tmp_path, monkeypatch):
    from dataloaders.datasets import DATASETS

    roots = []
    read = DATASETS["Digits"].read
    digits = {**vars(DATASETS["Digits"]), "read": lambda root: roots.append(str(root)) or read(root)}
    monkeypatch.setitem(DATASETS, "Digits", type(DATASETS["Digits"])(**digits))
    for dataroot in ("elsewhere", None):
        diagnose(finished("NormalNN"), dataroot, count=10)
    assert roots == ["elsewhere", "data"]


@pytest.mark.parametrize("gpuid", [[], ["--gpuid", "1"]])
def test_a_gpu_that_torch_cannot_use_is_refused(finished, tmp_path, monkeypatch, capsys, gpuid):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("utils.training.device.visible_gpus", lambda: 0)
    monkeypatch.setattr("utils.training.device.unusable_gpu", lambda: "the driver is too old")
    assert main([str(tmp_path), *gpuid]) == 2
    assert capsys.readouterr().err == f"utils.reports.diagnose: --gpuid {gpuid[1] if gpuid else 0}: the driver is too old\n"


def test_a_gpu_that_fails_is_one_line_and_status_1(finished, monkeypatch, capsys):
    def fail(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr("utils.reports.diagnose.diagnose_model", fail)
    assert main([str(finished("NormalNN")), "--gpuid", "-1"]) == 1
    line, = capsys.readouterr().err.splitlines()
    assert line.startswith("utils.reports.diagnose: cpu: CUDA out of memory")


def test_what_is_no_run_is_refused_before_any_is_measured(finished, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("utils.reports.diagnose.diagnose", lambda *_: 1 / 0)
    assert main([str(finished("NormalNN")), str(tmp_path / "none"), "--workers", "0", "--gpuid", "-1"]) == 2
    assert "is no run" in capsys.readouterr().err


def test_a_worker_that_dies_is_one_line_and_status_1(finished, monkeypatch, capsys):
    def fail(*_):
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")

    monkeypatch.setattr("utils.reports.diagnose.diagnose_model", fail)
    assert main([str(finished("NormalNN")), "--gpuid", "-1"]) == 1
    line, = capsys.readouterr().err.splitlines()
    assert line.startswith("utils.reports.diagnose: --workers") and "DataLoader worker (pid 7) is killed by signal" in line
