"""``--tensorboard``: the records of metrics.jsonl and the figures as event files that TensorBoard reads."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.errors import UserError
from utils.training.folder import RunFolder
from utils.training.listeners import Epoch, Listener
from utils.training.measures import Measures
from utils.training.state import RunState

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# {tag: value in a task's record}; "top-K" stands for what the data set's accuracy counts.
ACCURACIES = {
    "mean of tasks (top-K)": "accuracy", "over images (top-K)": "accuracy_over_images", "old (top-K)": "old",
    "new (top-K)": "new",
    "top-1": "top1", "top-5": "top5", "nearest class mean (top-1)": "ncm",
}


def require_tensorboard() -> Any:
    """torch's writer of event files. Raises UserError if the package that it needs is missing."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        remedy = "sh install_requirements.sh tensorboard installs it, or leave the flag out"
        raise UserError(f"--tensorboard: {error}; {remedy}") from error
    return SummaryWriter


class EventFiles:
    """The events of one repeat (from 0), in ``log_dir/tensorboard/repeat-R``, complete after each call.

    Losses and learning rates are at the number of their record within the repeat, accuracies and figures at
    their task.
    """

    def __init__(self, folder: Path, repeat: int, validation: bool = False):
        self.repeat = repeat + 1  # as recorded
        self.group = "validation accuracy" if validation else "accuracy"
        self.metrics = folder / "metrics.jsonl"
        self.position = 0  # in bytes
        path = folder / "tensorboard" / f"repeat-{self.repeat}"
        self.count = len(self.new_records()) if path.exists() else 0
        # TensorBoard drops what a stopped run wrote after its checkpoint, which is about to be done again.
        self.writer = require_tensorboard()(str(path), purge_step=self.count + 1 if self.count else None)

    def new_records(self) -> list[dict[str, Any]]:
        """This repeat's records since the last call."""
        with self.metrics.open("rb") as file:
            file.seek(self.position)
            records = [json.loads(line) for line in file]
            self.position = file.tell()
        return [record for record in records if record["repeat"] == self.repeat]

    def follow(self) -> None:
        """Write what metrics.jsonl has gained since the last call."""
        for record in self.new_records():
            self.count += 1
            if "losses" in record:
                for name, value in {**record["losses"], "lr": record["lr"]}.items():
                    self.writer.add_scalar(f"{record['stage']}/{name}", value, self.count)
                continue
            top_k = f"top-{record.get('top_k', 1)}"
            values = {tag.replace("top-K", top_k): record[name] for tag, name in ACCURACIES.items()}
            values |= {f"task {task} ({top_k})": value for task, value in enumerate(record["by_task"], 1)}
            for tag, value in values.items():
                if value is not None:  # as on old classes after the first task
                    self.writer.add_scalar(f"{self.group}/{tag}", value, record["task"])
        self.writer.flush()

    def figure(self, name: str, figure: Figure, task: int) -> None:
        """Write a figure as it is after a task, counted from 1."""
        self.writer.add_figure(name, figure, task, close=False)
        self.writer.flush()

    def close(self) -> None:
        with contextlib.suppress(OSError):  # a full disk has ended the run already
            self.writer.close()


class TensorBoard(Listener):
    """The event files of each repeat; comes after the listener that writes metrics.jsonl."""

    def __init__(self, folder: RunFolder):
        self.folder = folder
        self.events: EventFiles | None = None

    def repeat_began(self, run: RunState) -> None:
        self.close()
        self.events = EventFiles(self.folder.path, run.place.repeat, run.settings.validation)

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
