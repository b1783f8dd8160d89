"""What can end a run that has begun, each in one line: numbers that go bad, a full disk, a device or a worker that fails."""

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
        where: in the run. what: is not finite.
    """

    def __init__(self, where: str, what: str):
        super().__init__(f"{where}: not finite are {what}")


def mean_losses(by_step: Sequence[Tensor], names: Sequence[str], learner: nn.Module, where: str) -> dict[str, float]:
    """The mean of each loss over the steps of an epoch. Raises NotFinite where a loss or, after the last step, a weight is not finite."""
    losses = torch.stack(list(by_step)).cpu().double()
    bad = (~losses.isfinite()).any(1).nonzero().flatten().tolist()
    if bad:
        shown = "  ".join(f"{name} {value:g}" for name, value in zip(names, losses[bad[0]].tolist()))
        raise NotFinite(where, f"the losses of step {bad[0] + 1} of {len(losses)}: {shown}")
    weights = {name: value.isfinite().all() for name, value in learner.state_dict().items() if value.is_floating_point()}
    finite = torch.stack(list(weights.values())).tolist()
    if not all(finite):
        raise NotFinite(where, f"{list(weights)[finite.index(False)]} after the last step; the losses were")
    return dict(zip(names, losses.mean(0).tolist()))


@contextmanager
def in_one_line(folder: RunFolder, device: torch.device, heed: Callable[[], None]) -> Iterator[None]:
    """Raises RunError in the place of what ends the run, with how to resume it; defects of the program stay as they are.

    Args:
        heed: called before a failure of the device or of a worker counts as one: a signal to all processes ends workers first.
    """
    try:
        yield
    except NotFinite as error:  # nothing has been written since the checkpoint before
        raise RunError(f"{error}; the state before is in {folder.path / CHECKPOINT} ({folder.place})") from error
    except OSError as error:
        raise RunError(f"{error.filename or folder.settings.log_dir}: {error.strerror or error}; {folder.going_on()}") from error
    except UserError as error:  # an image that cannot be decoded, a worker that died
        raise RunError(f"{error}; {folder.going_on()}") from error
    except (RuntimeError, MemoryError) as error:
        reason = device_failure(error, device) or worker_failure(error, folder.settings.workers)
        if not reason:
            raise
        heed()
        raise RunError(f"{reason}; {folder.going_on()}") from error
