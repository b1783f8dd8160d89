"""What ends a run is one line with how to resume it; defects of the program are not dressed up."""

import math

import pytest
import torch
from torch import nn
from utils.training.failures import NotFinite, in_one_line, mean_losses

from utils.errors import RunError, UserError
from utils.settings import Settings
from utils.training.folder import RunFolder


def steps(*values):
    return [torch.tensor(step, dtype=torch.float64) for step in values]


def test_the_mean_of_each_loss_by_its_name():
    assert mean_losses(steps([1.0, 10.0], [3.0, 30.0]), ["a", "b"], nn.Linear(1, 1), "here") == {"a": 2.0, "b": 20.0}


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_named_with_its_step(bad):
    with pytest.raises(NotFinite, match=f"^here: the losses of step 2 of 3 are not finite: a 3  b {bad:g}$"):
        mean_losses(steps([1.0, 1.0], [3.0, bad], [bad, 1.0]), ["a", "b"], nn.Linear(1, 1), "here")


def test_a_weight_that_is_not_finite_is_named():
    network = nn.Linear(1, 1)
    nn.init.constant_(network.bias, math.nan)
    with pytest.raises(NotFinite, match="^here: bias is not finite after the last step, though all losses were$"):
        mean_losses(steps([1.0]), ["a"], network, "here")


@pytest.mark.parametrize(("error", "expected"), [
    (NotFinite("here", "all is lost"), "^here: all is lost; the state before is in .*checkpoint.pt .*lower --lr"),
    (OSError(28, "No space left on device", "a/file"), "^a/file: No space left on device; the same command starts it again$"),
    (UserError("an image"), "^an image; the same command starts it again$"),
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), "out of memory.*--batch_size.*; the same command"),
])
def test_what_ends_a_run_is_one_line_with_how_to_resume_it(tmp_path, error, expected):
    folder = RunFolder(Settings(log_dir=str(tmp_path / "run")))
    with pytest.raises(RunError, match=expected) as found, in_one_line(folder, torch.device("cpu"), lambda: None):
        raise error
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("error", [RuntimeError("a defect"), KeyError("a defect")])
def test_a_defect_of_the_program_stays_what_it_is(tmp_path, error):
    folder = RunFolder(Settings(log_dir=str(tmp_path / "run")))
    with pytest.raises(type(error), match="a defect"), in_one_line(folder, torch.device("cpu"), lambda: None):
        raise error
