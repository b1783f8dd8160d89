"""How many operations a step dispatches, forward, backward and in the optimiser: about what a GPU launches, counted on any machine."""

from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from utils.benchmark.stages import build, endless
from utils.settings import Settings
from utils.training.step import TrainingStep

HEADING = ["learner", "stage", "forward", "backward", "optimiser", "all", "views"]

# They reserve memory and compute nothing.
RESERVE = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}


class Operations(TorchDispatchMode):
    """While open, counts what is dispatched.

    Attributes:
        count: of operations that compute something: a GPU launches a kernel for each, for some a few.
        views: of those that only look at memory in another way, or reserve it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = self.views = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.is_view or func.namespace == "profiler" or func.overloadpacket.__name__ in RESERVE:
            self.views += 1
        else:
            self.count += 1
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class Count:
    """Operations of a step of a stage."""

    learner: str
    stage: str
    forward: int
    backward: int
    optimiser: int
    views: int

    @property
    def all(self) -> int:
        return self.forward + self.backward + self.optimiser

    def cells(self) -> list[str]:
        return [self.learner, self.stage, *map(str, (self.forward, self.backward, self.optimiser, self.all, self.views))]


def count(stage_name: str, settings: Settings) -> Count:
    """Those of the second step of a stage: in the first one an optimiser makes its state."""
    learner, stage = build(stage_name, settings, torch.device("cpu"))
    step, starts = TrainingStep(stage, learner.streams), endless(stage)
    step(next(starts))
    with Operations() as forward:
        values = step.losses_of(next(starts))
    stage.optimizer.zero_grad()
    with Operations() as backward:
        values.sum().backward()
    with Operations() as optimiser:
        stage.optimizer.step()
    views = forward.views + backward.views + optimiser.views
    return Count(settings.learner_name, stage_name, forward.count, backward.count, optimiser.count, views)
