"""One updating line with an honest remaining time; in a file or a CI log, plain lines instead."""

import sys
import time
from collections import Counter
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

    def __init__(self, work: list[Work], enabled: bool | None = None):
        self.cost = {w.kind: w.cost for w in work}
        self.left: Counter[Hashable] = Counter()
        for w in work:
            self.left[w.kind] += w.steps
        self.seconds: Counter[Hashable] = Counter()
        self.steps: Counter[Hashable] = Counter()
        shown = sys.stderr.isatty() if enabled is None else enabled
        self.bar = tqdm(total=100, bar_format="{percentage:3.0f}% {bar:20} {desc}{postfix}", disable=not shown, leave=False, dynamic_ncols=True)
        self.done = 0.0
        self.kind: Hashable = None
        self.then = time.monotonic()

    def skip(self, kind: Hashable, steps: int) -> None:
        """Steps that an earlier start of this run has done."""
        self.left[kind] -= steps

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
        timed = [kind for kind in self.steps if self.steps[kind]]
        cost = sum(self.steps[kind] * self.cost[kind] for kind in timed)
        unit = sum(self.seconds[kind] for kind in timed) / cost if cost else 0.0
        return sum(
            steps * (self.seconds[kind] / self.steps[kind] if self.steps[kind] else self.cost[kind] * unit)
            for kind, steps in self.left.items()
            if steps > 0
        )

    def close(self) -> None:
        self.bar.close()
