"""Whole runs in this process: what they leave, that they repeat to the byte, and that they can be stopped anywhere."""

import dataclasses
import errno
import functools
import json
import math
import os
import shutil

import numpy as np
import pytest
import torch
import yaml
from conftest import TWO_PHASES

from dataloaders.batches import Iterations
from learners import REGISTRY, Learner
from learners.lwf import LWF
from utils.command_line import parse
from utils.errors import RunError, UserError
from utils.files import read_tensors, write_tensors
from utils.streams import Streams
from utils.training.checkpoint import Place, RunFolder
from utils.training.trainer import CHECKPOINTED, Trainer, build_learner

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
    folder = finished(ABD)
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

    def spying(stage, task):
        if (task.index, stage.name) == (1, "learn"):
            seen.update({name: value.clone() for name, value in run.learner.generator.state_dict().items()})
        train_stage(stage, task)

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
        said = f"accuracy {last['accuracy']:.1f} % mean of tasks, {last['accuracy_over_images']:.1f} % over images"
        assert said in (folder / "output.log").read_text()


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
    again.learner.model.load_state_dict(torch.load(folder / "models" / "repeat-1" / "task-1" / "class.pth", weights_only=True))
    again.measure(again.tasks[0])
    assert again.results.matrix[0][0][0] == read(folder / "results-acc" / "pt.yaml")["history"][0][0][0]


def test_a_first_task_is_learned(trainer, tmp_path):
    results = trainer(tmp_path, "NormalNN", "--max_task", 1, "--schedule", 8, 10, "--batch_size", 32).run()
    assert results.matrix[0][0][0] > 95


def test_the_updating_line_has_task_stage_epoch_accuracy_and_losses(trainer, tmp_path, monkeypatch, capsys):
    texts = []
    monkeypatch.setattr("utils.training.progress.Progress.start", lambda self, kind, text: texts.append(text))
    monkeypatch.setattr("utils.training.progress.Progress.step", lambda self: None)
    trainer(tmp_path).run()
    lines = capsys.readouterr().out.splitlines()
    accuracy, = (line.split("accuracy ")[1].split(" %")[0] for line in lines if "task 1/2  accuracy" in line)
    loss, = (line.split("classification ")[1].split()[0] for line in lines if "task 2/2  learn  epoch 1/2" in line)
    assert texts[0] == "repeat 1/1  task 1/2  learn  epoch 1/2"
    assert texts[3] == f"repeat 1/1  task 2/2  learn  epoch 2/2  accuracy {accuracy} %  classification {loss}"


