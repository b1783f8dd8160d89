"""Outputs that come with their task: heads without bias, joined in task order (docs/successors.md,
"Network")."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Heads(nn.Linear):
    """A linear head without bias for every task, as one matrix [classes, features]: ``start`` draws the rows
    of a task when it begins; they then train like a separate layer."""

    deviation = 0.001

    def __init__(self, features: int, classes: int):
        super().__init__(features, classes, bias=False)

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=self.deviation)

    @torch.no_grad()
    def start(self, classes: range) -> None:
        """Draw the head of ``classes``, a task's, from torch's random state on the CPU."""
        drawn = torch.randn(len(classes), self.in_features)
        self.weight[classes.start : classes.stop] = self.deviation * drawn


class HeadPairs(nn.Module):
    """RFD's heads: two linear layers a task, features -> features -> classes, without bias or anything
    between. ``ranges`` are the classes of every task."""

    def __init__(self, features: int, ranges: Sequence[range]):
        super().__init__()
        self.ranges = tuple(ranges)
        self.first = nn.ParameterList(torch.zeros(features, features) for _ in ranges)
        self.second = nn.ParameterList(torch.zeros(len(classes), features) for classes in ranges)

    @torch.no_grad()
    def start(self, classes: range) -> None:
        """Draw the pair of ``classes``, a task's, on the CPU, as torch does for linear layers."""
        task = self.ranges.index(classes)
        for weight in (self.first[task], self.second[task]):
            bound = weight.shape[1] ** -0.5
            weight.copy_(torch.empty(weight.shape).uniform_(-bound, bound))

    @property
    def weight(self) -> Tensor:
        """The product of both layers of every task, [classes, features]."""
        return torch.cat([second @ first for first, second in zip(self.first, self.second)])

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, features] to logits [B, classes]."""
        return F.linear(features, self.weight)
