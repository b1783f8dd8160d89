"""``--tensorboard``: losses, accuracies and figures as event files that TensorBoard reads."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from utils.errors import UserError
from utils.training.folder import RunFolder
from utils.training.listeners import Listener
from utils.training.log import read_records
from utils.training.state import RunState

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def require_tensorboard() -> Any:
    """torch's writer of event files. Raises UserError if the package that it needs is missing."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        remedy = "sh install_requirements.sh dev installs it, or leave the flag out"
        raise UserError(f"--tensorboard: {error}; {remedy}") from error
    return SummaryWriter


class TensorBoard(Listener):
    """Event files in ``log_dir/tensorboard/repeat-R``. Losses and learning rates are at the number of their
    record in metrics.jsonl, accuracies and figures at their task."""

    def __init__(self, folder: RunFolder):
        self.folder = folder
        self.writer: Any = None

    def repeat_began(self, run: RunState) -> None:
        self.close()
        path = self.folder.path / "tensorboard" / f"repeat-{run.place.repeat + 1}"
        self.records = len(read_records(self.folder.path, run.place.repeat + 1))
        # TensorBoard drops what a stopped run wrote after its checkpoint, since it is written again.
        self.writer = require_tensorboard()(str(path), purge_step=self.records + 1 if path.exists() else None)

    def epoch_ended(self, run: RunState, lr: float, losses: dict[str, float], seconds: float) -> None:
        self.records += 1
        for name, value in {**losses, "lr": lr}.items():
            self.writer.add_scalar(f"{run.stage.name}/{name}", value, self.records)
        self.writer.flush()

    def task_ended(self, run: RunState) -> None:
        self.records += 1
        group = "validation accuracy" if run.settings.validation else "accuracy"
        record = run.results.records[run.place.repeat][-1]
        values = record | {f"task {task}": value for task, value in enumerate(record["by_task"], 1)}
        del values["seconds"]
        for name, value in values.items():
            if isinstance(value, float) and value == value:  # NaN: on old classes after the first task
                self.writer.add_scalar(f"{group}/{name.replace('_', ' ')}", value, run.task.index + 1)
        self.writer.flush()

    def figure(self, name: str, figure: Figure, task: int) -> None:
        """See RunFigures, ``drawn``."""
        self.writer.add_figure(name, figure, task, close=False)
        self.writer.flush()

    def close(self) -> None:
        if self.writer:
            with contextlib.suppress(OSError):  # a full disk has ended the run already
                self.writer.close()