def test_the_log_has_every_epoch_also_where_the_terminal_has_few(trainer, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("utils.training.progress.PACE", 1e9)
    trainer(tmp_path, "NormalNN", "--schedule", 5, "--max_task", 1, "--no_figures").run()
    said = [line for line in capsys.readouterr().out.splitlines() if "  epoch " in line]
    logged = [line for line in (tmp_path / "output.log").read_text().splitlines() if "  epoch " in line]
    assert len(logged) == 5
    assert said == [logged[0], logged[-1]]


# The same bytes


@pytest.mark.parametrize("name", ["NormalNN", "ETE", ABD])
def test_the_same_settings_give_the_same_bytes(finished, trainer, lasting, tmp_path, name):
    torch.manual_seed(12345)  # whatever the global random state
    torch.rand(10)
    trainer(tmp_path, name).run()
    assert lasting(tmp_path) == lasting(finished(name))
    assert records(tmp_path) == records(finished(name))


def test_the_recorded_settings_repeat_the_run(finished, trainer, lasting, tmp_path):
    more = ("--train_aug", "--mu", "0.3")
    first = finished("LWF", *more)
    settings = parse(REGISTRY, ["--config", str(first / "args.yaml"), "--log_dir", str(tmp_path)])
    assert settings.mu == 0.3
    Trainer(settings, trainer(tmp_path / "unused").data, RunFolder(settings), torch.device("cpu")).run()
    assert lasting(tmp_path) == lasting(first)


def test_pictures_change_no_result(finished, lasting):
    plain = finished(ABD, "--no_figures")
    assert lasting(plain) == lasting(finished(ABD))
    assert not (plain / "figures").exists()


def test_repeats_differ(finished):
    history = read(finished("NormalNN", "--repeat", "2", "--max_task", "3") / "results-acc" / "pt.yaml")["history"]
    assert history[0][0][0] != history[0][0][1]


# Stopped and started again


@pytest.mark.parametrize("lost", [False, True], ids=["after-saving", "with-an-epoch-lost"])
@pytest.mark.parametrize("name", ["NormalNN", "ETE", "BIC", "Generative_Replay", ABD, "RDFCIL", "CwD", "RFD"])
def test_a_run_stopped_at_every_checkpoint_ends_like_an_undisturbed_one(finished, trainer, lasting, tmp_path, monkeypatch, name, lost):
    undisturbed = finished(name)
    monkeypatch.setattr("learners.dreaming.Iterations", functools.partial(Iterations, round=2))
    save = Trainer.save
    saves = []

    def stopping(self, *arguments):
        if lost and self.saved_once:
            raise Stopped
        save(self, *arguments)
        saves.append((self.place.repeat, self.place.task, self.place.stage, self.place.epoch))
        self.saved_once = True
        if not lost:
            raise Stopped

    monkeypatch.setattr(Trainer, "save", stopping)
    monkeypatch.setattr(Trainer, "saved_once", False, raising=False)
    for _ in range(20):
        try:
            trainer(tmp_path, name).run()
            break
        except Stopped:
            continue
    second = {ABD: [(0, 1, 0, 1), (0, 1, 0, 2), (0, 1, 1, 1), (0, 1, 1, 2)]}.get(name, [(0, 1, 0, 1), (0, 1, 0, 2)])
    second += {"ETE": [(0, 1, 1, 1), (0, 1, 1, 2)], "BIC": [(0, 1, 1, 1), (0, 1, 1, 2)]}.get(name, [])
    first = [(0, 0, 0, 1), (0, 0, 0, 2)]
    if name in TWO_PHASES:  # of an epoch each, of which the first task has one
        first, second = first[:1], [(0, 1, 0, 1), (0, 1, 0, 2), (0, 1, 1, 1), (0, 1, 2, 1)]
    assert saves == [(0, 0, 0, 0), *first, (0, 1, 0, 0), *second, (0, 2, 0, 0), (1, 0, 0, 0)]
    assert lasting(tmp_path) == lasting(undisturbed)
    assert accuracies(tmp_path) == accuracies(undisturbed)
    if name not in (ABD, *TWO_PHASES):  # rounds of two iterations have records of their own
        assert records(tmp_path) == records(undisturbed)


def test_where_writing_takes_long_checkpoints_wait_for_the_end_of_the_stage(trainer, tmp_path, monkeypatch):
    monkeypatch.setattr("utils.training.trainer.SAVING_SHARE", 1e-9)
    save, saves = Trainer.save, []
    monkeypatch.setattr(Trainer, "save", lambda self, *arguments: (save(self, *arguments), saves.append((self.place.task, self.place.epoch))))
    trainer(tmp_path).run()
    assert saves == [(0, 0), (0, 2), (1, 0), (1, 2), (2, 0), (0, 0)]


def test_naive_rehearsal_stopped_within_a_task_resamples_what_it_had(finished, trainer, lasting, tmp_path, monkeypatch):
    more = ("--memory", "40", "--max_task", "3", "--schedule", "2")
    undisturbed = finished("NormalNN", *more)
    save = Trainer.save

    def stopping(self, *arguments):
        save(self, *arguments)
        if (self.place.task, self.place.epoch) == (2, 1) and not (tmp_path / "stopped").exists():
            (tmp_path / "stopped").touch()
            raise Stopped

    monkeypatch.setattr(Trainer, "save", stopping)
    with pytest.raises(Stopped):
        trainer(tmp_path, "NormalNN", *more).run()
    trainer(tmp_path, "NormalNN", *more).run()
    assert lasting(tmp_path) == lasting(undisturbed)


def test_a_run_that_stops_in_its_second_repeat_ends_like_an_undisturbed_one(finished, trainer, lasting, tmp_path, monkeypatch):
    more = ("--repeat", "2", "--max_task", "3")
    save = Trainer.save

    def stopping(self, *arguments):
        if (self.place.repeat, self.place.task, self.place.epoch) == (1, 1, 2):
            raise Stopped
        save(self, *arguments)

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(Trainer, "save", stopping)
        trainer(tmp_path, "NormalNN", *more).run()
    trainer(tmp_path, "NormalNN", *more).run()
    assert lasting(tmp_path) == lasting(finished("NormalNN", *more))
    assert records(tmp_path) == records(finished("NormalNN", *more))


def test_the_generators_adam_lives_on_in_a_run_that_stopped_between_tasks(finished, trainer, lasting, tmp_path, monkeypatch):
    more = ("--max_task", "3", "--schedule", "1", "--no_figures")
    save = Trainer.save

    def stopping(self, *arguments):
        save(self, *arguments)
        if (self.place.task, self.place.stage) == (2, 0):
            raise Stopped

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(Trainer, "save", stopping)
        trainer(tmp_path, ABD, *more).run()
    trainer(tmp_path, ABD, *more).run()
    assert lasting(tmp_path) == lasting(finished(ABD, *more))


def test_more_repeats_extend_a_finished_run(finished, copied, trainer, lasting):
    more = ("--max_task", "3")
    folder = copied("NormalNN", *more)
    trainer(folder, "NormalNN", *more, "--repeat", 2).run()
    assert lasting(folder) == lasting(finished("NormalNN", "--repeat", "2", *more))
    assert records(folder) == records(finished("NormalNN", "--repeat", "2", *more))


def test_a_finished_run_trains_nothing_and_says_the_same_again(copied, trainer, lasting, monkeypatch, capsys):
    folder = copied(ABD)
    before, metrics = lasting(folder), records(folder)
    log = (folder / "output.log").read_text()
    monkeypatch.setattr(Trainer, "train_stage", None)
    trainer(folder, ABD).run()
    said = capsys.readouterr().out
    assert said.splitlines()[-1].startswith("final accuracy: ") and f"figures:  {folder / 'figures'}" in said
    assert (folder / "output.log").read_text() == log.partition("\n\n")[0] + "\n" + said
    assert len(said.splitlines()) == len(log.partition("\n\n")[2].splitlines()) + 1  # the empty line before it
    assert (lasting(folder), records(folder)) == (before, metrics)


def test_overwrite_starts_afresh_and_leaves_a_strangers_file_alone(copied, trainer, lasting, finished):
    folder = copied("NormalNN")
    (folder / "notes.txt").write_text("mine")
    trainer(folder, "NormalNN", "--overwrite", 1).run()
    assert (folder / "notes.txt").read_text() == "mine"
    assert (folder / "output.log").read_text().count("task 1/2  learn  epoch 1/2") == 1
    assert lasting(folder) == lasting(finished("NormalNN"))


def test_other_settings_on_a_runs_folder_are_refused_by_name(copied, trainer):
    with pytest.raises(UserError, match=r"--log_dir.*\(lr 0.05 there, 0.2 here\)"):
        trainer(copied("NormalNN"), "NormalNN", "--lr", 0.2)


# Variants of the protocol


UNEVEN = ("--first_split_size", "4", "--other_split_size", "4", "--max_task", "-1")


@pytest.mark.parametrize("name", ["AlwaysBeDreaming", "ETE", "BIC"])
def test_tasks_may_be_of_several_sizes_and_a_list_of_them_is_the_same_run(finished, trainer, lasting, tmp_path, name):
    run = finished(name, *UNEVEN)
    history = np.array(yaml.safe_load((run / "results-acc" / "global.yaml").read_text())["history"], dtype=float)
    assert history.shape == (3, 1)
    assert np.isfinite(history).all()
    trainer(tmp_path, name, "--task_sizes", "4", "4", "2", "--max_task", "-1").run()
    assert lasting(tmp_path) == lasting(run)


def test_max_task_stops_before_the_smaller_task(finished, trainer, tmp_path):
    results = trainer(tmp_path, "NormalNN", "--first_split_size", "4", "--other_split_size", "4", "--max_task", "2").run()
    assert len(results.matrix[0]) == 2


def test_classes_that_no_task_has_are_left_out(trainer, tmp_path):
    run = trainer(tmp_path, "NormalNN", "--task_sizes", "3", "2")
    assert [len(row) for row in run.run().matrix[0]] == [1, 2]
    assert [sorted(set(task.train.labels.tolist())) for task in run.tasks] == [[0, 1, 2], [3, 4]]


@pytest.mark.parametrize(
    "flags", [("--validation",), ("--DW",), ("--train_aug",), ("--optimizer", "Adam", "--lr", "0.001")], ids=lambda flags: flags[0])
def test_variants_run_and_give_other_results(finished, lasting, flags):
    assert lasting(finished("NormalNN", *flags)).keys() == lasting(finished("NormalNN")).keys()
    if flags != ("--DW",):  # the digits' classes are balanced but for a few images
        assert lasting(finished("NormalNN", *flags)) != lasting(finished("NormalNN"))


def test_validation_measures_on_training_images_that_are_held_out(trainer, digits, tmp_path):
    run = trainer(tmp_path, "NormalNN", "--validation")
    run.start_repeat()
    training = {image.tobytes() for image in digits.train.images}
    for task in run.tasks:
        learned = {image.numpy().tobytes() for image in task.train.source.stored[task.train.rows]}
        held = {image.numpy().tobytes() for image in task.test.source.stored[task.test.rows]}
        assert held <= training
        assert not held & learned
        assert 3.5 < len(task.train) / len(task.test) < 4.5


def test_the_oracle_starts_every_task_from_new_weights_on_all_data_so_far(trainer, tmp_path, monkeypatch):
    starts = []
    train_stage = Trainer.train_stage

    def spying(self, stage, task):
        starts.append(({name: value.clone() for name, value in self.learner.model.state_dict().items()}, set(task.train.labels.tolist())))
        train_stage(self, stage, task)

    monkeypatch.setattr(Trainer, "train_stage", spying)
    run = trainer(tmp_path, "NormalNN", "--oracle_flag", "--max_task", 3)
    run.run()
    assert [classes for _, classes in starts] == [{0, 1}, set(range(4)), set(range(6))]
    for task, (state, _) in enumerate(starts):
        fresh = build_learner(run.settings, Streams(), torch.device("cpu"), 0, task).model.state_dict()
        assert all(torch.equal(state[name], fresh[name]) for name in fresh)
    assert not torch.equal(starts[0][0]["conv1.weight"], starts[1][0]["conv1.weight"])


def test_a_stopped_oracle_ends_like_an_undisturbed_one(finished, trainer, lasting, tmp_path, monkeypatch):
    save = Trainer.save

    def stopping(self, *arguments):
        save(self, *arguments)
        if (self.place.task, self.place.epoch) == (1, 1) and not (tmp_path / "stopped").exists():
            (tmp_path / "stopped").touch()
            raise Stopped

    monkeypatch.setattr(Trainer, "save", stopping)
    with pytest.raises(Stopped):
        trainer(tmp_path, "NormalNN", "--oracle_flag").run()
    trainer(tmp_path, "NormalNN", "--oracle_flag").run()
    assert lasting(tmp_path) == lasting(finished("NormalNN", "--oracle_flag"))


def test_all_classes_at_once_are_one_task(finished):
    folder = finished("NormalNN", "--first_split_size", "10")
    assert np.shape(read(folder / "results-acc" / "pt.yaml")["history"]) == (1, 1, 1)


def test_classes_are_shuffled_only_with_rand_split(trainer, tmp_path):
    run = trainer(tmp_path, "NormalNN")
    shuffled = run.splits(0)[2]
    run.settings.rand_split = False
    assert run.splits(0)[2] == list(range(10)) == sorted(shuffled)
    assert shuffled != list(range(10))


# --seed and --class_order


def test_a_repeat_is_the_first_of_a_run_with_its_seed(finished, trainer, tmp_path):
    """Order, weights, streams and held-out images: one number stands for all."""
    more = ("--train_aug", "--memory", 40, "--validation")
    both = finished("NormalNN", *more, "--repeat", "2")
    trainer(tmp_path, "NormalNN", *more, "--seed", 1).run()
    for task in (1, 2):
        path = f"task-{task}/class.pth"
        assert (tmp_path / "models/repeat-1" / path).read_bytes() == (both / "models/repeat-2" / path).read_bytes()
        assert (both / "models/repeat-1" / path).read_bytes() != (both / "models/repeat-2" / path).read_bytes()
    assert [column[1] for column in read(both / "results-acc/global.yaml")["history"]] == [
        column[0] for column in read(tmp_path / "results-acc/global.yaml")["history"]]


def test_another_seed_or_order_is_another_run(finished, copied, tmp_path):
    settings = parse(REGISTRY, ["--config", str(finished("NormalNN") / "args.yaml"), "--log_dir", str(copied("NormalNN"))])
    for name, value in (("seed", 1), ("class_order", list(range(10)))):
        with pytest.raises(UserError, match=f"other settings \\({name} "):
            RunFolder(dataclasses.replace(settings, **{name: value}))


def test_classes_are_learned_in_the_order_given_in_every_repeat(trainer, tmp_path):
    order = [7, 3, 9, 1, 0, 2, 4, 5, 6, 8]
    run = trainer(tmp_path, "NormalNN", "--repeat", 2, "--class_order", *order)
    for repeat in (0, 1):
        run.place = Place(repeat)
        run.start_repeat()
        assert [run.tasks[0].names[place] for place in run.tasks[0].test.labels.unique().tolist()] == ["7", "3"]
        assert [run.tasks[1].names[place] for place in run.tasks[1].test.labels.unique().tolist()] == ["9", "1"]


# --load_model_dir


@pytest.fixture
def loaded(finished, trainer, tmp_path):
    """The folder of a run of LwF that starts from the first task of Base's."""
    trainer(tmp_path / "loaded", "LWF", "--load_model_dir", finished("NormalNN")).run()
    return tmp_path / "loaded"


def test_the_log_and_the_final_screen_say_where_the_first_task_came_from(loaded, finished):
    text = (loaded / "output.log").read_text()
    path = finished("NormalNN") / "models" / "repeat-1" / "task-1" / "class.pth"
    assert f"repeat 1/1  task 1/2  first task from {path}, NormalNN's\n" in text
    assert f"\ntask 1:   from {finished('NormalNN')}\n" in text
    assert "load_any" not in (loaded / "results-acc" / "global.yaml").read_text()


def test_a_first_task_taken_with_load_any_is_said_everywhere(finished, trainer, tmp_path):
    source, folder = finished("NormalNN"), tmp_path / "run"
    trainer(folder, ABD, "--load_model_dir", source, "--load_any", 1, "--lr", 0.2).run()
    text = (folder / "output.log").read_text()
    assert "taken with --load_any 1 although: NormalNN learns its first task in another way than AlwaysBeDreaming; lr 0.05 there, 0.2 here" in text
    assert f"\ntask 1:   from {source} (with --load_any 1)\n" in text
    assert read(folder / "args.yaml")["load_any"] == 1
    for name in ("global", "pt", "pt-local"):
        assert read(folder / "results-acc" / f"{name}.yaml")["load_any"] == str(source)


def test_a_first_task_of_the_published_code_is_taken(copied, trainer, tmp_path, plain, as_published):
    """Its class.pth, with its names of tensors, and an args.yaml as it recorded them."""
    source = copied("NormalNN")
    mine = torch.load(source / "models" / "repeat-1" / "task-1" / "class.pth", weights_only=True)
    plain(source / "models" / "repeat-1" / "task-1" / "class.pth")
    as_published(source)
    trainer(tmp_path / "run", "LWF", "--load_model_dir", source, "--max_task", 1).run()
    taken = torch.load(tmp_path / "run" / "models" / "repeat-1" / "task-1" / "class.pth", weights_only=True)
    assert all(torch.equal(taken[name], mine[name]) for name in mine)
    text = (tmp_path / "run" / "output.log").read_text()
    assert "class.pth, NormalNN's of the published code, which carries no checksum\n" in text
    assert "trained for a time that is not known" in text
    assert "trained:  0 s without the first task, whose time is not known\n" in text


def test_a_loaded_first_task_has_the_other_runs_accuracy_and_is_not_trained(loaded, finished):
    theirs, mine = (read(folder / "results-acc" / "pt.yaml")["history"][0][0] for folder in (finished("NormalNN"), loaded))
    assert mine == theirs
    assert [one.get("stage") for one in records(loaded) if one["task"] == 1] == [None]


def test_a_loaded_first_task_counts_the_other_runs_time(loaded, finished):
    theirs, mine = (read(folder / "results-time" / "global.yaml")["history"] for folder in (finished("NormalNN"), loaded))
    assert mine[0] == theirs[0] and mine[0][0] > 0


def test_a_first_task_that_is_done_is_not_asked_for_again(copied, trainer, tmp_path):
    source = copied("NormalNN")
    trainer(tmp_path / "run", "LWF", "--load_model_dir", source).run()
    shutil.rmtree(source)
    assert trainer(tmp_path / "run", "LWF", "--load_model_dir", source).first_tasks == {}


def test_a_first_task_of_networks_that_see_other_images_is_refused(finished, trainer, tmp_path):
    with pytest.raises(UserError, match="--load_model_dir.*Generative_Replay"):
        trainer(tmp_path / "run", "LWF", "--load_model_dir", finished("Generative_Replay"))


def test_a_run_under_way_on_another_device_is_refused(trainer, tmp_path, monkeypatch):
    save = Trainer.save

    def stopping(self, *arguments):
        save(self, *arguments)
        if self.place.epoch:
            raise Stopped

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(Trainer, "save", stopping)
        trainer(tmp_path, "NormalNN").run()
    run = trainer(tmp_path, "NormalNN")
    assert run.folder.state.keys() >= CHECKPOINTED
    run.folder.state["device"] = "cuda"
    with pytest.raises(UserError, match="--gpuid.* under way on cuda, this would go on on cpu"):
        Trainer(run.settings, run.data, run.folder, torch.device("cpu"))
    del run.folder.state["streams"]
    with pytest.raises(UserError, match="--log_dir.* another version"):
        Trainer(run.settings, run.data, run.folder, torch.device("cpu"))


def test_a_loaded_first_task_gives_what_learning_it_would_have(loaded, finished):
    """Base and LwF learn the first task alike, so all that follows is alike, too."""
    mine, whole = (torch.load(folder / "models" / "repeat-1" / "task-2" / "class.pth", weights_only=True) for folder in (loaded, finished("LWF")))
    assert all(torch.equal(mine[name], whole[name]) for name in whole)


@pytest.mark.parametrize(("flags", "named"), [(("--model_name", "resnet14"), "model_name"), (("--repeat", "2"), "repeat 2"), ((), "nowhere")])
def test_a_first_task_that_does_not_fit_is_refused_before_work(finished, trainer, tmp_path, flags, named):
    source = finished("NormalNN") if flags else tmp_path / "nowhere"
    with pytest.raises(UserError, match=f"--load_model_dir.*{named}"):
        trainer(tmp_path / "run", "LWF", "--load_model_dir", source, *flags)
    assert not (tmp_path / "run" / "models").exists()


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
    with pytest.raises(RunError, match=r"task 1/2  learn  epoch 1/2: not finite are .*the losses were"):
        trainer(tmp_path, "NormalNN", "--batch_size", 280, "--lr", 1e38, "--weight_decay", 1e10).run()
    assert not (tmp_path / "models").exists()


def test_outputs_that_are_not_finite_are_no_accuracy(trainer, tmp_path, monkeypatch):
    monkeypatch.setattr(Learner, "predict", lambda self, images: self.model(images) * math.inf)
    with pytest.raises(RunError, match=r"task 1/2  accuracy: not finite are .*outputs"):
        trainer(tmp_path, "NormalNN").run()
    assert not (tmp_path / "models").exists()


# A full disk, a vanished folder


def test_a_full_disk_ends_in_one_line_and_the_run_goes_on_when_it_is_mended(finished, trainer, lasting, tmp_path, monkeypatch):
    syncs = []

    def filling(descriptor):
        syncs.append(descriptor)
        if len(syncs) == 12:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", filling)
        with pytest.raises(RunError) as error:
            trainer(tmp_path, "NormalNN").run()
    assert "\n" not in str(error.value)
    for part in ("No space left on device", "the same command goes on", "checkpoint.pt"):
        assert part in str(error.value)
    trainer(tmp_path, "NormalNN").run()
    assert lasting(tmp_path) == lasting(finished("NormalNN"))
    assert records(tmp_path) == records(finished("NormalNN"))


def test_a_folder_that_vanishes_ends_the_run_and_is_not_made_again(finished, trainer, lasting, tmp_path, monkeypatch):
    train_epoch = Trainer.train_epoch

    def moving(self, stage, epoch, heading):
        losses = train_epoch(self, stage, epoch, heading)
        if (self.place.task, epoch) == (1, 0):
            (tmp_path / "run").rename(tmp_path / "moved")
        return losses

    with monkeypatch.context() as patch, pytest.raises(RunError, match=str(tmp_path / "run")):
        patch.setattr(Trainer, "train_epoch", moving)
        trainer(tmp_path / "run", "NormalNN").run()
    assert not (tmp_path / "run").exists()
    trainer(tmp_path / "moved", "NormalNN").run()
    assert lasting(tmp_path / "moved") == lasting(finished("NormalNN"))


@pytest.mark.parametrize("kind", ["cut", "flipped", "gone"])
def test_from_the_checkpoint_before_a_damaged_one_a_run_ends_like_an_undisturbed_one(finished, trainer, lasting, tmp_path, monkeypatch, capsys, kind):
    save = Trainer.save

    def stopping(self, *arguments):
        save(self, *arguments)
        if (self.place.task, self.place.stage) == (2, 0):
            raise Stopped

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(Trainer, "save", stopping)
        trainer(tmp_path, ABD).run()
    path = tmp_path / "checkpoint.pt"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content[:-1] if kind == "cut" else content)
    if kind == "gone":
        path.unlink()
    trainer(tmp_path, ABD).run()
    assert ("checkpoint.pt cannot be read" in (tmp_path / "output.log").read_text()) == (kind != "gone")
    assert lasting(tmp_path) == lasting(finished(ABD))
    assert records(tmp_path) == records(finished(ABD))
    assert accuracies(tmp_path) == accuracies(finished(ABD))


