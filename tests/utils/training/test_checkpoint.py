import errno
import hashlib
import io
import json
import os
import pickle
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from utils.errors import UserError
from utils.files import write_tensors
from utils.settings import Settings
from utils.training.checkpoint import LEFT_BEHIND, Place, RunFolder
from utils.training.recorded import SINCE

STATE = {"place": vars(Place(0, 1))}


@pytest.fixture
def settings(tmp_path):
    def build(**more):
        return Settings(**{"log_dir": str(tmp_path / "run"), "dataset": "Digits", **more})

    return build


def refusal(settings):
    with pytest.raises(UserError) as error:
        RunFolder(settings)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_new_folder_has_the_settings_and_no_state(settings, tmp_path):
    folder = RunFolder(settings(mu=0.3))
    assert folder.state is None
    folder.begin()
    assert yaml.safe_load((tmp_path / "run" / "args.yaml").read_text())["mu"] == 0.3


def test_a_checkpoint_comes_back(settings):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], 0.1)
    state = {"place": vars(Place(1, 2, 3, 4)), "learner": {"w": torch.randn(3)}, "optimizers": {"stage": optimizer.state_dict()}, "seconds": 1.5}
    RunFolder(settings()).save(state)
    found = RunFolder(settings()).state
    assert Place(**found["place"]) == Place(1, 2, 3, 4)
    assert torch.equal(found["learner"]["w"], state["learner"]["w"])
    assert found["optimizers"]["stage"]["param_groups"][0]["lr"] == 0.1


@pytest.mark.parametrize(("name", "value"), [("mu", 0.3), ("schedule", [1, 3]), ("learner_name", "LWF"), ("max_task", 2), ("validation", True)])
def test_a_checkpoint_of_other_settings_is_refused_by_name(settings, name, value):
    RunFolder(settings()).save(STATE)
    message = refusal(settings(**{name: value}))
    assert "--log_dir" in message
    assert f"({name} " in message
    assert "--overwrite 1" in message


@pytest.mark.parametrize(("more", "reason"), [
    ({"learner_name": "AlwaysBeDreaming"}, "over the seen outputs alone"), ({"DW": True}, "--DW weighed images otherwise"), ({}, "")])
def test_a_run_that_learned_otherwise_before_is_not_resumed(settings, tmp_path, more, reason):
    RunFolder(settings(**more)).save(STATE)
    assert RunFolder(settings(**more)).state
    path = tmp_path / "run" / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    state["settings"] = {name: value for name, value in state["settings"].items() if name not in SINCE}
    write_tensors(path, state)
    if reason:
        message = refusal(settings(**more))
        assert reason in message
        assert "--log_dir" in message
        assert "--overwrite 1" in message
    else:
        assert RunFolder(settings(**more)).state
    assert RunFolder(settings(overwrite=1, **more)).state is None


def test_a_refused_folder_keeps_its_settings(settings, tmp_path):
    folder = RunFolder(settings())
    folder.begin()
    folder.save(STATE)
    before = (tmp_path / "run" / "args.yaml").read_bytes()
    refusal(settings(mu=0.3))
    assert (tmp_path / "run" / "args.yaml").read_bytes() == before


@pytest.mark.parametrize(("name", "value"), [("repeat", 3), ("gpuid", [-1]), ("workers", 2), ("dataroot", "x"), ("no_figures", True)])
def test_settings_that_change_no_result_may_change(settings, name, value):
    RunFolder(settings()).save(STATE)
    assert RunFolder(settings(**{name: value})).state


class Hostile:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


