"""Whole runs in this process: what they leave, that they repeat to the byte, and what ends them."""

import json
import math

import numpy as np
import pytest
import torch
import yaml

from learners import REGISTRY, Learner
from learners.lwf import LWF
from run import build_trainer
from utils.command_line import parse
from utils.errors import RunError
from utils.files import read_tensors
from utils.training.folder import RunFolder

ABD = "AlwaysBeDreaming"


def records(folder):
    """What metrics.jsonl has, but for the times."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]


def accuracies(folder):
    """The accuracy lines of output.log, but for the time."""
    return [line.partition("  trained")[0] for line in (folder / "output.log").read_text().splitlines() if "accuracy" in line]


def read(path):
    return yaml.safe_load(path.read_text())


class Stopped(Exception):
    pass


# What a run leaves


def test_a_run_leaves_the_published_files(finished):
    folder = finished(ABD, "--no_figures", "0")
    left = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert left == {
        "args.yaml", "output.log", "metrics.jsonl", "checkpoint.pt", "checkpoint-previous.pt", "run.lock",
        *(f"figures/repeat-1/{name}.png" for name in ("dreams-after-task-1", "accuracy", "losses", "confusion")),
        "results-acc/global.yaml", "results-acc/pt.yaml", "results-acc/pt-local.yaml", "results-mem/global.yaml", "results-time/global.yaml",
        *(f"results-acc/{name}.yaml" for name in ("over-images", "old", "new", "top1", "top5", "ncm")), "results-acc/confusion-repeat-1.npy",
        "models/repeat-1/task-1/class.pth", "models/repeat-1/task-1/generator.pth", "models/repeat-1/task-2/class.pth"}


def test_a_saved_generator_dreams_of_the_model_beside_it(finished, trainer, tmp_path):
    """Beside the first task's model lies the generator that the second task learned from."""
    folder = finished(ABD)
    seen = {}
    run = trainer(tmp_path, ABD)
    train_stage = run.train_stage

    def spying(stage):
        if (run.state.task.index, stage.name) == (1, "learn"):
            seen.update({name: value.clone() for name, value in run.state.learner.generator.state_dict().items()})
        yield from train_stage(stage)

    run.train_stage = spying
    run.run()
    saved = torch.load(folder / "models" / "repeat-1" / "task-1" / "generator.pth", weights_only=True)
    assert saved.keys() == seen.keys()
    assert all(torch.equal(saved[name], seen[name]) for name in saved)


def test_bic_leaves_its_bias_layers(finished):
    saved = torch.load(finished("BIC") / "models" / "repeat-1" / "task-2" / "bias.pth", weights_only=True)
    assert saved["alpha.1"] != 1 and saved["alpha.0"] == saved["alpha.2"] == 1


def test_results_have_the_published_keys_and_shapes(finished):
    folder = finished("NormalNN", "--repeat", "2", "--max_task", "3")
    for name in ("acc", "mem", "time"):
        content = read(folder / f"results-{name}" / "global.yaml")
        assert set(content) == {"mean", "std", "history"}
        assert np.shape(content["history"]) == (3, 2)
        assert np.isfinite(content["history"]).all()
    assert np.shape(read(folder / "results-acc" / "pt.yaml")["history"]) == (3, 3, 2)


def test_accuracy_is_the_mean_over_the_tasks_of_the_matrix(finished):
    folder = finished("NormalNN", "--repeat", "2", "--max_task", "3")
    matrix = np.array(read(folder / "results-acc" / "pt.yaml")["history"])
    after = np.array([matrix[: task + 1, task].mean(0) for task in range(3)])
    assert read(folder / "results-acc" / "global.yaml")["history"] == pytest.approx(after)
    assert read(folder / "results-acc" / "global.yaml")["mean"][-1] == pytest.approx(np.mean(matrix[:, 2]))


def test_accuracy_among_the_own_classes_is_never_below_that_among_all(finished):
    folder = finished("NormalNN", "--repeat", "2", "--max_task", "3")
    everywhere, local = (np.array(read(folder / "results-acc" / f"{name}.yaml")["history"]) for name in ("pt", "pt-local"))
    assert (local >= everywhere).all()


