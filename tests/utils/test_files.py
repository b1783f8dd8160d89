import errno
import fcntl
import math
import os
import subprocess
import sys
from collections import OrderedDict, namedtuple

import pytest
import torch
import yaml
from pretended_gpu import pretended

from utils.errors import UserError
from utils.files import (
    expand_home,
    lock_folder,
    on_cpu,
    read_tensors,
    read_yaml,
    replacing,
    write_tensors,
    write_yaml,
)

TENSORS = {"place": {"task": 1}, "w": torch.arange(7.0), "plain": [1.5, "text", None]}


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_file_appears_complete_and_an_error_keeps_the_old_one(tmp_path):
    path = tmp_path / "deep" / "file"
    for text in ("first", "second"):
        with replacing(path, path.with_name("before")) as partial:
            partial.write_text(text)
            assert not path.exists() or path.read_text() == "first"
    with pytest.raises(ZeroDivisionError), replacing(path) as partial:
        partial.write_text("half")
        raise ZeroDivisionError
    assert {file.name: file.read_text() for file in path.parent.iterdir()} == {"file": "second",
        "before": "first"}


def test_what_a_killed_writer_left_behind_is_no_obstacle(tmp_path):
    (tmp_path / "file.partial").write_text("a much longer half of a file")
    write_yaml(tmp_path / "file", [1])
    assert (tmp_path / "file").read_text() == "[1]\n"


def test_yaml_keeps_its_order_and_reads_back(tmp_path):
    content = {"b": 1e-4, "a": [1, 2], "c": "", "d": {"z": None, "y": True}}
    write_yaml(tmp_path / "file.yaml", content)
    assert read_yaml(tmp_path / "file.yaml") == yaml.safe_load(
        (tmp_path / "file.yaml").read_text()) == content
    assert list(read_yaml(tmp_path / "file.yaml")) == list(content)


@pytest.mark.parametrize("text", ["a: 1\na: 2", "- a", "a: [", "a: 2020-99-99", "\x00"])
def test_what_is_no_mapping_is_refused_in_one_line_with_its_file(tmp_path, text):
    (tmp_path / "file.yaml").write_text(text)
    with pytest.raises(UserError, match=r"^\S+file.yaml: [^\n]+$"):
        read_yaml(tmp_path / "file.yaml")
    with pytest.raises(UserError, match=r"none.yaml: cannot be read \(No such file"):
        read_yaml(tmp_path / "none.yaml")


def test_a_tilde_is_a_home_folder_and_only_at_the_beginning(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    assert [expand_home(path) for path in ("~", "~/runs", "runs/~", "")] == [
        "/home/someone", "/home/someone/runs", "runs/~", ""]
    with pytest.raises(UserError,
        match="--log_dir: '~nobody-here/runs': the home folder ~nobody-here is not known"):
        expand_home("~nobody-here/runs", "--log_dir")


# Tensors


def test_tensors_come_back_and_torch_reads_them_too(tmp_path):
    for name in ("file.pt", "another.pth"):
        write_tensors(tmp_path / name, TENSORS)
    assert (tmp_path / "file.pt").read_bytes() == (tmp_path / "another.pth").read_bytes()
    for found in (read_tensors(tmp_path / "file.pt"), torch.load(tmp_path / "file.pt", weights_only=True)):
        assert torch.equal(found.pop("w"), TENSORS["w"])
        assert found == {"place": {"task": 1}, "plain": [1.5, "text", None]}


def test_every_flipped_bit_and_every_cut_is_found(tmp_path):
    path = tmp_path / "file.pt"
    write_tensors(path, TENSORS)
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        for content in (bytes(changed), whole[:place]):
            path.write_bytes(content)
            with pytest.raises(ValueError, match="checksum"):
                read_tensors(path)


def test_a_full_disk_keeps_the_old_file_and_the_one_before(tmp_path, monkeypatch):
    for number in (1, 2):
        write_tensors(tmp_path / "file", number, tmp_path / "before")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_tensors(tmp_path / "file", 3, tmp_path / "before")
    assert {path.name: read_tensors(path) for path in tmp_path.iterdir()} == {"file": 2, "before": 1}


def content(device):
    """Such as a checkpoint holds."""
    def numbers(*shape):
        return torch.arange(float(math.prod(shape)), device=device).view(shape)

    state = OrderedDict(
        weight=numbers(2, 3, 4, 4).to(memory_format=torch.channels_last), half=numbers(6).bfloat16(),
        count=numbers())
    state._metadata = {"version": 1}
    return {"model": state, "optimizers": [{"state": {0: {"step": numbers(1)}}}, (1, numbers(6))]}


def test_the_bytes_are_the_same_of_a_gpus_tensors_and_the_host_waits_once(tmp_path):
    write_tensors(tmp_path / "cpu", content("cpu"))
    with pretended() as machine:
        mine = content("cuda")
        machine.waits.clear()
        write_tensors(tmp_path / "gpu", mine)
    assert (tmp_path / "gpu").read_bytes() == (tmp_path / "cpu").read_bytes()
    assert sum(machine.waits.values()) == 1


def test_moved_tensors_keep_their_strides_and_their_containers():
    Pair = namedtuple("Pair", "first second")
    with pretended():
        model, pair = on_cpu([content("cuda")["model"], Pair(torch.ones(2, device="cuda"), 1)])
        assert model["weight"].device.type == pair.first.device.type == "cpu"
        assert model["weight"].is_contiguous(memory_format=torch.channels_last)
    assert model._metadata == {"version": 1} and isinstance(pair, Pair)


# Locks


def take_elsewhere(root, folder, more=""):
    code = f"import pathlib, utils.files as f; lock = f.lock_folder(pathlib.Path({str(folder)!r})); {more}"
    return subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=120)


def test_a_second_process_is_told_who_has_the_folder_until_that_one_gives_it_back(root, tmp_path):
    file, note = lock_folder(tmp_path)
    assert note == ""
    assert f"--log_dir {tmp_path}: in use by pid {os.getpid()} on " in take_elsewhere(root, tmp_path).stderr
    file.close()
    killed = take_elsewhere(root, tmp_path, "import os; os.kill(os.getpid(), 9)")
    assert killed.returncode == -9
    lock_folder(tmp_path)[0].close()  # a killed process leaves no lock


def test_a_file_system_without_locks_is_one_line_for_the_log(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", none)
    file, note = lock_folder(tmp_path)
    assert note.startswith("the file system of --log_dir has no locks, so nothing prevents a second run")
    file.close()