@pytest.fixture
def damage(tmp_path):
    """Damages a checkpoint: damage(name, kind); a hostile one would write the file ``marker``."""
    def apply(name, kind):
        path = tmp_path / "run" / name
        whole = path.read_bytes()
        if kind == "strange":
            write_tensors(path, {"weights": torch.ones(3)})
        elif kind == "hostile":
            content = io.BytesIO()
            torch.save({"settings": Hostile(tmp_path / "marker")}, content)
            path.write_bytes(content.getvalue() + hashlib.sha256(content.getvalue()).digest())
        else:
            flipped = bytearray(whole)
            flipped[len(whole) // 2] ^= 4
            path.write_bytes({"cut": whole[: len(whole) // 2], "text": b"not a checkpoint", "empty": b"", "flipped": flipped,
                              "pickle": pickle.dumps({"settings": Hostile(tmp_path / "marker")})}[kind])

    return apply


DAMAGES = ["cut", "flipped", "text", "empty", "strange", "pickle", "hostile"]


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_checkpoint_is_refused_with_the_remedy(settings, tmp_path, damage, kind):
    RunFolder(settings()).save({**STATE, "learner": {"w": torch.randn(1000)}})
    damage("checkpoint.pt", kind)
    message = refusal(settings())
    assert "checkpoint.pt" in message
    assert "--overwrite 1" in message
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("kind", DAMAGES)
def test_in_place_of_a_damaged_checkpoint_the_one_before_it_is_used(settings, tmp_path, damage, kind):
    folder = RunFolder(settings())
    for task in (1, 2):
        folder.save({"place": vars(Place(0, task)), "learner": {"w": torch.randn(1000)}})
    damage("checkpoint.pt", kind)
    again = RunFolder(settings())
    assert again.place == Place(0, 1)
    assert "checkpoint.pt" in again.damage
    assert not (tmp_path / "marker").exists()


def test_a_damaged_checkpoint_never_takes_the_place_of_the_good_one(settings, damage):
    folder = RunFolder(settings())
    folder.save({"place": vars(Place(0, 1))})
    folder.save({"place": vars(Place(0, 2))})
    damage("checkpoint.pt", "cut")
    RunFolder(settings()).save({"place": vars(Place(0, 3))})
    damage("checkpoint.pt", "cut")
    assert RunFolder(settings()).place == Place(0, 1)


def test_two_damaged_checkpoints_are_refused(settings, damage):
    folder = RunFolder(settings())
    folder.save(STATE)
    folder.save(STATE)
    damage("checkpoint.pt", "cut")
    damage("checkpoint-previous.pt", "flipped")
    message = refusal(settings())
    assert "checkpoint.pt" in message and "checkpoint-previous.pt" in message and "--overwrite 1" in message


def test_a_run_killed_between_the_two_renames_goes_on_from_the_one_before(settings, tmp_path):
    folder = RunFolder(settings())
    folder.save({"place": vars(Place(0, 1))})
    folder.save({"place": vars(Place(0, 2))})
    (tmp_path / "run" / "checkpoint.pt").unlink()
    again = RunFolder(settings())
    assert again.place == Place(0, 1)
    again.save({"place": vars(Place(0, 2))})
    assert RunFolder(settings()).place == Place(0, 2)


def test_overwrite_deletes_what_a_run_leaves_and_nothing_else(settings, tmp_path):
    first = RunFolder(settings())
    first.begin()
    first.save(STATE)
    run = tmp_path / "run"
    for name in LEFT_BEHIND:
        if "." not in name:
            (run / name / "deep").mkdir(parents=True, exist_ok=True)
    (run / "notes.txt").write_text("mine")
    (run / "mine").mkdir()
    folder = RunFolder(settings(overwrite=1, mu=0.3))
    assert folder.state is None
    assert (run / "checkpoint.pt").exists()
    folder.begin()
    assert {path.name for path in run.iterdir()} == {"notes.txt", "mine", "args.yaml", "run.lock"}


def test_after_overwriting_no_message_and_no_args_yaml_leads_to_overwriting_again(settings, tmp_path):
    folder = RunFolder(settings(overwrite=1))
    folder.begin()
    assert folder.resume_hint() == "the same command without --overwrite 1 starts it again"
    folder.save(STATE)
    assert "the same command without --overwrite 1 resumes it from" in folder.resume_hint()
    assert yaml.safe_load((tmp_path / "run" / "args.yaml").read_text())["overwrite"] == 0


def test_a_kill_in_the_middle_of_deleting_leaves_no_run_to_go_on_with(settings, copied, monkeypatch):
    """Whatever was deleted last: without --overwrite the rest is refused, with it deleting continues."""
    run = copied("AlwaysBeDreaming")
    begun = yaml.safe_load((run / "args.yaml").read_text())
    old = {**begun, "log_dir": str(run)}
    deletions = []

    def deleting(delete):
        def one(path, **more):
            deletions.append(path)
            if len(deletions) == stop:
                raise KeyboardInterrupt
            delete(path, **more)
        return one

    monkeypatch.setattr("pathlib.Path.unlink", deleting(Path.unlink))
    monkeypatch.setattr("shutil.rmtree", deleting(shutil.rmtree))
    for stop in (3, 5, 8):  # noqa: B007 (``one`` reads it); the last one deletes a little more than the one before
        deletions.clear()
        with pytest.raises(KeyboardInterrupt):
            RunFolder(Settings(**{**old, "overwrite": 1})).begin()
        assert "no checkpoint" in refusal(Settings(**old))
    stop = 0
    RunFolder(Settings(**{**old, "overwrite": 1})).begin()
    assert {path.name for path in run.iterdir()} == {"args.yaml", "run.lock"}


def test_results_without_a_checkpoint_are_not_written_over(settings, copied):
    run = copied("NormalNN")
    (run / "checkpoint.pt").unlink()
    (run / "checkpoint-previous.pt").unlink()
    message = refusal(settings(log_dir=str(run)))
    assert "no checkpoint" in message and "--overwrite 1" in message


@pytest.mark.parametrize("overwrite", [0, 1])
def test_a_folder_that_is_no_runs_is_refused(settings, tmp_path, overwrite):
    (tmp_path / "run" / "models").mkdir(parents=True)
    (tmp_path / "run" / "models" / "resnet.py").write_text("mine")
    message = refusal(settings(overwrite=overwrite))
    assert "models" in message and "args.yaml" in message
    assert (tmp_path / "run" / "models" / "resnet.py").read_text() == "mine"


def test_overwrite_mends_a_damaged_checkpoint(settings, tmp_path):
    RunFolder(settings())
    (tmp_path / "run" / "checkpoint.pt").write_bytes(b"not a checkpoint")
    assert RunFolder(settings(overwrite=1)).state is None


def test_a_folder_under_a_file_is_refused(settings, tmp_path):
    (tmp_path / "file").write_text("")
    assert "--log_dir" in refusal(settings(log_dir=str(tmp_path / "file" / "run")))
    assert "--log_dir" in refusal(settings(log_dir=str(tmp_path / "file")))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_refused(settings, tmp_path):
    (tmp_path / "run").mkdir(mode=0o500)
    assert "--log_dir" in refusal(settings())


def test_a_folder_in_use_is_refused_with_its_holder(settings, tmp_path, root):
    """A lock belongs to a process, so the holder is another one; however that ends, its lock goes with it."""
    code = f"import os, signal; from utils.training.checkpoint import RunFolder; from utils.settings import Settings; " \
        f"folder = RunFolder(Settings(log_dir={str(tmp_path / 'run')!r}, dataset='Digits')); print('held', flush=True); signal.pause()"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        for overwrite in (0, 1):
            message = refusal(settings(overwrite=overwrite))
            assert f"in use by pid {process.pid} on {platform.node()} since 20" in message
    finally:
        process.kill()
        process.communicate()
    assert f"pid {os.getpid()}" in (RunFolder(settings()).path / "run.lock").read_text()


def test_a_folder_that_was_moved_is_not_made_again(settings, tmp_path):
    folder = RunFolder(settings())
    folder.save(STATE)
    (tmp_path / "run").rename(tmp_path / "moved")
    with pytest.raises(OSError) as error:
        folder.save(STATE)
    assert error.value.filename == str(tmp_path / "run")
    (tmp_path / "run").mkdir()
    with pytest.raises(OSError, match="another one"):
        folder.save(STATE)
    assert not list((tmp_path / "run").iterdir())
    assert (tmp_path / "moved" / "checkpoint.pt").exists()


def test_tasks_and_repeats_are_counted_from_1(settings, tmp_path):
    assert RunFolder(settings()).model_path(0, 4) == tmp_path / "run" / "models" / "repeat-1" / "task-5"


# Where the file system has no locks


@pytest.fixture
def lockless(monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.lockf", fail)


def test_a_run_goes_without_a_lock_and_says_so_once(settings, lockless, trainer, tmp_path):
    ran = trainer(tmp_path / "run", "NormalNN", "--schedule", 1, "--max_task", 1)
    ran.run()
    ran.folder.lock.heartbeat.stop()
    lines = [line for line in (tmp_path / "run" / "output.log").read_text().splitlines() if "no locks" in line]
    assert lines == [line for line in ran.folder.notices] and len(lines) == 1
    assert "Function not implemented" in lines[0]


def test_without_locks_a_folder_in_use_is_refused_with_its_holder(settings, lockless, tmp_path):
    (tmp_path / "run").mkdir()
    heartbeat = {"pid": 7, "host": "elsewhere", "namespace": "", "time": time.time()}
    (tmp_path / "run" / "run.heartbeat").write_text(json.dumps(heartbeat))
    assert "in use by pid 7 on elsewhere" in refusal(settings())
    (tmp_path / "run" / "run.heartbeat").write_text(json.dumps({**heartbeat, "time": 0}))
    folder = RunFolder(settings())
    (tmp_path / "run" / "run.heartbeat").write_text(json.dumps(heartbeat))
    with pytest.raises(OSError, match="in use by pid 7"):
        folder.save(STATE)
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


# --threads


def test_a_new_run_records_the_threads_it_chooses(settings, monkeypatch, tmp_path):
    monkeypatch.setattr("utils.training.checkpoint.default_threads", lambda processes: 12 // processes)
    for more, threads in (({}, 12), ({"parallel": 4, "repeat": 3}, 4), ({"parallel": 2, "threads": 5}, 5)):
        folder = RunFolder(settings(overwrite=1, **more))
        folder.begin()
        folder.save(STATE)
        assert folder.settings.threads == threads
        assert yaml.safe_load((tmp_path / "run" / "args.yaml").read_text())["threads"] == threads


def test_a_resumed_run_keeps_its_threads_on_a_machine_of_another_size(settings, monkeypatch):
    monkeypatch.setattr("utils.training.checkpoint.default_threads", lambda processes: 12)
    RunFolder(settings()).save(STATE)
    monkeypatch.setattr("utils.training.checkpoint.default_threads", lambda processes: 3)
    folder = RunFolder(settings())
    assert folder.settings.threads == 12
    folder.save(STATE)
    assert RunFolder(settings()).settings.threads == 12
    assert RunFolder(settings(threads=12)).settings.threads == 12
    assert "(threads 12 there, 3 here)" in refusal(settings(threads=3))
    assert RunFolder(settings(overwrite=1)).settings.threads == 3
