import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest
import torch
from pretended_gpu import pretended

from utils.errors import UserError
from utils.files import lock_folder, read_tensors, read_yaml, replacing, user_path, write_tensors, write_yaml


def failing(number):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    return fail


def test_a_file_appears_complete_and_an_error_keeps_the_old_one(tmp_path):
    path = tmp_path / "deep" / "file"
    for text in ("first", "second"):
        with replacing(path, path.with_name("before")) as partial:
            partial.write_text(text)
            assert not path.exists() or path.read_text() == "first"
    with pytest.raises(ZeroDivisionError), replacing(path) as partial:
        partial.write_text("half")
        raise ZeroDivisionError
    files = {file.name: file.read_text() for file in path.parent.iterdir()}
    assert files == {"file": "second", "before": "first"}


def test_yaml_keeps_its_order_and_reads_back_beside_what_a_killed_writer_left(tmp_path):
    content = {"b": 1e-4, "a": [1, 2], "c": "", "d": {"z": None, "y": True}}
    (tmp_path / "file.yaml.partial").write_text("a much longer half of a file" * 9)
    write_yaml(tmp_path / "file.yaml", content)
    assert list(read_yaml(tmp_path / "file.yaml").items()) == list(content.items())


@pytest.mark.parametrize("text", ["- a", "a: [", "a: 2020-99-99", "\x00"])
def test_what_is_no_mapping_is_refused_in_one_line_with_its_file(tmp_path, text):
    (tmp_path / "file.yaml").write_text(text)
    with pytest.raises(UserError, match=r"^\S+file.yaml: [^\n]+$"):
        read_yaml(tmp_path / "file.yaml")


def test_a_path_on_a_command_line_starts_where_the_script_was_started(monkeypatch):
    monkeypatch.setenv("STARTED_IN", "/some where")
    assert str(user_path("runs/a b")) == "/some where/runs/a b" and str(user_path("/a")) == "/a"


# Tensors


def test_tensors_come_back_and_torch_reads_them_too(tmp_path):
    for name in ("file.pt", "another.pth"):
        write_tensors(tmp_path / name, {"place": {"task": 1}, "w": torch.arange(7.0), "plain": [1.5, None]})
    assert (tmp_path / "file.pt").read_bytes() == (tmp_path / "another.pth").read_bytes()
    for content in (read_tensors(tmp_path / "file.pt"), torch.load(tmp_path / "file.pt", weights_only=True)):
        assert torch.equal(content.pop("w"), torch.arange(7.0))
        assert content == {"place": {"task": 1}, "plain": [1.5, None]}


def test_every_flipped_bit_and_every_cut_is_found(tmp_path):
    path = tmp_path / "file.pt"
    write_tensors(path, torch.arange(7.0))
    whole = path.read_bytes()
    for place in range(0, len(whole), 31):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        for content in (bytes(changed), whole[:place]):
            path.write_bytes(content)
            with pytest.raises(ValueError, match="checksum"):
                read_tensors(path)


def test_a_full_disk_keeps_the_old_file_and_the_one_before(tmp_path, monkeypatch):
    for number in (1, 2):
        write_tensors(tmp_path / "file", number, tmp_path / "before")
    monkeypatch.setattr(os, "fsync", failing(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left"):
        write_tensors(tmp_path / "file", 3, tmp_path / "before")
    assert {path.name: read_tensors(path) for path in tmp_path.iterdir()} == {"file": 2, "before": 1}


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_that_cannot_sync_is_no_obstacle(tmp_path, monkeypatch, number):
    monkeypatch.setattr(os, "fsync", failing(number))
    write_yaml(tmp_path / "file", [1])
    assert (tmp_path / "file").read_text() == "[1]\n"


def test_a_gpus_tensors_are_written_as_the_cpus_and_the_host_waits_once(tmp_path):
    def content(device):
        weight = torch.arange(96.0, device=device).view(2, 3, 4, 4).to(memory_format=torch.channels_last)
        return {"model": {"weight": weight, "half": weight.bfloat16()}, "steps": [(1, weight[0].clone())]}

    write_tensors(tmp_path / "cpu", content("cpu"))
    with pretended() as machine:
        on_gpu = content("cuda")
        machine.waits.clear()
        write_tensors(tmp_path / "gpu", on_gpu)
    assert (tmp_path / "gpu").read_bytes() == (tmp_path / "cpu").read_bytes()
    assert sum(machine.waits.values()) == 1


# Locks


def test_a_second_process_is_told_who_has_the_folder_and_a_killed_one_leaves_no_lock(root, tmp_path):
    def take_elsewhere():
        code = f"import os, pathlib, utils.files as f; lock = f.lock_folder(pathlib.Path({str(tmp_path)!r}))"
        killed = [sys.executable, "-c", f"{code}; os.kill(os.getpid(), 9)"]
        return subprocess.run(killed, cwd=root, timeout=120, capture_output=True, text=True)

    file, note = lock_folder(tmp_path)
    assert note == ""
    assert f"--log_dir {tmp_path}: in use by pid {os.getpid()} on " in take_elsewhere().stderr
    file.close()
    assert take_elsewhere().returncode == -signal.SIGKILL
    lock_folder(tmp_path)[0].close()


def test_a_file_system_without_locks_is_one_line_for_the_log(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "lockf", failing(errno.ENOLCK))
    file, note = lock_folder(tmp_path)
    assert note.startswith("the file system of --log_dir has no locks, so nothing prevents a second run")
    file.close()
