"""The folder of a run (--log_dir): its lock, its checkpoint, and the files that it leaves for others to
read."""

import dataclasses
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dataloaders.image_files import worker_failure
from dataloaders.orders import order_name
from dataloaders.tasks import task_ranges
from learners import Stage
from utils.device import default_threads, device_failure
from utils.errors import RunError, UserError
from utils.files import lock_folder, read_tensors, read_yaml, write_tensors, write_yaml
from utils.settings import Settings, computed_from
from utils.training.listeners import Listener
from utils.training.log import Log
from utils.training.measures import Measures
from utils.training.provenance import PROVENANCE
from utils.training.results import by_output
from utils.training.state import Place, RunState
from utils.training.step import NotFinite

CHECKPOINT, PREVIOUS = "checkpoint.pt", "checkpoint-previous.pt"
SAVING_SHARE = 0.1  # checkpoints may take at most this share of the run time

# What --overwrite 1 deletes, and nothing else. The checkpoints go first, so that nothing is left to resume
# from if the deletion is cut short. args.yaml, which marks the folder as a run's, is replaced last.
LEFT_BEHIND = (PREVIOUS, CHECKPOINT, "output.log", "metrics.jsonl", PROVENANCE, "results-acc", "results-mem",
               "results-time", "models", "figures", "tensorboard")


def shown(value: Any) -> str:
    """A setting's value as it fits into a line; a long list, such as a class order, is abbreviated."""
    return order_name(value) if isinstance(value, list) and len(value) > 9 else str(value)


def is_run(folder: Path) -> bool:
    """Whether a folder's args.yaml has the settings of a run of this code, which that of 2021 has not."""
    try:
        return "no_figures" in read_yaml(folder / "args.yaml")
    except UserError:
        return False


