"""One updating line with an honest remaining time; in a file or a CI log, plain lines at a sensible pace instead."""

import math
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Hashable

from tqdm import tqdm

PACE = 10.0  # seconds between two plain lines of one stage
RECENT = 0.5  # how much the times of an epoch still count after each further one: a pause or a busy machine is soon forgotten


def duration(seconds: float) -> str:
    """Seconds as a person says them; NaN where they are not known."""
    if math.isnan(seconds):
        return "for a time that is not known"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


class Progress:
    """Remaining time: for each kind of step those left, times the measured time of that kind, above all in the last epochs."""

    def __init__(self, shown: bool | None = None):
        self.cost: dict[Hashable, float] = {}
        self.left: Counter[Hashable] = Counter()
        self.steps: defaultdict[Hashable, float] = defaultdict(float)
        self.seconds: defaultdict[Hashable, float] = defaultdict(float)
        self.spent = 0.0
        shown = sys.stderr.isatty() if shown is None else shown
        form = "{percentage:3.0f}% {bar:10} {desc}"
        self.bar = tqdm(total=100, bar_format=form, disable=not shown, leave=False, dynamic_ncols=True)
        self.kind: Hashable = None
        self.text = ""
        self.then = time.monotonic()
        self.drawn = self.logged = -math.inf

    def add(self, kind: Hashable, steps: int, cost: float) -> None:
        """Steps of one kind that the run has before it; ``cost`` relates kinds that have not been timed yet."""
        self.cost[kind] = cost
        self.left[kind] += steps

    def start(self, kind: Hashable, text: str) -> None:
        """Steps of this kind come next."""
        self.kind, self.text = kind, text
        self.steps[kind] *= RECENT
        self.seconds[kind] *= RECENT
        self.then = time.monotonic()
        self.draw()

    def step(self) -> None:
        """A step has been started."""
        self.steps[self.kind] += 1
        self.left[self.kind] -= 1
        self.spend()
        if self.then - self.drawn > 0.5:
            self.draw()

    def spend(self) -> None:
        """The time since the last step goes to its kind, too: what a GPU still had to do when the host had started all steps."""
        now = time.monotonic()
        self.seconds[self.kind] += now - self.then
        self.spent += now - self.then
        self.then = now

    def draw(self) -> None:
        """The updating line; the time left comes early, where no narrow terminal cuts it off."""
        if self.bar.disable:
            return
        remaining = self.remaining()
        self.bar.n = 100 * self.spent / (self.spent + remaining) if self.spent else 0
        self.bar.set_description_str(f"{duration(remaining)} left  {self.text}" if self.spent else self.text)
        self.drawn = self.then

    def plain_line(self, edge: bool) -> bool:
        """Whether the epoch that ended is one to say where no line updates: the first and the last of a stage (``edge``), and
        one every PACE seconds."""
        now = time.monotonic()
        if not self.bar.disable or not edge and now - self.logged < PACE:
            return False
        self.logged = now
        return True

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