def test_a_checkpoint_of_another_version_of_a_learner_is_one_line(copied, trainer):
    folder = copied("NormalNN", "--max_task", "3")
    state = read_tensors(folder / "checkpoint.pt")
    state["place"] = {"repeat": 0, "task": 1, "stage": 0, "epoch": 0}
    state["learner"]["new.weight"] = torch.ones(1)
    write_tensors(folder / "checkpoint.pt", state)
    with pytest.raises(RunError, match="another version of NormalNN") as error:
        trainer(folder, "NormalNN", "--max_task", "3").run()
    assert "\n" not in str(error.value)


def test_a_run_killed_before_its_first_checkpoint_starts_again(finished, trainer, lasting, tmp_path, monkeypatch):
    def stopping(self, *arguments):
        raise Stopped

    (tmp_path / "metrics.jsonl").write_text('{"epo')
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(Trainer, "save", stopping)
        trainer(tmp_path, "NormalNN").run()
    trainer(tmp_path, "NormalNN").run()
    assert lasting(tmp_path) == lasting(finished("NormalNN"))
    assert records(tmp_path) == records(finished("NormalNN"))


# Refused before any work


def test_a_batch_larger_than_a_task_is_refused_by_name(trainer, tmp_path):
    with pytest.raises(UserError, match=r"--batch_size 2000: task 1 has \d+ images to learn, less than one batch"):
        trainer(tmp_path, "NormalNN", "--batch_size", 2000)


@pytest.mark.parametrize(("name", "memory", "stage"), [("ETE", 0, "balance"), ("BIC", 0, "bias"), ("BIC", 19, "bias")])
def test_a_coreset_too_small_for_a_stage_is_refused_by_name(trainer, tmp_path, name, memory, stage):
    with pytest.raises(UserError, match=f"--memory {memory}: leaves no image for the stage {stage} of task 2"):
        trainer(tmp_path, name, "--memory", memory)
    assert not (tmp_path / "models").exists()


def test_a_batch_larger_than_a_task_without_its_validation_images_is_refused(trainer, tmp_path):
    trainer(tmp_path, "NormalNN", "--batch_size", 270)
    with pytest.raises(UserError, match="--batch_size 270"):
        trainer(tmp_path, "NormalNN", "--batch_size", 270, "--validation")


def test_a_refused_command_deletes_nothing_in_spite_of_overwrite(copied, trainer, lasting):
    folder = copied("NormalNN")
    before = lasting(folder)
    with pytest.raises(UserError):
        trainer(folder, "NormalNN", "--overwrite", 1, "--batch_size", 2000)
    assert (folder / "checkpoint.pt").exists()
    assert lasting(folder) == before
