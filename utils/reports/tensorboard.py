"""``--tensorboard``: what metrics.jsonl and figures/ hold, as event files that TensorBoard reads."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.errors import UserError
from utils.training.checkpoint import RunFolder
from utils.training.listeners import Epoch, Listener
from utils.training.measures import Measures
from utils.training.run_state import RunState

if TYPE_CHECKING:
    from matplotlib.figure import Figure


# {tag: value of a task's record}
ACCURACIES = {
    "mean of tasks": "accuracy", "over images": "accuracy_over_images", "old": "old", "new": "new", "top-1": "top1", "top-5": "top5",
    "nearest class mean": "ncm"}


def require_tensorboard() -> Any:
    """torch's writer of event files. Raises UserError where the package it needs is missing."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UserError(f"--tensorboard: {error}; sh install_requirements.sh tensorboard installs it, or leave the flag out") from error
    return SummaryWriter


class EventFiles:
    """The events of one repeat, in ``log_dir/tensorboard/repeat-R``, there to be read after every call.

    A step of losses and learning rates is the number of their record within the repeat; of accuracies and figures, that of the task.

    Args:
        folder: of the run, whose metrics.jsonl holds no more than the run resumes from.
        repeat: from 0.
    """

    def __init__(self, folder: Path, repeat: int):
        self.repeat = repeat + 1  # as recorded
        self.metrics = folder / "metrics.jsonl"
        self.position = 0  # in bytes
        path = folder / "tensorboard" / f"repeat-{self.repeat}"
        self.count = len(self.new_records()) if path.exists() else 0
        # What a stopped run wrote after its checkpoint is about to be done again: TensorBoard drops it.
        self.writer = require_tensorboard()(str(path), purge_step=self.count + 1 if self.count else None)

    def new_records(self) -> list[dict[str, Any]]:
        """This repeat's records since the last call."""
        with self.metrics.open("rb") as file:
            file.seek(self.position)
            records = [json.loads(line) for line in file]
            self.position = file.tell()
        return [record for record in records if record["repeat"] == self.repeat]

    def follow(self) -> None:
        """Write what metrics.jsonl has more than at the last call."""
        for record in self.new_records():
            self.count += 1
            if "losses" in record:
                for name, value in {**record["losses"], "lr": record["lr"]}.items():
                    self.writer.add_scalar(f"{record['stage']}/{name}", value, self.count)
            else:
                for tag, name in ACCURACIES.items():
                    if record.get(name) is not None:  # old classes, after the first task
                        self.writer.add_scalar(f"accuracy/{tag}", record[name], record["task"])
                for task, value in enumerate(record["by_task"], 1):
                    self.writer.add_scalar(f"accuracy/task {task}", value, record["task"])
        self.writer.flush()

    def figure(self, name: str, figure: Figure, task: int) -> None:
        """A picture after a task, counted from 1."""
        self.writer.add_figure(name, figure, task, close=False)
        self.writer.flush()

    def close(self) -> None:
        with contextlib.suppress(OSError):  # of a full disk, which has ended the run already
            self.writer.close()


class TensorBoard(Listener):
    """The event files of every repeat; comes after the Journal, whose records it follows."""

    def __init__(self, folder: RunFolder):
        self.folder = folder
        self.events: EventFiles | None = None

    def repeat_began(self, run: RunState) -> None:
        self.close()
        self.events = EventFiles(self.folder.path, run.place.repeat)

    def epoch_ended(self, run: RunState, epoch: Epoch) -> None:
        if self.events:
            self.events.follow()

    def task_ended(self, run: RunState, measures: Measures) -> None:
        if self.events:
            self.events.follow()

    def figure(self, name: str, figure: Figure, task: int) -> None:
        """See RunFigures, ``drawn``."""
        if self.events:
            self.events.figure(name, figure, task)

    def close(self) -> None:
        if self.events:
            self.events.close()
