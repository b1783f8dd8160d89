"""The folder a run leaves, its checkpoint, and whether a run may go on from it."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import torch
import yaml

from utils.errors import UserError
from utils.files import replacing, write_yaml
from utils.settings import Settings, computed_from

# Everything a run leaves in its log_dir; --overwrite 1 deletes these and nothing else.
LEFT_BEHIND = (
    "args.yaml", "output.log", "metrics.jsonl", "checkpoint.pt", "results-acc", "results-mem", "results-time", "models", "figures", "tensorboard",
)


@dataclasses.dataclass
class Place:
    """How far a run has come; each counts what is finished.

    Attributes:
        epoch: of the stage. stage: of the task. task: of the repeat.
    """

    repeat: int = 0
    task: int = 0
    stage: int = 0
    epoch: int = 0


class RunFolder:
    """``--log_dir``. Raises UserError, before any work, where it can't be written or holds a run of other settings.

    Attributes:
        state: what the checkpoint holds; None where there is none, or ``--overwrite 1`` starts afresh.
    """

    def __init__(self, settings: Settings):
        self.settings = settings
        self.path = Path(settings.log_dir)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe = self.path / ".writable"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise UserError(f"--log_dir {self.path}: cannot be written ({error.strerror}); name another folder") from error
        self.state = None if settings.overwrite else self._load()

    def begin(self) -> None:
        """Delete what ``--overwrite 1`` replaces and record the settings: once nothing can be refused any more."""
        if self.settings.overwrite:
            for name in LEFT_BEHIND:
                left = self.path / name
                if left.is_dir():
                    shutil.rmtree(left)
                else:
                    left.unlink(missing_ok=True)
        write_yaml(self.path / "args.yaml", dataclasses.asdict(self.settings))

    def _load(self) -> dict[str, Any] | None:
        path = self.path / "checkpoint.pt"
        if not path.is_file():
            return None
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            saved, mine = state["settings"], computed_from(self.settings)
        except Exception as error:
            raise UserError(f"--log_dir {self.path}: {path.name} cannot be read ({type(error).__name__}); --overwrite 1 starts afresh") from error
        for name in mine:
            if saved.get(name) != mine[name]:
                raise UserError(
                    f"--log_dir {self.path}: holds a run of other settings ({name} {saved.get(name)} there, {mine[name]} here); "
                    "name another folder, or --overwrite 1 to delete that run")
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Write the checkpoint: plain tensors, numbers, text and containers only, so that it loads without code."""
        with replacing(self.path / "checkpoint.pt") as partial:
            torch.save({"settings": computed_from(self.settings), **state}, partial)

    def model_path(self, repeat: int, task: int) -> Path:
        """Folder of a finished task's networks; repeats and tasks are counted from 1, as published."""
        return self.path / "models" / f"repeat-{repeat + 1}" / f"task-{task + 1}"


# What two runs must share for the first task's model of one to be that of the other.
FIRST_TASK = ("dataset", "model_name", "rand_split", "first_split_size", "validation")


def first_task_model(settings: Settings, repeat: int) -> dict[str, torch.Tensor]:
    """The state of the first task's model of the run in ``--load_model_dir``. Raises UserError."""
    flag, folder = f"--load_model_dir {settings.load_model_dir}", Path(settings.load_model_dir)
    path = folder / "models" / f"repeat-{repeat + 1}" / "task-1" / "class.pth"
    try:
        theirs = dict(yaml.safe_load((folder / "args.yaml").read_text(encoding="utf-8")))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{flag}: {error.filename} cannot be read ({error.strerror}); that run must have finished the first task of repeat {repeat + 1}") from error
    except Exception as error:
        raise UserError(f"{flag}: {path} or args.yaml is damaged ({type(error).__name__})") from error
    for name in FIRST_TASK:
        if theirs.get(name) != getattr(settings, name):
            raise UserError(f"{flag}: that run has {name} {theirs.get(name)}, this one {getattr(settings, name)}; their first tasks differ")
    return state
