"""What a run's folder says of itself: its settings, and which code computed it."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learners import LEARNERS
from utils.code_2021 import OURS
from utils.errors import UserError
from utils.files import read_yaml
from utils.settings import Settings, completed


class Code(enum.Enum):
    """PUBLISHED: that of 2021. EARLIER: this project's until commit f3ba08f, where ABD's first task was learned over the seen
    outputs alone, BiC was tested with its bias layers, and every cross-entropy over classes read ``--DW``. CURRENT: since then."""

    PUBLISHED = "2021"
    EARLIER = "earlier"
    CURRENT = "current"


# Every run since that commit has recorded one of these.
SINCE = ("bias_at_test", "seed")


@dataclass(frozen=True)
class Recorded:
    """The settings in a run's args.yaml, those added since filled in with what it computed with, and the code that ran it."""

    settings: dict[str, Any]
    code: Code

    @property
    def weighs(self) -> bool:
        """Whether ``--DW`` changed what it learned."""
        learner, memory = LEARNERS.get(str(self.settings.get("learner_name"))), self.settings.get("memory")
        if not self.settings.get("DW") or learner is None or type(memory) is not int:
            return bool(self.settings.get("DW"))
        return self.code is Code.EARLIER or learner.reads_DW(memory)


def read_recorded(folder: Path) -> Recorded:
    """Of the run in ``folder``. Raises UserError where its args.yaml cannot be read, or it is not clear whose run it is."""
    recorded = read_yaml(folder / "args.yaml")
    learner = LEARNERS.get(str(recorded.get("learner_name")))
    settings = completed(recorded, learner.Settings if learner else Settings)
    code = Code.PUBLISHED
    if OURS in recorded:
        code = Code.CURRENT if any(name in recorded for name in SINCE) else Code.EARLIER
    if code is not Code.EARLIER and "bias_at_test" in settings:
        settings["bias_at_test"] = recorded.get("bias_at_test", False)
    for name in ("metrics.jsonl", "checkpoint.pt", "checkpoint-previous.pt") if code is Code.PUBLISHED else ():
        if (folder / name).exists():
            raise UserError(f"{folder}: its args.yaml is none of this project's (no {OURS}), its {name} is; leave one run's files in it")
    return Recorded(settings, code)


def learned_otherwise(settings: Mapping[str, Any]) -> str:
    """Why this code cannot resume what a run of this project with these settings has begun; "" where it can."""
    if any(name in settings for name in SINCE):
        return ""
    if settings.get("learner_name") == "AlwaysBeDreaming":
        return "began before commit f3ba08f, when ABD's first task was learned over the seen outputs alone"
    return "began before commit f3ba08f, when --DW weighed images otherwise" if settings.get("DW") else ""
