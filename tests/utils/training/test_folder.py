"""The folder of a run: its checkpoints, what is refused, what --overwrite 1 deletes."""

import errno
import hashlib
import io
import os
import shutil

import pytest
import torch
from conftest import Hostile

from learners import REGISTRY
from tests.utils.training.conftest import STATE, lines_of, read, refusal
from utils.command_line import parse
from utils.errors import RunError, UserError
from utils.files import read_tensors, write_tensors
from utils.training.folder import CHECKPOINT, LEFT_BEHIND, PREVIOUS, Place, RunFolder

# Checkpoints


def state(task):
    return {"place": vars(Place(0, task)), "learner": {"w": torch.full((1000,), float(task))}}


def damage(path, kind, marker):
    whole = path.read_bytes()
    if kind == "hostile":
        content = io.BytesIO()
        torch.save({"settings": Hostile(marker)}, content)
        path.write_bytes(content.getvalue() + hashlib.sha256(content.getvalue()).digest())
    elif kind == "gone":  # killed between the two renames
        path.unlink()
    else:
        flipped = bytes(byte ^ (4 * (place == 500)) for place, byte in enumerate(whole))
        path.write_bytes({"cut": whole[:-9], "empty": b"", "flipped": flipped}[kind])


@pytest.mark.parametrize("kind", ["cut", "flipped", "empty", "hostile", "gone"])
def test_the_checkpoint_before_a_damaged_one_is_used_and_never_replaced_by_it(settings, tmp_path, kind):
    folder, path = RunFolder(settings()), tmp_path / "run" / "checkpoint.pt"
    folder.begin()
    for task in (1, 2):
        folder.save(state(task))
    damage(path, kind, tmp_path / "marker")
    again = RunFolder(settings())
    assert again.place == Place(0, 1)
    said = "checkpoint.pt cannot be read" in "".join(again.notices)
    assert said == (kind != "gone") and not (tmp_path / "marker").exists()
    again.save(state(3))
    damage(path, "cut", None)
    assert RunFolder(settings()).place == Place(0, 1)


def test_two_damaged_checkpoints_are_refused_with_the_remedy(settings, tmp_path):
    folder = RunFolder(settings())
    folder.begin()
    for task in (1, 2):
        folder.save(state(task))
    for name in ("checkpoint.pt", "checkpoint-previous.pt"):
        damage(tmp_path / "run" / name, "cut", None)
    message = refusal(settings())
    assert all(word in message for word in ("checkpoint.pt", "checkpoint-previous.pt", "--overwrite 1"))
    assert RunFolder(settings(overwrite=1)).state == {}


@pytest.mark.parametrize(("name", "value"), [
    ("mu", 0.3), ("schedule", [1, 3]), ("learner_name", "LWF"), ("validation", True),
    ("seed", 1), ("class_order", list(range(10))), ("threads", 3)])
def test_other_settings_are_refused_by_name_and_change_nothing(settings, tmp_path, name, value):
    folder = RunFolder(settings(threads=1))
    folder.begin()
    folder.save(STATE)
    before = (tmp_path / "run" / "args.yaml").read_bytes()
    message = refusal(settings(**{"threads": 1, name: value}))
    assert all(word in message for word in ("--log_dir", f"({name} ", "--overwrite 1"))
    assert (tmp_path / "run" / "args.yaml").read_bytes() == before


def test_a_resumed_run_keeps_its_threads_on_a_machine_of_another_size(settings, tmp_path, monkeypatch):
    for cores, found in ((12, 12), (3, 12)):
        monkeypatch.setattr("utils.training.folder.default_threads", lambda cores=cores: cores)
        folder = RunFolder(settings())
        folder.begin()
        folder.save(STATE)
        assert folder.settings.threads == found == read(tmp_path / "run" / "args.yaml")["threads"]
    assert RunFolder(settings(overwrite=1)).settings.threads == 3


