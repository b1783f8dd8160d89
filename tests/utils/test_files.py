import contextlib
import errno
import os
import signal

import pytest
import torch
from pretended_gpu import pretended

from utils.errors import UserError
from utils.files import lock_folder, read_tensors, read_yaml, replacing, write_tensors, write_yaml


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


def test_a_second_process_is_told_who_has_the_folder_and_a_killed_one_leaves_no_lock(tmp_path):
    def take_elsewhere():
        if (child := os.fork()) == 0:
            with contextlib.suppress(UserError):
                lock = lock_folder(tmp_path)
                os.kill(os.getpid(), lock and signal.SIGKILL)
            os._exit(7)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    file, note = lock_folder(tmp_path)
    assert note == "" and take_elsewhere() == 7
    assert f"pid {os.getpid()} on " in (tmp_path / "run.lock").read_text()
    file.close()
    assert take_elsewhere() == -signal.SIGKILL
    lock_folder(tmp_path)[0].close()
