"""How the paper's tables name a method, and what they say of it (Smith et al. 2021, tables 1 and 2, CIFAR-100)."""

from dataclasses import dataclass, field, fields
from typing import Any

from utils.settings import Settings


@dataclass(frozen=True, eq=False)
class Method:
    """A line of the paper's tables, or one to stand beside them.

    Attributes:
        numbers: {tasks: (mean, population std)} of final accuracy in percent over three repeats; empty where the paper has none.
        memory: images of the coreset.
        settings: those that make a run the method's, beyond the protocol's (utils/reports/paper.py) or in their stead.
        tables: 1, without a coreset; 2, with one.
        learner_name: filled in where the lines are collected (utils/reports/paper.py).
    """

    name: str
    numbers: dict[int, tuple[float, float]] = field(default_factory=dict)
    memory: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    tables: tuple[int, ...] = (1,)
    learner_name: str = ""


def own_defaults(kind: type[Settings]) -> dict[str, Any]:
    """The settings of a method's own and their defaults, where these are the published ones."""
    common = {f.name for f in fields(Settings)}
    return {f.name: f.default for f in fields(kind) if f.name not in common}
