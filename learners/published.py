"""How published tables name a method, and what they say of it: the paper's tables 1 and 2 (Smith et al.
2021), and those of R-DFCIL (Gao et al. 2022; docs/successors.md, "Numbers to reproduce"), here 3, CIFAR-100,
and 4, TinyImageNet."""

from dataclasses import dataclass, field, fields
from typing import Any

from utils.settings import Settings


@dataclass(frozen=True, eq=False)
class Method:
    """A line of a published table, or one to stand beside them; a learner may have several.

    Attributes:
        numbers: {column: (mean, std)} of final accuracy in percent over three repeats; empty where the
            publication has none, std NaN where it has no deviation.
        memory: images of the coreset.
        settings: those that make a run the method's, beyond the protocol's (utils/reports/paper.py) or in
            their stead.
        tables: 1, without a coreset; 2, with one; 3 and 4, half of the classes first.
        averages: {column: average incremental accuracy}, where the publication has it.
        learner_name: filled in where the lines are collected (utils/reports/paper.py).
    """

    name: str
    numbers: dict[int, tuple[float, float]] = field(default_factory=dict)
    memory: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    tables: tuple[int, ...] = (1,)
    learner_name: str = ""
    averages: dict[int, float] = field(default_factory=dict)


def own_defaults(kind: type[Settings]) -> dict[str, Any]:
    """The settings of a method's own and their defaults, where these are the published ones."""
    common = {f.name for f in fields(Settings)}
    return {f.name: f.default for f in fields(kind) if f.name not in common}


Numbers = dict[int, tuple[float, float, float]]


def half_first_lines(
    name: str, settings: dict[str, Any], cifar100: Numbers | None = None, tinyimagenet: Numbers | None = None,
) -> tuple[Method, Method]:
    """A method's lines in tables 3 and 4; numbers as {tasks after the first: (final accuracy, its std,
    average incremental accuracy)}."""

    def line(table: int, numbers: Numbers) -> Method:
        return Method(
            name, {tasks: (final, std) for tasks, (final, std, _) in numbers.items()}, settings=settings, tables=(table,),
            averages={tasks: average for tasks, (*_, average) in numbers.items()})

    return line(3, cifar100 or {}), line(4, tinyimagenet or {})
