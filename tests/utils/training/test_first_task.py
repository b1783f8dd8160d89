"""--load_model_dir: which first tasks are taken over, and what is refused."""

import dataclasses
import shutil

import pytest
import torch
from conftest import write_pictures

from dataloaders.datasets import DATASETS
from dataloaders.image_folder import image_folder
from learners import LEARNERS, REGISTRY
from tests.utils.training.conftest import ABD, lines_of, read, records
from utils.command_line import parse
from utils.errors import UserError
from utils.files import read_yaml, write_yaml
from utils.training.first_task import first_task

MODEL, CLASSES = "models/repeat-1/task-1/class.pth", "models/repeat-1/classes.yaml"


@pytest.fixture
def other(copied):
    """A finished run of Base that may be changed."""
    return copied("NormalNN")


@pytest.fixture
def take(other):
    """The first task of that run for one that differs from it in these settings: take(name=value, ...)."""
    flags = ["--config", str(other / "args.yaml"), "--load_model_dir", str(other)]
    data = read_yaml(other / "provenance.yaml")["data"]
    classes = read_yaml(other / "models" / "repeat-1" / "classes.yaml")["classes"]
    classes = [(entry["number"], entry["name"]) for entry in classes]

    def take(repeat=0, **changes):
        return first_task(dataclasses.replace(parse(REGISTRY, flags), **changes), repeat, data, classes)

    return take


def refused(take, *arguments, **changes):
    with pytest.raises(UserError, match="^--load_model_dir ") as error:
        take(*arguments, **changes)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_the_first_task_does_not_depend_on_may_differ(other, take):
    found = take(mu=4, memory=0, max_task=3, other_split_size=4, DW=True, learner_name="LWF")
    saved = torch.load(other / MODEL, weights_only=True)
    assert all(torch.equal(found.model[name], saved[name]) for name in saved)
    assert found.source == f"{other / MODEL}, NormalNN's"
    assert found.seconds == read(other / "results-time" / "global.yaml")["history"][0][0] > 0


@pytest.mark.parametrize(("name", "value"), [
    ("rand_split", False), ("first_split_size", 4), ("validation", True), ("lr", 0.5), ("schedule", [2, 3]),
    ("batch_size", 32), ("seed", 1), ("class_order", [3, 1, 2, 0]), ("train_aug", True),
    ("image_size", 16)])
def test_a_run_with_another_first_task_is_refused_by_name(take, name, value):
    message = refused(take, **{name: value})
    assert f" {name} " in message and f" there, {value} here; " in message and "--load_any" in message


def test_a_learner_that_learns_its_first_task_otherwise_is_refused(take, monkeypatch):
    message = refused(take, learner_name=ABD)
    assert f"NormalNN and {ABD} learn first tasks differently" in message
    monkeypatch.setattr(LEARNERS["LWF"], "first_task_settings", ("temp",))
    assert "temp 2.0 there, 4.0 here" in refused(take, learner_name="LWF", temp=4.0)
    assert "weighted by DW only here" in refused(take, DW=True, memory=20)


def test_load_any_takes_another_first_task_and_says_what_differs(other, take):
    found = take(load_any=1, lr=0.5, learner_name=ABD)
    assert "taken with --load_any although: NormalNN and" in found.source
    assert found.source.endswith("; lr 0.05 there, 0.5 here")
    assert "not a resnet14 for Digits" in refused(take, load_any=1, model_name="resnet14")
    taken = {"load_any": 1, "load_model_dir": "third"}
    write_yaml(other / "args.yaml", read_yaml(other / "args.yaml") | taken)
    assert "its own first task with load_any" in refused(take, load_any=0, load_model_dir=str(other))


@pytest.mark.parametrize(("name", "content", "reason"), [
    ("args.yaml", None, "does not hold a run"), ("args.yaml", b"- a list\n", "does not hold a run"),
    (MODEL, None, "is missing"), (MODEL, b"nonsense", "damaged")])
def test_a_run_with_missing_or_damaged_files_is_refused(other, name, content, reason):
    (other / name).write_bytes(content) if content else (other / name).unlink()
    if name == "args.yaml":
        (other / "checkpoint.pt").unlink()
        (other / "checkpoint-previous.pt").unlink()
    flags = ["--dataset", "Digits", "--load_model_dir", str(other), "--load_any", "1"]
    assert reason in refused(first_task, parse(REGISTRY, flags), 0, "", [])