# --overwrite 1, and folders of others


def test_overwrite_deletes_what_a_run_leaves_and_nothing_else(settings, tmp_path):
    first, run = RunFolder(settings()), tmp_path / "run"
    first.begin()
    first.save(STATE)
    for name in LEFT_BEHIND:
        if "." not in name:
            (run / name / "deep").mkdir(parents=True)
    (run / "notes.txt").write_text("mine")
    (run / "mine").mkdir()
    folder = RunFolder(settings(overwrite=1, mu=0.3))
    assert folder.state == {} and (run / "checkpoint.pt").exists()  # until nothing can be refused any more
    folder.begin()
    left = {path.name for path in run.iterdir()}
    assert left == {"notes.txt", "mine", "args.yaml", "run.lock", "output.log", "metrics.jsonl"}
    assert folder.resume_hint() == "the same command without --overwrite 1 starts it again"
    assert read(run / "args.yaml")["overwrite"] == 0


def test_a_kill_in_the_middle_of_deleting_leaves_no_run_to_go_on_with(settings, tmp_path, monkeypatch):
    first = RunFolder(settings())
    first.begin()
    first.save(STATE)
    (tmp_path / "run" / "results-acc").mkdir()
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        patched.setattr("shutil.rmtree", lambda path: 1 / 0)
        RunFolder(settings(overwrite=1)).begin()
    message = refusal(settings())
    assert "no checkpoint" in message and "--overwrite 1" in message


@pytest.mark.parametrize("overwrite", [0, 1])
@pytest.mark.parametrize(("name", "text"), [
    ("models/mine.py", ""), ("output.log", "mine"), ("checkpoint.pt", "mine"), ("args.yaml", "model: yolo")])
def test_a_folder_that_is_no_runs_is_refused(settings, tmp_path, name, text, overwrite):
    path = tmp_path / "run" / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert f"has {name.partition('/')[0]}, but does not hold a run" in refusal(settings(overwrite=overwrite))
    assert [found for found in (tmp_path / "run").rglob("*") if found.is_file()] == [path]
    assert path.read_text() == text


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_file_locks_a_run_goes_on_and_says_that_nothing_protects_its_folder(
        trainer, tmp_path, monkeypatch, number):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.lockf", fail)
    trainer(tmp_path, "NormalNN", "--schedule", 1, "--max_task", 1).run()
    line, = (line for line in lines_of(tmp_path) if "no locks" in line)
    assert "nothing prevents a second run" in line


# What ends a run


@pytest.mark.parametrize(("error", "expected"), [
    (RunError("all is lost"), "^all is lost; the same command starts it again$"),
    (OSError(28, "No space left on device", "a/file"), "^a/file: No space left on device; the same command"),
    (UserError("an image"), "^an image; the same command starts it again$"),
    (torch.OutOfMemoryError("CUDA out of memory. Tried"), "out of memory.*--batch_size.*; the same command")])
def test_what_ends_a_run_is_one_line_with_how_to_resume_it(settings, error, expected):
    folder = RunFolder(settings())
    with pytest.raises(RunError, match=expected) as found, folder.resumable(lambda: None):
        raise error
    assert "\n" not in str(found.value)


def test_a_setting_that_a_learner_has_gained_since_had_its_default(finished, tmp_path):
    folder = shutil.copytree(finished("BIC"), tmp_path / "run")
    state = read_tensors(folder / CHECKPOINT)
    del state["settings"]["bias_at_test"]
    write_tensors(folder / CHECKPOINT, state)
    (folder / PREVIOUS).unlink(missing_ok=True)
    again = parse(REGISTRY, ["--config", str(folder / "args.yaml"), "--log_dir", str(folder)])
    assert RunFolder(again).place == Place(1)
    again.bias_at_test = True
    with pytest.raises(UserError, match=r"other settings \(bias_at_test False there, True here\)"):
        RunFolder(again)
