"""A run's folder: overwritten, refused, locked."""

import errno
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.utils.training.conftest import STATE, refusal
from utils.settings import Settings
from utils.training.folder import LEFT_BEHIND, RunFolder


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
@pytest.mark.parametrize(("name", "text"), [
    ("models/resnet.py", "mine"), ("output.log", "mine"), ("metrics.jsonl", "mine"), ("checkpoint.pt", "mine"), ("args.yaml", "model: yolo"),
    ("args.yaml", "- yolo")])
def test_a_folder_that_is_no_runs_is_refused(settings, tmp_path, name, text, overwrite):
    path = tmp_path / "run" / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    message = refusal(settings(overwrite=overwrite))
    assert f"has {name.partition('/')[0]}, but neither the args.yaml nor a checkpoint of a run" in message
    assert [found for found in (tmp_path / "run").rglob("*") if found.is_file()] == [path] and path.read_text() == text


def test_another_programs_args_yaml_makes_no_folder_a_runs(settings, tmp_path):
    (tmp_path / "run").mkdir()
    for name in ("output.log", "metrics.jsonl", "args.yaml"):
        (tmp_path / "run" / name).write_text("model: yolo\n")
    for overwrite in (0, 1):
        assert "has output.log, metrics.jsonl, args.yaml, but" in refusal(settings(overwrite=overwrite))


def test_a_run_that_was_stopped_before_its_first_checkpoint_starts_again(settings, tmp_path):
    log = RunFolder(settings()).begin_log()
    log.line("repeat 1/1")
    log.close()
    assert RunFolder(settings()).state is None


def test_a_folder_of_the_published_code_is_replaced_by_overwrite_alone(settings, copied, as_published):
    run = copied("NormalNN")
    as_published(run)
    assert "no checkpoint" in refusal(settings(log_dir=str(run)))
    RunFolder(settings(log_dir=str(run), overwrite=1)).begin()
    assert {path.name for path in run.iterdir()} == {"args.yaml", "run.lock"}


@pytest.mark.parametrize("left", [None, b"", b"\0" * 99])
def test_a_lost_args_yaml_is_written_again_by_the_run_that_resumes(settings, tmp_path, left):
    first = RunFolder(settings())
    first.begin()
    first.save(STATE)
    path = tmp_path / "run" / "args.yaml"
    recorded = path.read_bytes()
    path.unlink()
    (tmp_path / "run" / "models").mkdir()
    if left is not None:
        path.write_bytes(left)
    again = RunFolder(settings())
    assert again.place == first.place
    again.begin()
    assert path.read_bytes() == recorded


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
    code = f"import os, signal; from utils.training.folder import RunFolder; from utils.settings import Settings; " \
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