def test_a_repeat_that_the_other_run_lacks_is_refused(take):
    assert "repeat-2/task-1/class.pth is missing" in refused(take, repeat=1)


def test_a_first_task_taken_over_gives_what_learning_it_would_have(finished, trainer, copied, tmp_path):
    source, folder = copied("NormalNN"), tmp_path / "run"
    trainer(folder, "LWF", "--load_model_dir", source).run()
    whole = finished("LWF")
    for path in ("models/repeat-1/task-2/class.pth", "results-acc/pt.yaml"):
        assert (folder / path).read_bytes() == (whole / path).read_bytes()
    assert [one.get("stage") for one in records(folder) if one["task"] == 1] == [None]
    theirs, ours = (read(run / "results-time" / "global.yaml")["history"] for run in (source, folder))
    assert ours[0] == theirs[0]
    log = lines_of(folder)
    assert f"repeat 1/1  task 1/2  first task from {source / MODEL}, NormalNN's" in log
    assert any(line.split() == ["task", "1:", "from", str(source)] for line in log)
    shutil.rmtree(source)  # it is done, so it is not asked for again
    assert trainer(folder, "LWF", "--load_model_dir", source).first_tasks == {}


# Other classes and other images


@pytest.fixture
def pictures(tmp_path, tiny, main, monkeypatch):
    """A run on four class folders: pictures(log_dir, flag, value, ...) -> what run.main returns."""
    for part, count in (("train", 4), ("test", 2)):
        for label, name in enumerate(("daisy", "lily", "rose", "tulip")):
            write_pictures(tmp_path / part / name, [f"{k}.jpg" for k in range(count)], 32, label)
    facts = {"classes": 4, "outputs": 4, "read": lambda root: image_folder(root, 32)}
    monkeypatch.setitem(DATASETS, "Digits", dataclasses.replace(DATASETS["Digits"], **facts))
    flags = ["--dataroot", tmp_path, "--batch_size", 4, "--schedule", 1]
    return lambda log_dir, *more: main(*tiny("NormalNN", *flags, "--log_dir", tmp_path / log_dir, *more))


@pytest.mark.parametrize("changed", ["classes", "images"])
def test_a_first_task_of_other_classes_or_images_is_refused(pictures, tmp_path, changed):
    assert pictures("base") == (0, [])
    if changed == "classes":
        for part in ("train", "test"):
            (tmp_path / part / "lily").rename(tmp_path / part / "pansy")
    else:
        write_pictures(tmp_path / "train" / "lily", ["0.jpg"], 32, 7)
    load = ("--load_model_dir", tmp_path / "base")
    status, (line,) = pictures("run", *load)
    said = "others (lily there, pansy here)" if changed == "classes" else "its images or labels are others"
    assert status == 2 and said in line and "--load_any" in line
    assert pictures("run", *load, "--load_any") == (0, [])
    log = "".join(lines_of(tmp_path / "run"))
    assert "taken with --load_any although" in log and said in log
    assert read(tmp_path / "run" / "results-acc" / "global.yaml")["load_any"] == str(tmp_path / "base")


@pytest.mark.parametrize(("name", "content"), [
    ("provenance.yaml", None), ("provenance.yaml", "code: []\n"), (CLASSES, None),
    (CLASSES, "classes: {a: 1}\n")])
def test_a_run_without_a_record_of_its_data_is_taken_with_load_any_alone_which_says_so(
        other, take, name, content):
    (other / name).unlink() if content is None else (other / name).write_text(content)
    reason = f"its data are unknown ({other / name} is missing or damaged)"
    assert f"first task differs: {reason}; name another run" in refused(take)
    assert take(load_any=True).source.endswith(f"taken with --load_any although: {reason}")


@pytest.mark.parametrize("count", [2, 3])
def test_a_run_that_learned_fewer_of_the_classes_has_the_same_first_task(other, take, count):
    write_yaml(other / CLASSES, {"classes": read_yaml(other / CLASSES)["classes"][:count]})
    assert "although" not in take(max_task=2).source