def test_files_records_and_log_agree_on_every_measure(finished, digits):
    folder = finished("NormalNN", "--repeat", "2", "--max_task", "3", "--first_split_size", 4, "--other_split_size", 3)
    names = {"global": "accuracy", "over-images": "accuracy_over_images", **{name: name for name in ("old", "new", "top1", "top5", "ncm")}}
    recorded = [one for one in records(folder) if "accuracy" in one]
    for file, name in names.items():
        values = np.array([[np.nan if one[name] is None else one[name] for one in recorded if one["repeat"] == repeat] for repeat in (1, 2)]).T
        np.testing.assert_equal(read(folder / "results-acc" / f"{file}.yaml")["history"], values.tolist())
        assert np.isfinite(values[1:]).all()
    for repeat in (1, 2):
        confusion = np.load(folder / "results-acc" / f"confusion-repeat-{repeat}.npy")
        last = [one for one in recorded if one["repeat"] == repeat][-1]
        assert confusion.sum() == len(digits.test.labels) and sorted(confusion.sum(1)) == sorted(np.bincount(digits.test.labels))
        assert 100 * confusion.diagonal().sum() / confusion.sum() == pytest.approx(last["top1"]) == pytest.approx(last["accuracy_over_images"])
        assert 100 * confusion[-3:].diagonal(7).sum() / confusion[-3:].sum() == pytest.approx(last["new"])
        expected = f"accuracy {last['accuracy']:.1f} % mean of tasks, {last['accuracy_over_images']:.1f} % over images"
        assert expected in (folder / "output.log").read_text()


def test_memory_is_the_parameters_of_model_and_generator(finished):
    folder = finished(ABD)
    saved = [torch.load(folder / "models" / "repeat-1" / "task-1" / f"{name}.pth", weights_only=True) for name in ("class", "generator")]
    count = sum(value.numel() for state in saved for name, value in state.items() if "running" not in name and "batches" not in name)
    assert [row[0] for row in read(folder / "results-mem" / "global.yaml")["history"]] == [count, count]


def test_metrics_have_a_record_an_epoch_and_an_accuracy_a_task(finished):
    seen = [(one["task"], one.get("stage", "accuracy"), one.get("epoch")) for one in records(finished(ABD))]
    assert seen == [
        (1, "learn", 1), (1, "learn", 2), (1, "accuracy", None),
        (2, "dream", 1), (2, "learn", 1), (2, "learn", 2), (2, "accuracy", None)]


def test_a_record_has_each_loss_and_the_learning_rate(finished):
    first, last = (one for one in records(finished(ABD)) if one["task"] == 2 and one.get("stage") == "learn")
    assert set(first["losses"]) == {"local", "finetune", "distillation"}
    assert (first["lr"], last["lr"]) == pytest.approx((0.05, 0.005))


def test_the_log_says_task_epoch_losses_learning_rate_accuracy_and_time(finished):
    text = (finished(ABD) / "output.log").read_text()
    line = next(line for line in text.splitlines() if "task 2/2  learn  epoch 2/2" in line)
    for part in ("lr 0.005", "local ", "finetune ", "distillation ", " s ", "left)"):
        assert part in line
    assert "task 2/2  accuracy " in text
    assert text.splitlines()[-1].startswith("final accuracy: ")


def test_the_final_line_is_the_results_files_mean(finished):
    folder = finished("NormalNN", "--repeat", "2", "--max_task", "3")
    content = read(folder / "results-acc" / "global.yaml")
    last = (folder / "output.log").read_text().splitlines()[-1]
    assert f"{content['mean'][-1]:.1f} ± {content['std'][-1]:.1f} % over 2 repeats" in last


def test_a_saved_model_is_the_one_that_was_measured(finished, trainer, tmp_path):
    folder = finished(ABD)
    again = trainer(tmp_path / "again", ABD)
    again.start_repeat()
    again.state.learner.model.load_state_dict(torch.load(folder / "models" / "repeat-1" / "task-1" / "class.pth", weights_only=True))
    again.evaluate(again.state.tasks[0])
    assert again.state.results.matrix[0][0][0] == read(folder / "results-acc" / "pt.yaml")["history"][0][0][0]


def test_a_first_task_is_learned(trainer, tmp_path):
    results = trainer(tmp_path, "NormalNN", "--max_task", 1, "--schedule", 8, 10, "--batch_size", 32).run()
    assert results.matrix[0][0][0] > 95


def test_the_updating_line_has_task_stage_epoch_accuracy_and_losses(trainer, tmp_path, monkeypatch, capsys):
    texts = []
    monkeypatch.setattr("utils.training.log.Progress.start", lambda self, kind, text: texts.append(text))
    monkeypatch.setattr("utils.training.log.Progress.step", lambda self: None)
    trainer(tmp_path).run()
    lines = capsys.readouterr().out.splitlines()
    accuracy, = (line.split("accuracy ")[1].split(" %")[0] for line in lines if "task 1/2  accuracy" in line)
    loss, = (line.split("classification ")[1].split()[0] for line in lines if "task 2/2  learn  epoch 1/2" in line)
    assert texts[0] == "repeat 1/1  task 1/2  learn  epoch 1/2"
    assert texts[3] == f"repeat 1/1  task 2/2  learn  epoch 2/2  accuracy {accuracy} %  classification {loss}"


