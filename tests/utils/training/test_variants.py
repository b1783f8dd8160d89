"""Whole runs of other protocols: validation, the oracle, orders and seeds, a first task taken over; and what is refused before work."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch

from learners import REGISTRY, build_learner
from tests.utils.training.test_trainer import ABD, Stopped, read, records
from utils.command_line import parse
from utils.errors import UserError
from utils.streams import Streams
from utils.training.folder import Place, RunFolder
from utils.training.trainer import Trainer

# Variants of the protocol


SHORT = ("--max_task", "-1", "--schedule", "1", "--power_iters", "2")
UNEVEN = ("--first_split_size", "4", "--other_split_size", "4", *SHORT)


@pytest.mark.parametrize("name", ["AlwaysBeDreaming", "ETE", "BIC"])
def test_tasks_may_be_of_several_sizes(finished, name):
    history = np.array(read(finished(name, *UNEVEN) / "results-acc" / "global.yaml")["history"], dtype=float)
    assert history.shape == (3, 1)
    assert np.isfinite(history).all()


def test_a_list_of_sizes_is_the_same_run(finished, lasting):
    assert lasting(finished("NormalNN", *UNEVEN)) == lasting(finished("NormalNN", "--task_sizes", "4", "4", "2", *SHORT))


def test_max_task_stops_before_the_smaller_task(finished, trainer, tmp_path):
    results = trainer(tmp_path, "NormalNN", "--first_split_size", "4", "--other_split_size", "4", "--max_task", "2").run()
    assert len(results.matrix[0]) == 2


def test_classes_that_no_task_has_are_left_out(trainer, tmp_path):
    run = trainer(tmp_path, "NormalNN", "--task_sizes", "3", "2")
    assert [len(row) for row in run.run().matrix[0]] == [1, 2]
    assert [sorted(set(task.train.labels.tolist())) for task in run.state.tasks] == [[0, 1, 2], [3, 4]]


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
    for task in run.state.tasks:
        learned = {image.numpy().tobytes() for image in task.train.source.stored[task.train.rows]}
        held = {image.numpy().tobytes() for image in task.test.source.stored[task.test.rows]}
        assert held <= training
        assert not held & learned
        assert 3.5 < len(task.train) / len(task.test) < 4.5


def test_the_oracle_starts_every_task_from_new_weights_on_all_data_so_far(trainer, tmp_path, monkeypatch):
    starts = []
    train_stage = Trainer.train_stage

    def spying(self, stage):
        weights = {name: value.clone() for name, value in self.state.learner.model.state_dict().items()}
        starts.append((weights, set(self.state.task.train.labels.tolist())))
        yield from train_stage(self, stage)

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

    def stopping(self):
        save(self)
        if (self.state.place.task, self.state.place.epoch) == (1, 1) and not (tmp_path / "stopped").exists():
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
        run.state.place = Place(repeat)
        run.start_repeat()
        assert [run.state.tasks[0].names[place] for place in run.state.tasks[0].test.labels.unique().tolist()] == ["7", "3"]
        assert [run.state.tasks[1].names[place] for place in run.state.tasks[1].test.labels.unique().tolist()] == ["9", "1"]


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

    def stopping(self):
        save(self)
        if self.state.place.epoch:
            raise Stopped

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(Trainer, "save", stopping)
        trainer(tmp_path, "NormalNN").run()
    run = trainer(tmp_path, "NormalNN")
    run.folder.state["device"] = "cuda"
    with pytest.raises(UserError, match="--gpuid.* under way on cuda, this would resume it on cpu"):
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
