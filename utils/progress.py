"""One updating line with an honest remaining time; in a file or a CI log, plain lines instead."""

import sys
import time
from collections import Counter, defaultdict
from collections.abc import Hashable
from dataclasses import dataclass

from tqdm import tqdm


@dataclass(frozen=True)
class Work:
    """Steps of one kind that a run has before it; ``cost`` relates kinds that have not been timed yet."""

    kind: Hashable
    steps: int
    cost: float


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


class Progress:
    """Remaining time: for each kind of step those left, times the measured time of that kind."""

    def __init__(self, shown: bool | None = None):
        self.cost: dict[Hashable, float] = {}
        self.left: Counter[Hashable] = Counter()
        self.steps: Counter[Hashable] = Counter()
        self.seconds: defaultdict[Hashable, float] = defaultdict(float)
        shown = sys.stderr.isatty() if shown is None else shown
        form = "{percentage:3.0f}% {bar:20} {desc}{postfix}"
        self.bar = tqdm(total=100, bar_format=form, disable=not shown, leave=False, dynamic_ncols=True)
        self.kind: Hashable = None
        self.then = time.monotonic()

    def add(self, work: Work) -> None:
        """Work that lies before the run."""
        self.cost[work.kind] = work.cost
        self.left[work.kind] += work.steps

    def start(self, kind: Hashable, text: str) -> None:
        """Steps of this kind come next."""
        self.kind = kind
        self.then = time.monotonic()
        self.bar.set_description_str(text)

    def step(self) -> None:
        now = time.monotonic()
        self.seconds[self.kind] += now - self.then
        self.then = now
        self.steps[self.kind] += 1
        self.left[self.kind] -= 1
        if not self.bar.disable and now - self.bar.last_print_t > 0.5:
            remaining = self.remaining()
            spent = sum(self.seconds.values())
            self.bar.n = 100 * spent / (spent + remaining)
            self.bar.set_postfix_str(f", {duration(remaining)} left")

    def remaining(self) -> float:
        """Seconds left."""
        cost = sum(steps * self.cost[kind] for kind, steps in self.steps.items())
        unit = sum(self.seconds.values()) / cost if cost else 0.0
        return sum(
            steps * (self.seconds[kind] / self.steps[kind] if self.steps[kind] else self.cost[kind] * unit)
            for kind, steps in self.left.items()
            if steps > 0
        )

    def close(self) -> None:
        self.bar.close()
