import os
import stat

import pytest
import torch

from utils.arithmetic import set_precision
from utils.errors import UserError
from utils.settings import Settings
from utils.training import device as device_module
from utils.training.device import (
    choose_device,
    cpu_notices,
    device_failure,
    driver_version,
    listed_by_nvidia_smi,
    open_device,
    probe,
    unusable_gpu,
)

CPU, GPU = torch.device("cpu"), torch.device("cuda", 1)
VERSION = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  450.80.02  Wed Sep 23 01:13:39 UTC 2020\nGCC version: 9.3.0\n"
OPEN_VERSION = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  535.54.03  Release Build  (dvs-builder@U16)\n"


@pytest.fixture
def gpus(monkeypatch):
    """torch and so many GPUs that it can use: gpus(count)."""

    def have(count):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return have


@pytest.fixture
def card(monkeypatch, gpus, tmp_path):
    """A card that torch cannot use: card(/proc's text, nvidia-smi's output and status, whether torch has CUDA)."""

    def have(version=VERSION, smi="450.80.02, Tesla V100", status=0, built=True):
        gpus(0)
        if version:
            (tmp_path / "version").write_text(version)
        if smi is not None:
            program = tmp_path / "bin" / "nvidia-smi"
            program.parent.mkdir(exist_ok=True)
            program.write_text(f"#!/bin/sh\necho '{smi}'\nexit {status}\n")
            program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}/bin:/usr/bin")
        monkeypatch.setattr(device_module, "driver_version", lambda: driver_version(tmp_path / "version"))
        monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: built)
        monkeypatch.setattr(torch.version, "cuda", "13.0" if built else None)

        def init():
            raise RuntimeError("The NVIDIA driver on your system is too old (found version 11000). Please update\nmore")

        monkeypatch.setattr(torch.cuda, "init", init)

    return have


@pytest.fixture
def no_card(monkeypatch, gpus):
    gpus(0)
    monkeypatch.setattr(device_module, "unusable_gpu", lambda: "")


# Which device


@pytest.mark.parametrize(("count", "gpuid", "device"), [
    (2, [-1], "cpu"), (2, [0], "cuda:0"), (2, [1, 0], "cuda:1")])
def test_the_first_gpu_named_or_the_cpu_where_it_is_negative(gpus, count, gpuid, device):
    gpus(count)
    assert choose_device(gpuid) == torch.device(device)


@pytest.mark.parametrize("gpuid", [[0], [3]])
def test_without_any_card_a_run_is_on_the_cpu_and_says_so(no_card, gpuid):
    device = choose_device(gpuid)
    assert device == CPU
    line, = cpu_notices(gpuid, device)
    assert "no NVIDIA GPU was found" in line and "hundreds of hours" in line and "\n" not in line


def test_who_chose_the_cpu_is_not_told(no_card):
    assert cpu_notices([-1], choose_device([-1])) == []
    assert cpu_notices([0], torch.device("cuda", 0)) == []


@pytest.mark.parametrize("gpuid", [2, 99])
def test_a_gpu_that_is_not_there_is_refused(gpus, gpuid):
    gpus(2)
    with pytest.raises(UserError, match=f"--gpuid {gpuid}: this machine has 2 GPU"):
        choose_device([gpuid])


@pytest.mark.parametrize("gpuid", [[0], [5]])
@pytest.mark.parametrize(("given", "named"), [
    ({}, ["Tesla V100", "driver 450.80.02", "CUDA 13.0", "is too old (found version 11000)", "newer driver"]),
    ({"smi": None}, ["driver 450.80.02", "CUDA 13.0"]),
    ({"version": OPEN_VERSION, "smi": "", "status": 9}, ["driver 535.54.03", "CUDA 13.0"]),
    ({"version": ""}, ["Tesla V100", "driver 450.80.02"]),  # as under WSL
    ({"version": "nonsense", "smi": None}, ["driver of unknown version"]),
    ({"built": False}, ["build for the CPU", "driver 450.80.02", "torch wheel with CUDA"]),
    ({"built": False, "smi": None}, ["build for the CPU", "driver 450.80.02"])])
def test_a_card_that_torch_cannot_use_is_refused(card, gpuid, given, named):
    card(**given)
    with pytest.raises(UserError) as error:
        choose_device(gpuid)
    line = str(error.value)
    assert line.startswith(f"--gpuid {gpuid[0]}: ") and "--gpuid -1" in line and torch.__version__ in line and "\n" not in line
    assert [part for part in named if part not in line] == []
    assert choose_device([-1]) == CPU


def test_a_container_that_was_given_no_gpu_is_told_so(card, monkeypatch, tmp_path):
    card(smi=None)
    monkeypatch.setattr(device_module, "DEVICE_FILE", tmp_path / "none")
    assert "docker run --gpus all" in unusable_gpu()
    (tmp_path / "none").touch()
    assert "docker" not in unusable_gpu()


@pytest.mark.parametrize("text", ["NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver", ""])
def test_a_program_nvidia_smi_without_a_driver_is_no_card(card, text):
    card(version="", smi=text, status=9)
    assert listed_by_nvidia_smi() == ("", [])
    assert choose_device([0]) == CPU


