"""``--tensorboard`` and ``--wandb PROJECT``: losses, accuracies and figures where others are watched, too."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
from typing import TYPE_CHECKING, Any

from utils.errors import UserError
from utils.training.listeners import Listener
from utils.training.log import read_records
from utils.training.state import RunState

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# {flag: (the module that it needs, how to get it)}
PACKAGES = {
    "tensorboard": ("torch.utils.tensorboard", "sh install_requirements.sh dev installs it"),
    "wandb": ("wandb", "pip install wandb")}


def required(flag: str) -> Any:
    """The module that a flag needs. Raises UserError if its package is missing."""
    module, remedy = PACKAGES[flag]
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"--{flag}: {error}; {remedy}, or leave the flag out") from error


class Board(Listener):
    """A subclass opens its log in ``repeat_began`` and writes numbers to it. ``records`` counts those in
    metrics.jsonl, which include what came before a run was resumed."""

    def repeat_began(self, run: RunState) -> None:
        self.records = len(read_records(run.log.folder, run.place.repeat + 1))

    def epoch_ended(self, run: RunState, lr: float, losses: dict[str, float], seconds: float) -> None:
        self.records += 1
        self.write({f"{run.stage.name}/{name}": value for name, value in {**losses, "lr": lr}.items()}, 0)

    def task_ended(self, run: RunState) -> None:
        self.records += 1
        group = "validation accuracy" if run.settings.validation else "accuracy"
        record = run.results.records[run.place.repeat][-1]
        values = record | {f"task {task}": value for task, value in enumerate(record["by_task"], 1)}
        del values["seconds"]
        self.write({f"{group}/{name.replace('_', ' ')}": value for name, value in values.items()
                    if isinstance(value, float) and value == value}, run.task.index + 1)

    def write(self, values: dict[str, float], task: int) -> None:
        """Add numbers by name: accuracies after a task, counted from 1, or losses if it is 0."""
        raise NotImplementedError


class TensorBoard(Board):
    """Event files in ``log_dir/tensorboard/repeat-R``. Losses and learning rates are at the number of their
    record, accuracies and figures at their task."""

    writer: Any = None

    def repeat_began(self, run: RunState) -> None:
        super().repeat_began(run)
        self.close()
        path = run.log.folder / "tensorboard" / f"repeat-{run.place.repeat + 1}"
        # TensorBoard drops what a stopped run wrote after its checkpoint, since it is written again.
        again = self.records + 1 if path.exists() else None
        self.writer = required("tensorboard").SummaryWriter(str(path), purge_step=again)

    def write(self, values: dict[str, float], task: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, task or self.records)
        self.writer.flush()

    def figure(self, name: str, figure: Figure, task: int) -> None:
        """See RunFigures, ``drawn``."""
        self.writer.add_figure(name, figure, task, close=False)
        self.writer.flush()

    def close(self) -> None:
        if self.writer:
            with contextlib.suppress(OSError):  # a full disk has ended the run already
                self.writer.close()


class WandB(Board):
    """One run at Weights & Biases per repeat; a resumed one goes on there. Steps are numbers of records."""

    def repeat_began(self, run: RunState) -> None:
        super().repeat_began(run)
        path, repeat = run.log.folder.resolve(), run.place.repeat + 1
        self.run = required("wandb").init(
            project=run.settings.wandb, name=f"{path.name}, repeat {repeat}", config=vars(run.settings),
            dir=path, id=hashlib.sha256(f"{path} {repeat}".encode()).hexdigest()[:16], resume="allow",
            reinit=True)

    def write(self, values: dict[str, float], task: int) -> None:
        self.run.log({**values, **({"task": task} if task else {})}, step=self.records)
