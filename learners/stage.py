"""A stage is what a learner gives the trainer: data, a loss, an optimiser over the parameters, epochs."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from utils.errors import RunError
from utils.settings import Settings

Losses = dict[str, Tensor]


class Batches(Protocol):
    """The source of a loss's arguments: ShuffledBatches, or Iterations, which gives none. ``starts`` yields
    what each step of an epoch begins with, of the same shapes throughout a stage, and ``load`` makes the
    arguments of it; like the loss, it is code that a CUDA graph can hold."""

    def steps(self, epoch: int) -> int: ...

    def starts(self, epoch: int) -> Iterator[tuple[Tensor, ...]]: ...

    def load(self, start: Sequence[Tensor]) -> tuple[Tensor, ...]: ...


def adam(
    parameters: Iterable[nn.Parameter], lr: float, device: torch.device,
    betas: tuple[float, float] = (0.9, 0.999), weight_decay: float = 0.0,
) -> torch.optim.Adam:
    """Return Adam, on a GPU such that a CUDA graph can hold its step."""
    on_gpu = device.type == "cuda"
    return torch.optim.Adam(parameters, lr, betas, weight_decay=weight_decay, fused=True, capturable=on_gpu)


def optimizer_for(
    s: Settings, parameters: Iterable[nn.Parameter], device: torch.device, lr_factor: float = 1.0,
) -> torch.optim.Optimizer:
    """Return the optimiser of the settings; its learning rate is ``lr_factor`` times theirs."""
    lr = s.lr * lr_factor
    if s.optimizer == "Adam":
        return adam(parameters, lr, device, (s.momentum, 0.999), s.weight_decay)
    return torch.optim.SGD(parameters, lr, s.momentum, weight_decay=s.weight_decay, fused=True)


@dataclass
class Stage:
    """Data, a loss, and an optimiser over the parameters to learn.

    Attributes:
        name: shown in the log.
        batches: arguments of ``loss``, epoch by epoch.
        loss: returns the terms of the loss by name; their sum is minimised. It must neither copy to the host
            nor branch on data.
        trained: the module in training mode; all others are in evaluation mode.
        optimizer: over the parameters to learn; ``initial_lr`` of its groups is the learning rate to decay.
        epochs: number of passes over ``batches``.
        milestones: epochs at which the learning rate falls to a tenth.
        cosine: whether it falls to 0 along half a cosine instead.
        unit: what the log calls an epoch.
        joins: file name under which the trained module is saved beside the networks of the task before; "" if
            it isn't.
        dreams: whether it leaves new dreams to look at.
        lr_factor: factor on ``initial_lr``, for a stage that shares its optimiser with the one before.
        before_epoch: called before each epoch to rebuild state derived from the checkpoint.
    """

    name: str
    batches: Batches
    loss: Callable[..., Losses]
    trained: nn.Module
    optimizer: torch.optim.Optimizer
    epochs: int
    milestones: Sequence[int] = ()
    unit: str = "epoch"
    joins: str = ""
    dreams: bool = False
    lr_factor: float = 1.0
    cosine: bool = False
    before_epoch: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        for group in self.optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])

    def start_epoch(self, epoch: int) -> float:
        """Call ``before_epoch``, then set and return the epoch's learning rate. On a GPU the optimiser has
        the rate as a tensor, which a captured step reads each time."""
        self.before_epoch()
        decay = 0.1 ** sum(milestone <= epoch for milestone in self.milestones)
        if self.cosine:
            decay = (1 + math.cos(math.pi * epoch / self.epochs)) / 2
        factor = self.lr_factor * decay
        rates = [group["initial_lr"] * factor for group in self.optimizer.param_groups]
        for group, rate in zip(self.optimizer.param_groups, rates):
            device = group["params"][0].device
            if device.type != "cuda":
                group["lr"] = rate
            elif isinstance(group["lr"], Tensor) and group["lr"].device == device:
                group["lr"].fill_(rate)
            else:
                group["lr"] = torch.tensor(rate, device=device)
        return rates[0]

    def check(self, losses: Any) -> None:
        """Raises RunError, which names the file, if ``loss`` returned anything but scalar tensors by name."""
        if not (isinstance(losses, dict) and losses and all(
                isinstance(value, Tensor) and not value.shape for value in losses.values())):
            function: Any = getattr(self.loss, "func", self.loss)
            raise RunError(
                f"{function.__module__.replace('.', '/')}.py: {function.__qualname__} must return a dict of "
                f'scalar tensors by name, such as {{"classification": loss}}, and returned {losses!r:.80}')
