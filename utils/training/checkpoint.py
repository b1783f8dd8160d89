"""The folder a run leaves, its checkpoint, and whether a run may resume from it."""

import dataclasses
import os
import shutil
import time
from pathlib import Path
from typing import Any

from dataloaders.orders import order_name
from utils.code_2021 import OURS, is_published
from utils.errors import UserError
from utils.files import read_yaml, write_yaml
from utils.locks import FolderLock, Locked
from utils.settings import Settings, completed, computed_from
from utils.tensors import read_tensors, write_tensors
from utils.threads import default_threads
from utils.training.log import Log
from utils.training.recorded import learned_otherwise
from utils.training.run_state import Place

CHECKPOINT, PREVIOUS, LOCK = "checkpoint.pt", "checkpoint-previous.pt", "run.lock"
PARALLEL = "parallel"  # the folders of repeats that run side by side

# Of the time, that checkpoints take at most: one is due once ten times as long has passed as writing the latest took.
SAVING_SHARE = 0.1

# What --overwrite 1 deletes, and nothing else. In this order: the checkpoints go first, so that a deletion that is cut
# short leaves nothing to resume from. args.yaml, by which a run's folder is known, is replaced last.
LEFT_BEHIND = (
    PREVIOUS, CHECKPOINT, "output.log", "metrics.jsonl", "results-acc", "results-mem", "results-time", "models", "figures", "tensorboard", PARALLEL)


def shown(value: Any) -> str:
    """A setting's value within a line: of a long list, such as a class order, how it begins and a digest."""
    return order_name(value) if isinstance(value, list) and len(value) > 9 else str(value)


def is_runs(folder: Path) -> bool:
    """Whether a folder is a run's, of this project or the published code: its args.yaml says so or, without that, a whole checkpoint."""
    try:
        names = read_yaml(folder / "args.yaml")
    except UserError:
        names = {}
    if OURS in names or is_published(names):
        return True
    for path in (folder / CHECKPOINT, folder / PREVIOUS):
        try:
            if "place" in read_tensors(path):
                return True
        except Exception:  # whatever another program has in a file of that name
            continue
    return False


