"""Runs that end early and are resumed; tests/test_kill.py kills real processes."""

import errno
import os
import shutil

import pytest
import torch

from learners.lwf import LWF
from tests.utils.training.conftest import lines_of, read, records
from tests.utils.training.test_trainer import TWICE, UNEVEN
from utils.errors import RunError, UserError
from utils.files import read_tensors, read_yaml, write_tensors
from utils.training import provenance
from utils.training import trainer as trainer_module
from utils.training.folder import RunFolder
from utils.training.state import Place
from utils.training.trainer import Trainer

SHORT = ("--max_task", 1, "--schedule", 2, "--batch_size", 128)


def test_a_full_disk_ends_in_one_line_and_the_run_goes_on_once_it_is_mended(
        finished, trainer, lasting, tmp_path, monkeypatch):
    syncs = []

    def filling(descriptor):
        syncs.append(descriptor)
        if len(syncs) == 12:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched, pytest.raises(RunError) as error:
        patched.setattr(os, "fsync", filling)
        trainer(tmp_path).run()
    for part in ("No space left on device", "the same command resumes it", "checkpoint.pt"):
        assert part in str(error.value)
    assert "\n" not in str(error.value)
    trainer(tmp_path).run()
    assert lasting(tmp_path) == lasting(finished()) and records(tmp_path) == records(finished())


def test_more_repeats_extend_a_finished_run(finished, copied, trainer, lasting):
    folder = copied("NormalNN", *UNEVEN)
    trainer(folder, "NormalNN", *TWICE).run()
    assert lasting(folder) == lasting(finished("NormalNN", *TWICE))
    assert records(folder) == records(finished("NormalNN", *TWICE))


@pytest.mark.parametrize("name", ["AlwaysBeDreaming", "BIC"])
def test_more_tasks_extend_a_finished_run_of_one_repeat(finished, trainer, lasting, tmp_path, name):
    trainer(tmp_path, name, "--max_task", 1).run()
    trainer(tmp_path, name).run()
    assert lasting(tmp_path) == lasting(finished(name)) and records(tmp_path) == records(finished(name))


def test_a_repeat_that_has_all_of_fewer_tasks_is_complete(halted, trainer, lasting, tmp_path):
    flags = ("NormalNN", "--schedule", 1, "--repeat", 2, "--max_task")
    halted(Place(0, 1), tmp_path / "fewer", *flags, 2)
    for folder in ("fewer", "whole"):
        trainer(tmp_path / folder, *flags, 1).run()
    fewer, whole = (lasting(tmp_path / folder) for folder in ("fewer", "whole"))
    classes = "results-acc/classes-repeat-1.yaml"  # has those of the task that was given up, too
    assert fewer.pop(classes).startswith(whole.pop(classes)) and fewer == whole


def test_fewer_tasks_and_more_tasks_of_several_repeats_are_refused(copied, halted, trainer, tmp_path):
    halted(Place(0, 2), tmp_path / "under way", "NormalNN", "--max_task", 3, "--schedule", 1)
    with pytest.raises(UserError, match="--max_task 1: .* has finished 2 tasks"):
        trainer(tmp_path / "under way", "NormalNN", "--max_task", 1, "--schedule", 1)
    with pytest.raises(UserError, match="--max_task 1: .* has finished 2 tasks"):
        trainer(copied("NormalNN"), "NormalNN", "--max_task", 1)
    trainer(tmp_path / "twice", "NormalNN", *SHORT, "--repeat", 2).run()
    with pytest.raises(UserError, match="--max_task 2: .* has finished 1 tasks"):
        trainer(tmp_path / "twice", "NormalNN", *SHORT, "--repeat", 2, "--max_task", 2)


def test_a_finished_run_trains_nothing_and_leaves_deleted_results_again(
        copied, trainer, lasting, monkeypatch, capsys):
    folder = copied("NormalNN")
    before, metrics, log = lasting(folder), records(folder), lines_of(folder)
    for name in ("acc", "mem", "time"):
        shutil.rmtree(folder / f"results-{name}")
    monkeypatch.setattr(Trainer, "train_stage", None)
    capsys.readouterr()
    trainer(folder).run()
    assert (lasting(folder), records(folder)) == (before, metrics)
    assert capsys.readouterr().out.splitlines()[-1] == log[-1] == lines_of(folder)[-1]


def test_checkpoints_that_take_long_wait_for_the_end_of_the_stage(trainer, tmp_path, monkeypatch):
    monkeypatch.setattr("utils.training.folder.SAVING_SHARE", 1e-9)
    save, saves = RunFolder.save, []
    monkeypatch.setattr(
        RunFolder, "save", lambda self, state: (save(self, state), saves.append(state["place"])))
    trainer(tmp_path, "NormalNN", *SHORT).run()
    assert saves == [vars(Place(*place)) for place in ((), (0, 0, 0, 2), (1,))]