def test_the_log_has_every_epoch_also_where_the_terminal_has_few(trainer, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("utils.training.log.PACE", 1e9)
    trainer(tmp_path, "NormalNN", "--schedule", 5, "--max_task", 1).run()
    printed = [line for line in capsys.readouterr().out.splitlines() if "  epoch " in line]
    logged = [line for line in (tmp_path / "output.log").read_text().splitlines() if "  epoch " in line]
    assert len(logged) == 5
    assert printed == [logged[0], logged[-1]]


# The same bytes


@pytest.mark.parametrize("name", ["NormalNN", "ETE", ABD])
def test_the_same_settings_give_the_same_bytes(finished, trainer, lasting, tmp_path, name):
    torch.manual_seed(12345)  # whatever the global random state
    torch.rand(10)
    trainer(tmp_path, name).run()
    assert lasting(tmp_path) == lasting(finished(name))
    assert records(tmp_path) == records(finished(name))


def test_the_recorded_settings_repeat_the_run(finished, digits, lasting, tmp_path):
    more = ("--train_aug", "--mu", "0.3")
    first = finished("LWF", *more)
    settings = parse(REGISTRY, ["--config", str(first / "args.yaml"), "--log_dir", str(tmp_path)])
    assert settings.mu == 0.3
    build_trainer(settings, digits, RunFolder(settings), torch.device("cpu")).run()
    assert lasting(tmp_path) == lasting(first)


def test_pictures_change_no_result(finished, lasting):
    plain = finished(ABD)
    assert lasting(plain) == lasting(finished(ABD, "--no_figures", "0"))
    assert not (plain / "figures").exists()


def test_repeats_differ(finished):
    history = read(finished("NormalNN", "--repeat", "2", "--max_task", "3") / "results-acc" / "pt.yaml")["history"]
    assert history[0][0][0] != history[0][0][1]


# Numbers that go bad


@pytest.fixture
def poisoned(monkeypatch):
    """Makes a loss of the learning stage not finite: poisoned(step, value, name)."""
    def poison(step, value, name="distillation"):
        steps = []

        def loss(self, x, y):
            losses = true_loss(self, x, y)
            steps.append(None)
            return {key: term * value if key == name and len(steps) >= step else term for key, term in losses.items()}

        true_loss = LWF.loss
        monkeypatch.setattr(LWF, "loss", loss)

    return poison


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_the_run_within_the_epoch(trainer, tmp_path, poisoned, value):
    steps = 282 // 64  # of an epoch; the first task has two of them
    poisoned(3 * steps + 2, value)
    with pytest.raises(RunError) as error:
        trainer(tmp_path, "LWF").run()
    message = str(error.value)
    assert "\n" not in message
    checkpoint = str(tmp_path / "checkpoint.pt")
    for part in ("task 2/2  learn  epoch 2/2", "step 2 of 4", "classification ", f"distillation {value}", checkpoint, "1 epochs done"):
        assert part in message
    assert [one["losses"] for one in records(tmp_path) if not np.isfinite(list(one.get("losses", {"": 0}).values())).all()] == []
    assert read_tensors(tmp_path / "checkpoint.pt")["place"] == {"repeat": 0, "task": 1, "stage": 0, "epoch": 1}
    assert not (tmp_path / "models" / "repeat-1" / "task-2").exists()


def test_weights_that_are_not_finite_after_the_last_step_stop_the_run(trainer, tmp_path):
    with pytest.raises(RunError, match=r"task 1/2  learn  epoch 1/2: .* is not finite after the last step, though all losses were"):
        trainer(tmp_path, "NormalNN", "--batch_size", 280, "--lr", 1e38, "--weight_decay", 1e10).run()
    assert not (tmp_path / "models").exists()


def test_outputs_that_are_not_finite_are_no_accuracy(trainer, tmp_path, monkeypatch):
    monkeypatch.setattr(Learner, "predict", lambda self, images: self.model(images) * math.inf)
    with pytest.raises(RunError, match=r"task 1/2  accuracy: the model's outputs for some test images are not finite"):
        trainer(tmp_path, "NormalNN").run()
    assert not (tmp_path / "models").exists()
