
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
    open_device,
    physical_cores,
    probe,
    set_deterministic,
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
            raise error or RuntimeError(NO_DRIVER)

        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "init", init)

    return have


@pytest.fixture
def as_before():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    set_precision("fp32")
    set_deterministic(False)


# Which device


@pytest.mark.parametrize(("gpuid", "device"), [([-1], "cpu"), ([0], "cuda:0"), ([1, 0], "cuda:1")])
def test_the_first_gpu_named_or_the_cpu_if_it_is_negative(gpus, gpuid, device):
    gpus(2)
    assert choose_device(gpuid) == torch.device(device)


@pytest.mark.parametrize("error", [RuntimeError(NO_DRIVER),
    AssertionError("Torch not compiled with CUDA enabled")])
def test_on_a_laptop_the_default_is_the_cpu_and_the_log_says_so(gpus, error):
    gpus(0, error)
    assert choose_device([0]) == choose_device([-1]) == CPU
    line, = cpu_notices([0], CPU)
    assert line.startswith(str(error).split(". ")[0]) and "--gpuid -1" in line
    assert cpu_notices([-1], CPU) == cpu_notices([0], GPU) == []


@pytest.mark.parametrize(("count", "error", "gpuid", "named"), [
    (2, "", 2, "this machine has 2 GPU"), (0, TOO_OLD, 0, "driver on your system is too old"),
    (0, "No CUDA GPUs are available", 0, "No CUDA GPUs are available"),
    (0, NO_DRIVER, 1, "Found no NVIDIA driver")])
def test_a_gpu_that_was_asked_for_and_cannot_be_used_is_refused_in_one_line(gpus, count, error, gpuid, named):
    gpus(count, RuntimeError(error))
    with pytest.raises(UserError, match=rf"^--gpuid {gpuid}: [^\n]*{named}[^\n]*--gpuid -1 for the CPU$"):
        choose_device([gpuid])


def test_a_card_that_computes_nothing_is_refused(monkeypatch):
    def fail(*_, **__):
        raise torch.AcceleratorError(
            "CUDA error: no kernel image is available for execution on the device\nmore")

    probe(CPU)
    monkeypatch.setattr(torch, "ones", fail)
    with pytest.raises(UserError, match=r"^--gpuid 0: CUDA error: no kernel image [^\n]*$"):
        probe(GPU)


def test_graphs_asked_for_without_a_gpu_are_refused():
    with pytest.raises(UserError, match="--graph on"):
        open_device(Settings(gpuid=[-1], graph="on", threads=1))


# When it fails


@pytest.mark.parametrize("error", [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has"),
    RuntimeError("CUDA error: out of memory\nmore"), MemoryError(),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError(
    "[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried")])
def test_memory_that_ran_out_is_one_line_with_the_remedy(error):
    assert device_failure(error).endswith("; choose a smaller --batch_size or another --gpuid")
    assert "\n" not in device_failure(error)


@pytest.mark.parametrize("error", [
    torch.AcceleratorError("CUDA error: unspecified launch failure\nmore"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    RuntimeError("CUDA driver error: device lost")])
def test_another_failure_of_the_device_is_torchs_first_line(error):
    assert device_failure(error) == str(error).splitlines()[0]


@pytest.mark.parametrize("error", [
    RuntimeError("mat1 and mat2 shapes cannot be multiplied (3x4 and 5x6)"), ValueError("CUDA error: no"),
    torch.AcceleratorError("CUDA error: operation not permitted when stream is capturing")])
def test_a_defect_of_the_program_is_no_failure_of_the_device(error):
    assert device_failure(error) == ""


# Threads


@pytest.mark.parametrize(("text", "processes", "found"), [
    ("3", 1, 3), ("3,2", 4, 3), ("9999", 1, 256), ("0", 1, 6), ("x", 2, 3), ("", 99, 1)])
def test_threads_are_those_of_the_environment_or_a_share_of_the_cores(monkeypatch, text, processes, found):
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    monkeypatch.setattr("utils.device.available_cores", lambda: 6)
    assert default_threads(processes) == found


@pytest.mark.parametrize(("threads", "found"), [(3, 3), (0, 4)])
def test_the_number_of_threads_is_that_of_the_settings_or_chosen(as_before, monkeypatch, threads, found):
    monkeypatch.setattr("utils.device.default_threads", lambda: 4)
    open_device(Settings(gpuid=[-1], threads=threads))
    assert torch.get_num_threads() == found


def test_hyperthreads_of_a_core_count_once(tmp_path):
    for cpu, siblings in enumerate(["0,2", "1,3", "0,2"]):
        (tmp_path / f"cpu{cpu}" / "topology").mkdir(parents=True)
        (tmp_path / f"cpu{cpu}" / "topology" / "thread_siblings_list").write_text(f"{siblings}\n")
    assert physical_cores({0, 1, 2}, tmp_path) == 2
    assert physical_cores({0, 1, 2, 7}, tmp_path) == 3  # the system does not tell of 7


@pytest.mark.parametrize(("own", "limits", "found"), [
    ("0::/", {"": "200000 100000"}, 2), ("0::/job/step", {"job": "150000 100000", "job/step": "max 100000"},
    1.5),
    ("1:cpu:/x\n0::/job", {"": "max 100000"}, float("inf")), ("", {}, float("inf"))])
def test_the_quota_is_the_least_of_the_control_groups_around_a_process(tmp_path, own, limits, found):
    (tmp_path / "own").write_text(f"{own}\n")
    for folder, limit in limits.items():
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "cpu.max").write_text(f"{limit}\n")
    assert cpu_quota(tmp_path, tmp_path / "own") == found
    assert cpu_quota(tmp_path, tmp_path / "none") == float("inf")


# Arithmetic


def products():
    return {torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision}


@pytest.mark.parametrize(("precision", "found"), [("fp32", "ieee"), ("tf32", "tf32"), ("bf16", "ieee")])
def test_what_is_measured_is_of_full_precision_and_training_goes_on_as_it_was(as_before, precision, found):
    set_precision(precision)
    with pytest.raises(ZeroDivisionError), exact():
        assert products() == {"ieee"}
        raise ZeroDivisionError
    assert products() == {found}


@pytest.mark.parametrize(("asked", "precision", "device", "found"), [
    ("auto", "fp32", CPU, torch.channels_last), ("auto", "tf32", GPU, torch.contiguous_format),
    ("auto", "bf16", GPU, torch.channels_last), ("channels_last", "fp32", GPU, torch.channels_last),
    ("contiguous", "fp32", CPU, torch.contiguous_format)])
def test_the_memory_format(asked, precision, device, found):
    assert memory_format(Settings(memory_format=asked, precision=precision), device) is found
