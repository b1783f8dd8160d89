import pytest
import torch

from utils.device import (
    choose_device,
    cpu_notices,
    cpu_quota,
    default_threads,
    device_failure,
    exact,
    memory_format,
    physical_cores,
    probe,
    set_precision,
)
from utils.errors import UserError
from utils.settings import Settings

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
NO_DRIVER = "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU"
TOO_OLD = "The NVIDIA driver on your system is too old (found version 11000). Please update\nmore"


@pytest.fixture
def gpus(monkeypatch):
    """gpus(count, error): torch can use so many GPUs, and says why there are none."""

    def have(count, error=None):
        def init():
            raise error

        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "init", init)

    return have


def test_the_first_gpu_named_or_the_cpu_if_it_is_negative(gpus):
    gpus(2)
    assert [str(choose_device(gpuid)) for gpuid in ([-1], [0], [1, 0])] == ["cpu", "cuda:0", "cuda:1"]


@pytest.mark.parametrize("error", [
    RuntimeError(NO_DRIVER), AssertionError("Torch not compiled with CUDA enabled")])
def test_on_a_laptop_the_default_is_the_cpu_and_the_log_says_so(gpus, error):
    gpus(0, error)
    assert choose_device([0]) == choose_device([-1]) == CPU
    line, = cpu_notices([0], CPU)
    assert line.startswith(str(error).split(". ")[0]) and "--gpuid -1" in line
    assert cpu_notices([-1], CPU) == cpu_notices([0], GPU) == []


@pytest.mark.parametrize(("count", "error", "gpuid", "named"), [
    (2, "", 2, "this machine has 2 GPU"), (0, TOO_OLD, 0, "driver on your system is too old"),
    (0, NO_DRIVER, 1, "Found no NVIDIA driver")])
def test_a_gpu_that_was_asked_for_and_cannot_be_used_is_refused_in_one_line(
        gpus, count, error, gpuid, named):
    gpus(count, RuntimeError(error))
    with pytest.raises(UserError, match=rf"^--gpuid {gpuid}: [^\n]*{named}[^\n]*--gpuid -1 for the CPU$"):
        choose_device([gpuid])


def test_a_card_that_computes_nothing_is_refused(monkeypatch):
    def fail(*_, **__):
        raise torch.AcceleratorError("CUDA error: no kernel image is available on the device\nmore")

    probe(CPU)
    monkeypatch.setattr(torch, "ones", fail)
    with pytest.raises(UserError, match=r"^--gpuid 0: CUDA error: no kernel image [^\n]*$"):
        probe(GPU)


@pytest.mark.parametrize(("error", "line"), [
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has"),
     "CUDA out of memory. Tried to allocate 2.00 GiB; choose a smaller --batch_size or another --gpuid"),
    (MemoryError(), "MemoryError; choose a smaller --batch_size or another --gpuid"),
    (torch.AcceleratorError("CUDA error: launch failure\nmore"), "CUDA error: launch failure"),
    (RuntimeError("cuDNN error: CUDNN_STATUS_FAILED"), "cuDNN error: CUDNN_STATUS_FAILED"),
    (RuntimeError("mat1 and mat2 shapes cannot be multiplied (3x4 and 5x6)"), ""),
    (torch.AcceleratorError("CUDA error: operation not permitted when stream is capturing"), "")])
def test_a_failure_of_the_device_is_torchs_first_line_and_that_of_the_program_is_none(error, line):
    assert device_failure(error) == line


# Threads


def test_threads_are_those_that_were_asked_for_or_a_share_of_the_cores(monkeypatch):
    monkeypatch.setattr("utils.device.physical_cores", lambda cpus: 8)
    monkeypatch.setattr("utils.device.cpu_quota", lambda: 6.5)
    for asked, processes, threads in (("3", 2, 3), ("", 1, 6), ("", 4, 1), ("", 9, 1), ("many", 1, 6)):
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
        assert default_threads(processes) == threads


def test_two_hyperthreads_are_one_core(tmp_path):
    for cpu, siblings in enumerate(("0,2", "1,3", "0,2", "1,3")):
        (tmp_path / f"cpu{cpu}" / "topology").mkdir(parents=True)
        (tmp_path / f"cpu{cpu}" / "topology" / "thread_siblings_list").write_text(siblings)
    assert [physical_cores(cpus, tmp_path) for cpus in ({0, 1, 2, 3}, {0, 2}, {7, 8})] == [2, 1, 2]


def test_a_container_may_have_a_part_of_the_cpus(tmp_path):
    quotas = [cpu_quota(tmp_path, tmp_path / "missing")]
    (member := tmp_path / "cgroup").write_text("1:cpu:/other\n0::/slurm/job/step\n")
    (tmp_path / "slurm" / "job" / "step").mkdir(parents=True)
    for folder, text in ((".", "400000 100000\n"), ("slurm/job/step", "max 100000\n"),
                         ("slurm/job", "150000 100000\n")):
        (tmp_path / folder / "cpu.max").write_text(text)
        quotas.append(cpu_quota(tmp_path, member))
    assert quotas == [float("inf"), 4, 4, 1.5] and cpu_quota(tmp_path, tmp_path / "missing") == 4


# Arithmetic


@pytest.mark.parametrize("precision", ["ieee", "tf32"])
def test_what_is_measured_is_of_full_precision_and_training_goes_on_as_it_was(precision):
    def products():
        return {torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision}

    set_precision(precision)
    with exact():
        assert products() == {"ieee"}
    assert products() == {precision}
    set_precision("fp32")


@pytest.mark.parametrize(("asked", "precision", "device", "last"), [
    ("auto", "fp32", CPU, True), ("auto", "tf32", GPU, False), ("auto", "bf16", GPU, True),
    ("channels_last", "fp32", GPU, True), ("contiguous", "fp32", CPU, False)])
def test_the_memory_format(asked, precision, device, last):
    layout = torch.channels_last if last else torch.contiguous_format
    assert memory_format(Settings(memory_format=asked, precision=precision), device) is layout