class RunFolder:
    """The folder of a run, held by this process until it ends.

    Raises UserError, before any work, if the folder cannot be written, is in use, or holds a run with other
    settings or something that is not a run.

    Attributes:
        settings: those given, with the number of CPU threads chosen if it was left open.
        notices: lines for the log about the folder.
        state: the checkpoint; None if there is none, or --overwrite 1 starts over.
        place: how far the latest checkpoint is.
    """

    def __init__(self, settings: Settings):
        self.flag = f"--log_dir {settings.log_dir}"
        self.path = Path(settings.log_dir)
        left = [name for name in (*LEFT_BEHIND, "args.yaml") if (self.path / name).exists()]
        if left and not is_run(self.path):
            raise UserError(
                f"{self.flag}: has {', '.join(left)}, but does not hold a run; choose another folder")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.lock, note = lock_folder(self.path)
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f"{self.flag}: cannot be written ({reason}); choose another folder") from error
        self.notices = [note] if note else []
        self.damaged = False  # whether the latest checkpoint is
        self.saved_at = self.saving = 0.0  # when the latest checkpoint was written, and how long that took
        self.settings = settings
        self.state = None if settings.overwrite else self._load()
        if not self.state and not settings.overwrite and set(left) & {"results-acc", "models"}:
            raise UserError(
                f"{self.flag}: has results but no checkpoint to resume from; choose another folder, or "
                "delete them with --overwrite 1")
        self.place = Place(**self.state["place"]) if self.state else None
        recorded = self.state["settings"]["threads"] if self.state else 0
        threads = settings.threads or recorded or default_threads()
        self.settings = dataclasses.replace(settings, threads=threads)

    def begin(self) -> Log:
        """Delete what --overwrite 1 replaces, record the settings and open the log: only once nothing can be
        refused any more. Raises UserError if a file cannot be written or deleted."""
        try:
            for name in LEFT_BEHIND if self.settings.overwrite else ():
                if (self.path / name).is_dir():
                    shutil.rmtree(self.path / name)
                else:
                    (self.path / name).unlink(missing_ok=True)
            # As a --config, args.yaml must not delete anything.
            write_yaml(self.path / "args.yaml", {**dataclasses.asdict(self.settings), "overwrite": 0})
            return Log(self.path)
        except OSError as error:
            what = f"{error.filename} cannot be written or deleted"
            raise UserError(f"{self.flag}: {what} ({error.strerror})") from error

    # The checkpoint

    def _load(self) -> dict[str, Any] | None:
        """The latest checkpoint that is whole. Raises UserError if both are damaged, or the run has other
        settings."""
        damage = []
        for path in (self.path / CHECKPOINT, self.path / PREVIOUS):
            if not path.exists():
                continue
            try:
                state = read_tensors(path)
                self._compare(state["settings"])
            except (UserError, MemoryError):
                raise
            except Exception as error:
                damage.append(f"{path.name} cannot be read ({type(error).__name__})")
                continue
            if damage:
                self.damaged = True
                self.notices.append(f"{damage[0]}: resuming from the checkpoint before it")
            return state
        if damage:
            raise UserError(f"{self.flag}: {', '.join(damage)}; --overwrite 1 starts over")
        return None

    def _compare(self, saved: dict[str, Any]) -> None:
        """Raises UserError if the saved run has other settings than this one."""
        for name, value in computed_from(self.settings).items():
            if name == "threads" and not value:  # not given: as many as the saved run had
                continue
            if saved.get(name) != value:  # a learner may have gained a setting since
                raise UserError(
                    f"{self.flag}: holds a run with other settings ({name} {shown(saved.get(name))} there, "
                    f"{shown(value)} here); choose another folder, or delete that run with --overwrite 1")

    def save(self, state: dict[str, Any]) -> None:
        """Write the checkpoint. The one before it is kept, unless that one is damaged."""
        began = time.monotonic()
        keeping = None if self.damaged else self.path / PREVIOUS
        write_tensors(self.path / CHECKPOINT, {"settings": computed_from(self.settings), **state}, keeping)
        self.damaged, self.place = False, Place(**state["place"])
        self.saved_at = time.monotonic()
        self.saving = self.saved_at - began

    @property
    def due(self) -> bool:
        """Whether it is time for another checkpoint."""
        return time.monotonic() - self.saved_at >= self.saving / SAVING_SHARE

    def resume_hint(self) -> str:
        """How to go on with a run that ended early."""
        command = "the same command" + " without --overwrite 1" * bool(self.settings.overwrite)
        if self.place:
            return f"{command} resumes it from {self.path / CHECKPOINT} ({self.place})"
        return f"{command} starts it again"

    @contextmanager
    def resumable(self, raise_if_stopped: Callable[[], None]) -> Iterator[None]:
        """Turn what can end a run into a RunError that says how to resume it; defects keep their traceback.

        Args:
            raise_if_stopped: called before a dead worker counts as a failure, since a signal to the whole
                process group ends the workers first.
        """
        try:
            yield
        except NotFinite as error:
            raise RunError(
                f"{error}; the state before is in {self.path / CHECKPOINT} ({self.place}); a run with a "
                "lower --lr, in another --log_dir, may avoid it") from error
        except OSError as error:
            where, what = error.filename or self.path, error.strerror or error
            raise RunError(f"{where}: {what}; {self.resume_hint()}") from error
        except (UserError, RunError) as error:  # an image that cannot be decoded, a worker that died
            raise RunError(f"{error}; {self.resume_hint()}") from error
        except (RuntimeError, MemoryError) as error:
            worker = worker_failure(error, self.settings.workers)
            if not (failure := device_failure(error) or worker):
                raise
            if worker:
                time.sleep(0.5)
                raise_if_stopped()
            raise RunError(f"{failure}; {self.resume_hint()}") from error

    def task_folder(self, repeat: int, task: int) -> Path:
        """The folder of a finished task's networks; the names count from 1, as published."""
        return self.path / "models" / f"repeat-{repeat + 1}" / f"task-{task + 1}"


class ResultFiles(Listener):
    """Writes the result files, the networks of every task, and which class each output stands for."""

    def __init__(self, folder: RunFolder):
        self.folder = folder

    def stage_ended(self, run: RunState, stage: Stage) -> None:
        if stage.joins:
            folder = self.folder.task_folder(run.place.repeat, run.task.index - 1)
            write_tensors(folder / f"{stage.joins}.pth", stage.trained.state_dict())

    def repeat_began(self, run: RunState) -> None:
        write_yaml(self.folder.path / PROVENANCE, {"data": run.data, "code": run.code})
        models = self.folder.task_folder(run.place.repeat, 0).parent
        write_yaml(models / "classes.yaml", by_output(run.results.classes[run.place.repeat]))

    def task_ended(self, run: RunState, measures: Measures) -> None:
        self.run_ended(run)
        for name, network in run.learner.networks().items():
            folder = self.folder.task_folder(run.place.repeat, run.task.index)
            write_tensors(folder / f"{name}.pth", network.state_dict())

    def run_ended(self, run: RunState) -> None:
        """Write the results; of a finished run too, since somebody may have deleted them."""
        run.results.save(self.folder.path, len(task_ranges(run.settings)))