# Code, packages, device and data that changed meanwhile


@pytest.mark.parametrize(("changed", "said"), [
    ({}, None), ({"commit": "fedcba"}, "commit abcdef before, fedcba now"),
    ({"learner": "2", "code": "2"}, "the code has changed, the learner has changed"),
    ({"torch": "9.9"}, "torch 2.0 before, 9.9 now")])
def test_a_resume_with_other_code_says_so_in_the_log_and_the_results(
        halted, trainer, tmp_path, monkeypatch, changed, said):
    known = {"commit": "abcdef", "uncommitted_changes": "no", "code": "1", "learner": "1", "python": "3.11",
             "torch": "2.0", "numpy": "2.2", "device": "cpu", "device_name": "a CPU"}
    monkeypatch.setattr(trainer_module, "provenance", lambda learner, device: known)
    halted(Place(0, 0, 0, 1), tmp_path, "NormalNN", *SHORT)
    monkeypatch.setattr(trainer_module, "provenance", lambda learner, device: known | changed)
    trainer(tmp_path, "NormalNN", *SHORT).run()
    lines = [line for line in lines_of(tmp_path) if "other code or on another machine" in line]
    assert len(lines) == bool(said) and all(line.endswith(f": {said}") for line in lines)
    for name in ("global", "pt", "top1"):
        noted = read(tmp_path / "results-acc" / f"{name}.yaml").get("resumed_with")
        assert noted == ([said] if said else None)
    assert read_yaml(tmp_path / "provenance.yaml")["code"] == [known, known | changed][: 1 + bool(said)]


def test_provenance_is_recorded_and_follows_the_learners_file(finished, monkeypatch, tmp_path):
    recorded, = read(finished() / "provenance.yaml")["code"]
    assert recorded["torch"] == torch.__version__ and recorded["device"] == "cpu" and recorded["device_name"]
    assert set(recorded) == {"commit", "uncommitted_changes", "code", "learner", "python", "torch", "numpy",
                             "device", "device_name"}
    now = provenance.provenance(LWF, torch.device("cpu"))
    own = tmp_path / "lwf.py"
    own.write_bytes((provenance.ROOT / "learners" / "lwf.py").read_bytes() + b"# changed\n")
    getfile = provenance.inspect.getfile
    files = {LWF: str(own)}
    monkeypatch.setattr(provenance.inspect, "getfile", lambda kind: files.get(kind) or getfile(kind))
    later = provenance.provenance(LWF, torch.device("cpu"))
    assert provenance.changes(now, now) == "" and later["learner"] != now["learner"]
    assert provenance.changes(now, later) == "the learner has changed"


def test_a_run_is_not_resumed_with_other_data_on_another_device_or_by_another_learner(
        halted, trainer, tmp_path, digits):
    halted(Place(0, 0, 0, 1), tmp_path, "NormalNN", *SHORT)
    run = trainer(tmp_path, "NormalNN", *SHORT)
    images = digits.train.images.copy()
    images[0, 0, 0, 0] ^= 1
    data = digits._replace(train=digits.train._replace(images=images))
    with pytest.raises(UserError, match="^--dataroot data: Digits has changed since the run in --log_dir"):
        Trainer(run.settings, data, run.folder, run.device)
    run.folder.state["device"] = "cuda"
    with pytest.raises(UserError, match="^--gpuid: .* is under way on cuda, and cpu draws other random"):
        Trainer(run.settings, digits, run.folder, run.device)
    state = read_tensors(tmp_path / "checkpoint.pt")
    state["learner"]["new.weight"] = torch.ones(1)
    write_tensors(tmp_path / "checkpoint.pt", state)
    with pytest.raises(RunError, match="was written by another version of NormalNN") as error:
        trainer(tmp_path, "NormalNN", *SHORT).run()
    assert "\n" not in str(error.value)


def test_a_finished_run_that_other_code_only_shows_again_is_not_marked_as_resumed(
        copied, trainer, monkeypatch):
    folder = copied("NormalNN")
    now = read(folder / "provenance.yaml")["code"][-1] | {"torch": "9.9"}
    monkeypatch.setattr(trainer_module, "provenance", lambda learner, device: now)
    trainer(folder).run()
    assert "resumed_with" not in read(folder / "results-acc" / "global.yaml")
    assert not [line for line in lines_of(folder) if "other code" in line]
    trainer(folder, "NormalNN", "--repeat", 2).run()  # now it does compute something
    assert "9.9 now" in read(folder / "results-acc" / "global.yaml")["resumed_with"][0]