@pytest.mark.parametrize("visible", ["", "-1", "NoDevFiles", "void", " "])
def test_hidden_gpus_mean_the_cpu(card, monkeypatch, visible):
    card()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert choose_device([0]) == CPU
    line, = cpu_notices([0], CPU)
    assert line.startswith(f"CUDA_VISIBLE_DEVICES={visible} hides any GPU")


@pytest.mark.parametrize("visible", ["7", "GPU-0a1b", "0,1"])
def test_a_wrong_choice_of_visible_gpus_is_refused_by_its_name(card, monkeypatch, visible):
    card()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(UserError, match=f"CUDA_VISIBLE_DEVICES={visible}"):
        choose_device([0])


# What a process is set to


def test_graphs_asked_for_without_a_gpu_are_refused(no_card):
    with pytest.raises(UserError, match="--graph on"):
        open_device(Settings(graph="on", threads=1))


@pytest.mark.parametrize(("threads", "found"), [(3, 3), (0, 4)])
def test_the_number_of_threads_is_that_of_the_settings_or_chosen(monkeypatch, threads, found):
    monkeypatch.setattr(device_module, "default_threads", lambda: 4)
    before = torch.get_num_threads()
    try:
        open_device(Settings(gpuid=[-1], threads=threads))
        assert torch.get_num_threads() == found
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("precision, format", [("fp32", "ieee"), ("tf32", "tf32"), ("bf16", "ieee")])
def test_precision_of_float32_products(precision, format):
    set_precision(precision)
    assert torch.backends.cuda.matmul.fp32_precision == torch.backends.cudnn.conv.fp32_precision == format
    set_precision("fp32")


# When it fails


OUT_OF_MEMORY = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB of which 1 GiB is free. If reserved memory"
NO_KERNEL = "CUDA error: no kernel image is available for execution on the device\nCUDA kernel errors might be reported later"
FAILURES = [
    (torch.OutOfMemoryError(OUT_OF_MEMORY), ["Tried to allocate 2.00 GiB", "--parallel", "--runs_per_gpu", "--batch_size", "--gpuid"]),
    (RuntimeError("CUDA error: out of memory\nmore"), ["--batch_size"]),
    (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), ["--batch_size"]),
    (torch.AcceleratorError(NO_KERNEL), ["no kernel image", "torch wheel", "--gpuid"]),
    (torch.AcceleratorError("CUDA error: all CUDA-capable devices are busy or unavailable"), ["nvidia-smi -c 0", "--parallel 1"]),
    (torch.AcceleratorError("CUDA error: CUDA-capable device(s) is/are busy or unavailable"), ["nvidia-smi -c 0", "--parallel 1"]),
    (torch.AcceleratorError("CUDA error: unspecified launch failure\nmore"), ["unspecified launch failure", "nvidia-smi", "--gpuid"]),
    (RuntimeError("CUDA driver error: device lost"), ["was lost", "--gpuid"]),
    (RuntimeError("CUDA error: uncorrectable ECC error encountered"), ["failed or was lost"]),
    (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), ["failed or was lost"]),
    (RuntimeError("The NVIDIA driver on your system is too old (found version 11000)."), ["install a driver"]),
    (RuntimeError("CUDA driver initialization failed, you might not have a CUDA gpu."), ["install a driver"]),
    (RuntimeError("Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions"), ["install a driver"]),
    (RuntimeError("CUDA unknown error - this may be due to an incorrectly set up environment"), ["install a driver"]),
    (RuntimeError("GET was unable to find an engine to execute this computation"), ["--batch_size"]),
    (RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"), ["--batch_size"]),
    (RuntimeError("Triton Error [CUDA]: out of memory"), ["--batch_size"]),
    (RuntimeError("CUDA error: invalid device ordinal"), ["nvidia-smi lists them"]),
    (MemoryError(), ["MemoryError", "--batch_size"]),
    (RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried"), ["--batch_size"]),
]


@pytest.mark.parametrize(("error", "named"), FAILURES)
def test_a_device_that_fails_is_one_line_with_the_remedy(error, named):
    line = device_failure(error, GPU)
    assert line.startswith("cuda:1: ") and "\n" not in line
    assert [part for part in named if part not in line] == []


@pytest.mark.parametrize("error", [
    RuntimeError("mat1 and mat2 shapes cannot be multiplied (3x4 and 5x6)"), ValueError("CUDA error: no"), ZeroDivisionError("division by zero"),
    RuntimeError("Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!"),
    RuntimeError("CUDA error: operation not permitted when stream is capturing")])
def test_a_defect_of_the_program_is_no_failure_of_the_device(error):
    assert device_failure(error, GPU) == ""


@pytest.mark.parametrize(("error", "named"), [*FAILURES[:-2], (RuntimeError("what nobody has seen yet"), ["what nobody has seen yet"])])
def test_a_card_that_computes_nothing_is_refused(monkeypatch, error, named):
    def fail(device):
        raise error

    monkeypatch.setattr(device_module, "small_operation", fail)
    with pytest.raises(UserError) as refused:
        probe(GPU)
    assert str(refused.value).startswith("--gpuid 1: cuda:1: ") and "\n" not in str(refused.value)
    assert [part for part in named if part not in str(refused.value)] == []
    probe(CPU)


def test_the_probe_computes():
    device_module.small_operation(CPU)
