"""A stage, what a learner gives the trainer: some data, a loss, the parameters to learn, a learning rate, a number of epochs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

Losses = dict[str, Tensor]


class Batches(Protocol):
    """Where a stage's steps get their arguments: ShuffledBatches, or Iterations, which has none to give."""

    def steps(self, epoch: int) -> int:
        """How many there are in an epoch."""
        ...

    def starts(self, epoch: int) -> Iterator[tuple[Tensor, ...]]:
        """What each step of an epoch begins with, of the same shapes throughout a stage."""
        ...

    def load(self, start: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The arguments of the loss: tensor code like the loss itself."""
        ...


@dataclass
class Stage:
    """Some data, a loss, and an optimiser over the parameters to learn: what the trainer runs.

    Attributes:
        name: as the log shows it.
        batches: arguments of ``loss``, epoch by epoch.
        loss: tensor code that returns the terms of the loss by name; their sum is minimised. It must not
            copy to the host nor branch on data.
        trained: the module in training mode; all others are in evaluation mode.
        optimizer: over the parameters to learn; ``initial_lr`` of its groups is the learning rate to decay.
        epochs: passes over ``batches``.
        milestones: epochs at which the learning rate falls to a tenth.
        cost: of a step, roughly, in steps of Base; for the remaining time until steps have been timed.
        unit: what an epoch is called in the log.
        joins: file name under which what was trained joins the networks that the task before left; "" where it does not.
        dreams: whether it leaves new dreams to look at.
        lr_factor: of ``initial_lr``, throughout; for a stage that shares its optimiser with the one before.
        before_epoch: what is to be made before every epoch, of what a checkpoint holds.
    """

    name: str
    batches: Batches
    loss: Callable[..., Losses]
    trained: nn.Module
    optimizer: torch.optim.Optimizer
    epochs: int
    milestones: Sequence[int] = ()
    cost: float = 1.0
    unit: str = "epoch"
    joins: str = ""
    dreams: bool = False
    lr_factor: float = 1.0
    before_epoch: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        for group in self.optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])

    def start_epoch(self, epoch: int) -> float:
        """Set and return the epoch's learning rate, and do what comes before it. On a GPU the optimiser has the rate as a
        tensor, which a captured step reads each time."""
        self.before_epoch()
        factor = self.lr_factor * 0.1 ** sum(milestone <= epoch for milestone in self.milestones)
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
