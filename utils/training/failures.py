"""What can end a run that has begun, each in one line: numbers that go bad, a full disk, a device or a worker that fails."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dataloaders.image_files import worker_failure
from utils.errors import RunError, UserError
from utils.training.checkpoint import CHECKPOINT, RunFolder
from utils.training.device import device_failure


class NotFinite(Exception):
    """A number went bad; nothing has been written since.

    Args:
        where: in the run. what: was found, as a clause.
    """

    def __init__(self, where: str, what: str):
        super().__init__(f"{where}: {what}")


def mean_losses(by_step: Sequence[Tensor], names: Sequence[str], learner: nn.Module, where: str) -> dict[str, float]:
    """The mean of each loss over the steps of an epoch. Raises NotFinite where a loss or, after the last step, a weight is not finite."""
    weights = {name: value for name, value in learner.state_dict().items() if value.is_floating_point() and value.numel()}
    by_type: dict[torch.dtype, list[str]] = {}
    for name, value in weights.items():
        by_type.setdefault(value.dtype, []).append(name)
    stacked = torch.stack(list(by_step))
    # The largest of each weight, NaN or infinite where one of them is: a few kernels, and one wait for it all.
    largest = [torch.stack(torch._foreach_norm([weights[name] for name in group], math.inf)) for group in by_type.values()]
    values = torch.cat([part.flatten().double() for part in (stacked, *largest)]).cpu()
    losses, norms = values[: stacked.numel()].view(stacked.shape), values[stacked.numel() :]
    if bad := (~losses.isfinite()).any(1).nonzero().flatten().tolist():
        shown = "  ".join(f"{name} {value:g}" for name, value in zip(names, losses[bad[0]].tolist()))
        raise NotFinite(where, f"the losses of step {bad[0] + 1} of {len(losses)} are not finite: {shown}")
    checked = [name for group in by_type.values() for name in group]
    if bad := (~norms.isfinite()).nonzero().flatten().tolist():
        raise NotFinite(where, f"{checked[bad[0]]} is not finite after the last step, though all losses were")
    return dict(zip(names, losses.mean(0).tolist()))


def check_accuracies(by_task: Sequence[float], where: str) -> None:
    """Raises NotFinite where one is not."""
    if not all(math.isfinite(value) for value in by_task):
        raise NotFinite(f"{where}  accuracy", "the model's outputs for some test images are not finite")


@contextmanager
def in_one_line(folder: RunFolder, device: torch.device, raise_if_stopped: Callable[[], None]) -> Iterator[None]:
    """Raises RunError in the place of what ends the run, with how to resume it; defects of the program stay as they are.

    Args:
        raise_if_stopped: called before a failure of the device or of a worker counts as one: a signal to all processes ends workers first.
    """
    try:
        yield
    except NotFinite as error:  # nothing has been written since the checkpoint before
        before = f"the state before is in {folder.path / CHECKPOINT} ({folder.place})"
        raise RunError(f"{error}; {before}; a run with a lower --lr, in another --log_dir, may avoid it") from error
    except OSError as error:
        raise RunError(f"{error.filename or folder.settings.log_dir}: {error.strerror or error}; {folder.resume_hint()}") from error
    except UserError as error:  # an image that cannot be decoded, a worker that died
        raise RunError(f"{error}; {folder.resume_hint()}") from error
    except (RuntimeError, MemoryError) as error:
        reason, worker = device_failure(error, device), worker_failure(error, folder.settings.workers)
        if not (reason or worker):
            raise
        if worker:
            time.sleep(0.5)  # a signal to all processes comes to this one too
        raise_if_stopped()
        raise RunError(f"{reason or worker}; {folder.resume_hint()}") from error
