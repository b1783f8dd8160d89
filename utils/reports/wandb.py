"""``--wandb PROJECT``: settings, losses and accuracies at Weights & Biases, one run there per repeat."""

import hashlib
import importlib
from typing import Any

from utils.errors import UserError
from utils.training.listeners import Listener
from utils.training.log import read_records
from utils.training.state import RunState


def require_wandb() -> Any:
    """The package. Raises UserError if it is missing."""
    try:
        return importlib.import_module("wandb")
    except ImportError as error:
        raise UserError(f"--wandb: {error}; pip install wandb, or leave the flag out") from error


class WandB(Listener):
    """A resumed run goes on where it was; steps are the numbers of the records in metrics.jsonl."""

    def repeat_began(self, run: RunState) -> None:
        path, repeat = run.log.folder.resolve(), run.place.repeat + 1
        self.records, name = len(read_records(path, repeat)), f"{path.name}, repeat {repeat}"
        self.run = require_wandb().init(
            project=run.settings.wandb, name=name, config=vars(run.settings), dir=path, resume="allow",
            id=hashlib.sha256(f"{path} {repeat}".encode()).hexdigest()[:16], reinit=True)

    def epoch_ended(self, run: RunState, lr: float, losses: dict[str, float], seconds: float) -> None:
        self.records += 1
        values = {**losses, "lr": lr}
        self.run.log({f"{run.stage.name}/{name}": v for name, v in values.items()}, step=self.records)

    def task_ended(self, run: RunState) -> None:
        self.records += 1
        values = {**run.results.records[run.place.repeat][-1], "task": run.task.index + 1}
        self.run.log({k: v for k, v in values.items() if v == v and not isinstance(v, list)}, self.records)
