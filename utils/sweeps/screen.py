"""What is shown of many runs."""

import shutil
import sys
import time
from collections.abc import Callable

PACE = 60.0  # seconds between two lines about a run that is under way, where no line updates


class Screen:
    """Lines that stay and, below them, one for each run under way: in a terminal they update, in a file they come now and then."""

    def __init__(self) -> None:
        self.updating = sys.stderr.isatty()
        self.pace = 0.5 if self.updating else PACE
        self.drawn = 0  # updating lines that are on the screen
        self.then = time.monotonic()

    def clear(self) -> None:
        if self.drawn:
            print(f"\x1b[{self.drawn}A\x1b[J", end="", file=sys.stderr, flush=True)
            self.drawn = 0

    def say(self, line: str) -> None:
        """A line that stays."""
        self.clear()
        print(line, flush=True)

    def show(self, lines: Callable[[], list[str]]) -> None:
        """The runs under way, if it is time to."""
        if time.monotonic() - self.then < self.pace:
            return
        self.then = time.monotonic()
        shown = lines()
        if self.updating:
            width, height = shutil.get_terminal_size()
            shown = [line[: width - 1] for line in shown[-(height - 1) :]]
        self.clear()
        print("\n".join(shown), file=sys.stderr if self.updating else sys.stdout, flush=True)
        self.drawn = len(shown) if self.updating else 0
