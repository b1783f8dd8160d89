import errno
import math
import os
from collections import OrderedDict, namedtuple

import pytest
import torch
from pretended_gpu import Wrong, pretended
from pretended_gpu.machine import Stream

from utils.tensors import has_checksum, on_cpu, read_plain_tensors, read_tensors, write_tensors

TENSORS = {"place": {"task": 1}, "w": torch.arange(7.0), "plain": [1.5, "text", None]}


def test_tensors_come_back_and_torch_reads_them_too(tmp_path):
    write_tensors(tmp_path / "file.pt", TENSORS)
    for found in (read_tensors(tmp_path / "file.pt"), torch.load(tmp_path / "file.pt", weights_only=True)):
        assert found.keys() == TENSORS.keys()
        assert torch.equal(found["w"], TENSORS["w"])
        assert (found["place"], found["plain"]) == (TENSORS["place"], TENSORS["plain"])


def test_every_flipped_bit_and_every_cut_is_found(tmp_path):
    path = tmp_path / "file.pt"
    write_tensors(path, TENSORS)
    whole = path.read_bytes()
    read_tensors(path)
    for place in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        for content in (bytes(changed), whole[:place]):
            path.write_bytes(content)
            with pytest.raises(ValueError, match="checksum"):
                read_tensors(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_what_torch_alone_has_saved_is_told_and_read(tmp_path, zipped):
    write_tensors(tmp_path / "ours.pt", TENSORS)
    torch.save(TENSORS, tmp_path / "plain.pt", _use_new_zipfile_serialization=zipped)
    assert has_checksum(tmp_path / "ours.pt") and not has_checksum(tmp_path / "plain.pt")
    assert torch.equal(read_plain_tensors(tmp_path / "plain.pt")["w"], TENSORS["w"])
    for size in range(0, (tmp_path / "plain.pt").stat().st_size, 11):
        (tmp_path / "cut.pt").write_bytes((tmp_path / "plain.pt").read_bytes()[:size])
        read = read_tensors if has_checksum(tmp_path / "cut.pt") else read_plain_tensors
        with pytest.raises(Exception, match="^"):
            read(tmp_path / "cut.pt")


def test_a_changed_tensor_of_an_archive_is_found(tmp_path):
    torch.save({"w": torch.full((9,), 1.5)}, tmp_path / "plain.pt")
    content = (tmp_path / "plain.pt").read_bytes()
    (tmp_path / "plain.pt").write_bytes(content.replace(torch.full((2,), 1.5).numpy().tobytes(), torch.full((2,), 2.5).numpy().tobytes(), 1))
    with pytest.raises(ValueError, match="damaged"):
        read_plain_tensors(tmp_path / "plain.pt")


def test_the_bytes_do_not_depend_on_the_files_name(tmp_path):
    for name in ("a.pt", "another.pth"):
        write_tensors(tmp_path / name, TENSORS)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "another.pth").read_bytes()


def test_a_full_disk_keeps_the_old_file_and_the_one_before(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for number in (1, 2):
        write_tensors(tmp_path / "file", number, tmp_path / "before")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_tensors(tmp_path / "file", 3, tmp_path / "before")
    assert {path.name: read_tensors(path) for path in tmp_path.iterdir()} == {"file": 2, "before": 1}


# Where tensors lie


def content(device):
    """Such as a checkpoint holds."""
    def numbers(*shape):
        return torch.arange(float(math.prod(shape)), device=device).view(shape)

    state = OrderedDict(
        weight=numbers(2, 3, 4, 4).to(memory_format=torch.channels_last), half=numbers(6).bfloat16(), empty=numbers(0), count=numbers(), name="a")
    state._metadata = {"version": 1}
    return {"model": state, "optimizers": [{"state": {0: {"step": numbers(1), "text": "a"}}}, (1, numbers(6))], "rows": torch.arange(3)}


@pytest.mark.parametrize("form", [lambda content: content, lambda content: content["model"]])
def test_the_bytes_are_the_same_of_a_gpus_tensors_and_the_host_waits_once(tmp_path, form):
    write_tensors(tmp_path / "cpu", form(content("cpu")))
    with pretended() as machine:
        mine = form(content("cuda"))
        machine.waits.clear()
        write_tensors(tmp_path / "gpu", mine)
    assert (tmp_path / "gpu").read_bytes() == (tmp_path / "cpu").read_bytes()
    assert sum(machine.waits.values()) == 1


def test_a_copy_that_is_not_waited_for_is_caught(tmp_path, monkeypatch):
    monkeypatch.setattr(Stream, "synchronize", lambda stream: None)
    with pretended(), pytest.raises(Wrong, match="still under way"):
        write_tensors(tmp_path / "gpu", content("cuda"))


def test_a_tensor_that_is_written_as_the_gpus_is_caught(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.tensors.on_cpu", lambda content: content)
    with pretended(), pytest.raises(Wrong, match="save of a tensor on cuda:0"):
        write_tensors(tmp_path / "gpu", content("cuda"))


def test_moved_tensors_are_plain_and_keep_their_strides_and_their_containers():
    Pair = namedtuple("Pair", "first second")
    with pretended():
        model, pair = on_cpu([content("cuda")["model"], Pair(torch.ones(2, device="cuda"), 1)])
        assert model["weight"].device.type == pair.first.device.type == "cpu"
        assert type(model["weight"]) is torch.Tensor and model["weight"].is_contiguous(memory_format=torch.channels_last)
    assert model._metadata == {"version": 1} and isinstance(pair, Pair)


def test_what_lies_in_the_cpus_memory_is_not_copied():
    content = {"a": [torch.ones(2), (torch.zeros(1), "text")], "b": OrderedDict(c=torch.ones(1))}
    assert on_cpu(content) is content