class RunFolder:
    """``--log_dir``, from here on this process's alone. Raises UserError, before any work, where it can't be written,
    is in use, holds a run of other settings or what is no run at all.

    Attributes:
        settings: those given, with the number of threads where that is to be chosen.
        notices: what a user should know of where this runs; a line each.
        state: what the checkpoint holds; None where there is none, or ``--overwrite 1`` starts from scratch.
        damage: what was found wrong with the checkpoint, where the one before it is used.
        place: of the latest checkpoint.
    """

    def __init__(self, settings: Settings):
        self.settings = settings
        self.flag = f"--log_dir {settings.log_dir}"
        self.folder = Path(settings.log_dir)
        try:
            left = [name for name in (*LEFT_BEHIND, "args.yaml") if (self.folder / name).exists()]
            if left and not is_runs(self.folder):
                raise UserError(
                    f"{self.flag}: has {', '.join(left)}, but neither the args.yaml nor a checkpoint of a run, so it is no run's folder; "
                    "name another one")
            self.folder.mkdir(parents=True, exist_ok=True)
            self.lock = FolderLock(self.folder / LOCK)
            self.identity = os.stat(self.folder)
        except Locked as owner:
            raise UserError(f"{self.flag}: in use by {owner}; wait for it or stop it, or name another folder") from None
        except OSError as error:
            raise UserError(f"{self.flag}: cannot be written ({error.strerror}); name another folder") from error
        self.notices = [
            f"{self.flag}: its file system has no locks ({self.lock.missing}), so start no second run in it: one is refused only while this one's "
            "sign of life is seen there"] if self.lock.missing else []
        self.damage = ""
        self.saved_at = self.saving = 0.0  # when the latest checkpoint was written, how long that took
        self.state = None if settings.overwrite else self._load()
        self.place = Place(**self.state["place"]) if self.state else None
        self.settings = dataclasses.replace(settings, threads=self._threads())
        results = [name for name in LEFT_BEHIND if (self.folder / name).is_dir()]
        if results and not self.state and not settings.overwrite:
            raise UserError(f"{self.flag}: has results but no checkpoint to resume from; name another folder, or --overwrite 1 to delete them")

    @property
    def parallel(self) -> bool:
        """Whether repeats that were begun side by side are to be resumed."""
        return not self.settings.overwrite and (self.folder / PARALLEL).is_dir()

    @property
    def path(self) -> Path:
        """The folder. Raises OSError where it is gone: what is written must not end in another one of its name."""
        if not os.path.samestat(self.identity, os.stat(self.folder)):
            raise FileNotFoundError(0, "the folder was moved or deleted, and this is another one", str(self.folder))
        self.lock.check()
        return self.folder

    def release(self) -> None:
        """Let others have it."""
        self.lock.release()

    def _threads(self) -> int:
        """Those given, else those of the run to resume, whose last digits depend on them, else this process's share of the cores."""
        settings = self.settings
        recorded = self.state["settings"].get("threads") if self.state else 0
        return settings.threads or recorded or default_threads(min(settings.parallel, settings.repeat))

    def begin(self) -> None:
        """Delete what ``--overwrite 1`` replaces and record the settings: once nothing can be refused any more."""
        for name in LEFT_BEHIND if self.settings.overwrite else ():
            left = self.path / name
            if left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink(missing_ok=True)
        write_yaml(self.path / "args.yaml", {**dataclasses.asdict(self.settings), "overwrite": 0})  # given back, it must delete nothing

    def begin_log(self) -> Log:
        """Begin, and open the log. Raises UserError where a file cannot be written or deleted."""
        try:
            self.begin()
            return Log(self.path)
        except OSError as error:
            raise UserError(f"{self.flag}: {error.filename} cannot be written or deleted ({error.strerror})") from error

    def _load(self) -> dict[str, Any] | None:
        """The latest of the two checkpoints that is whole."""
        mine = computed_from(self.settings)
        if not self.settings.threads:  # to be chosen: as it was then
            del mine["threads"]
        damage = []
        for path in (self.folder / CHECKPOINT, self.folder / PREVIOUS):
            if not path.exists():
                continue
            try:
                state = read_tensors(path)
                saved = completed(state["settings"], type(self.settings))
                Place(**state["place"])
            except Exception as error:
                damage.append(f"{path.name} cannot be read ({type(error).__name__})")
                continue
            for name in mine:
                if saved.get(name) != mine[name]:
                    raise UserError(
                        f"{self.flag}: holds a run of other settings ({name} {shown(saved.get(name))} there, {shown(mine[name])} here); "
                        "name another folder, or --overwrite 1 to delete that run")
            if reason := learned_otherwise(state["settings"]):
                raise UserError(f"{self.flag}: holds a run that {reason}; name another folder, or --overwrite 1 to delete that run")
            self.damage = ", ".join(damage)
            if damage:
                self.notices.append(f"{self.damage}: resuming from the checkpoint before it")
            return state
        if damage:
            # --overwrite 1 would delete the repeats beside it, too.
            beside = self.folder.parent.name == PARALLEL and (self.folder.parent.parent / "args.yaml").exists()
            remedy = f"delete {self.folder}, and that repeat is done again" if beside else "--overwrite 1 starts from scratch"
            raise UserError(f"{self.flag}: {', '.join(damage)}; {remedy}")
        return None

    def save(self, state: dict[str, Any]) -> None:
        """Write the checkpoint: plain tensors, numbers, text and containers only, so that it loads without code.
        The one before it is kept, unless it is the damaged one."""
        began = time.monotonic()
        keeping = None if self.damage else self.path / PREVIOUS
        write_tensors(self.path / CHECKPOINT, {"settings": computed_from(self.settings), **state}, keeping)
        self.damage, self.place = "", Place(**state["place"])
        self.saved_at = time.monotonic()
        self.saving = self.saved_at - began

    @property
    def due(self) -> bool:
        """Whether it is time for another checkpoint."""
        return time.monotonic() - self.saved_at >= self.saving / SAVING_SHARE

    def resume_hint(self) -> str:
        """For the user of a run that ended early."""
        if self.place:
            return f"{self.resume_command} resumes it from {self.folder / CHECKPOINT} ({self.place})"
        return f"{self.resume_command} starts it again"

    @property
    def resume_command(self) -> str:
        """What to type to resume the run."""
        return "the same command without --overwrite 1" if self.settings.overwrite else "the same command"

    def model_path(self, repeat: int, task: int) -> Path:
        """Folder of a finished task's networks; repeats and tasks are counted from 1, as published."""
        return self.path / "models" / f"repeat-{repeat + 1}" / f"task-{task + 1}"
