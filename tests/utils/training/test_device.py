import pytest
import torch

from utils.errors import UserError
from utils.settings import Settings
from utils.training.device import choose_device, open_device, set_precision


@pytest.fixture
def gpus(monkeypatch):
    def have(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return have


@pytest.mark.parametrize(("count", "gpuid", "device"), [
    (0, [0], "cpu"), (0, [3], "cpu"), (2, [-1], "cpu"), (2, [0], "cuda:0"), (2, [1, 0], "cuda:1")])
def test_a_negative_gpu_or_none_means_the_cpu(gpus, count, gpuid, device):
    gpus(count)
    assert choose_device(gpuid) == torch.device(device)


def test_a_gpu_that_is_not_there_is_refused(gpus):
    gpus(2)
    with pytest.raises(UserError, match="--gpuid 2"):
        choose_device([2])


def test_graphs_asked_for_without_a_gpu_are_refused(gpus):
    gpus(0)
    with pytest.raises(UserError, match="--graph on"):
        open_device(Settings(graph="on", threads=1))


def test_the_number_of_threads_is_that_of_the_settings():
    before = torch.get_num_threads()
    try:
        open_device(Settings(gpuid=[-1], threads=3))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("precision, format", [("fp32", "ieee"), ("tf32", "tf32"), ("bf16", "ieee")])
def test_precision_of_float32_products(precision, format):
    set_precision(precision)
    assert torch.backends.cuda.matmul.fp32_precision == torch.backends.cudnn.conv.fp32_precision == format
    set_precision("fp32")
