"""The folder of a run (--log_dir): its lock, its checkpoints, and the files that it leaves."""

import dataclasses
import pickle
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from dataloaders.image_files import worker_failure
from dataloaders.orders import order_name
from dataloaders.tasks import task_ranges
from utils.device import default_threads, device_failure
from utils.errors import RunError, UserError
from utils.files import lock_folder, read_tensors, read_yaml, write_tensors, write_yaml
from utils.settings import Settings, computed_from
from utils.training.listeners import Listener
from utils.training.log import Log
from utils.training.provenance import PROVENANCE
from utils.training.results import by_output
from utils.training.state import Place, RunState

CHECKPOINT, PREVIOUS = "checkpoint.pt", "checkpoint-previous.pt"
SAVING_SHARE = 0.1  # checkpoints may take at most this share of the run time

# What --overwrite 1 deletes, and nothing else. The checkpoints go first, so that nothing is left to resume
# from if the deletion is cut short. args.yaml, which marks the folder as a run's, is replaced last.
LEFT_BEHIND = (PREVIOUS, CHECKPOINT, "output.log", "metrics.jsonl", PROVENANCE, "results-acc", "results-mem",
               "results-time", "models", "figures", "tensorboard")


def shown(value: Any) -> str:
    """A setting's value as it fits into a line: a class order has a name."""
    return order_name(value) if isinstance(value, list) and len(value) > 9 else str(value)


def is_run(folder: Path) -> bool:
    """Whether a folder's args.yaml has the settings of a run of this code, which that of 2021 has not."""
    try:
        return "no_figures" in read_yaml(folder / "args.yaml")
    except UserError:
        return False


class RunFolder:
    """The folder of a run. Raises UserError if it holds a run with other settings or something that is not a
    run or, once the run begins, if it is in use or cannot be written."""

    def __init__(self, settings: Settings):
        self.flag, self.path = f"--log_dir {settings.log_dir}", Path(settings.log_dir)
        self.notices: list[str] = []  # for the log
        self.due_at = 0.0  # when it is time for another checkpoint
        left = [name for name in (*LEFT_BEHIND, "args.yaml") if (self.path / name).exists()]
        if left and not is_run(self.path):
            raise UserError(
                f"{self.flag}: has {', '.join(left)}, but does not hold a run; choose another folder")
        self.lock: TextIO | None = None
        if self.path.is_dir():
            self.hold()
        self.damaged: list[str] = []  # lines about checkpoints that cannot be read
        self.state = {} if settings.overwrite else self._load()
        self.place = Place(**self.state["place"]) if self.state else None  # of the latest checkpoint
        saved = {**vars(type(settings)()), **self.state["settings"]} if self.state else {}
        threads = settings.threads or saved.get("threads") or default_threads()
        self.settings = dataclasses.replace(settings, threads=threads)
        for name, value in computed_from(self.settings).items() if saved else ():
            if saved.get(name) != value:
                raise UserError(
                    f"{self.flag}: holds a run with other settings ({name} {shown(saved.get(name))} there, "
                    f"{shown(value)} here); choose another folder, or delete that run with --overwrite 1")
        if not self.state and not settings.overwrite and {"results-acc", "models"}.intersection(left):
            raise UserError(
                f"{self.flag}: has results but no checkpoint to resume from; choose another folder, or "
                "delete them with --overwrite 1")

    def _load(self) -> dict[str, Any]:
        """The latest checkpoint that is whole, or {}. Raises UserError if both are damaged."""
        for path in filter(Path.exists, (self.path / CHECKPOINT, self.path / PREVIOUS)):
            try:
                state: dict[str, Any] = read_tensors(path)
            except (OSError, ValueError, pickle.UnpicklingError) as error:
                self.damaged.append(f"{path.name} cannot be read ({type(error).__name__})")
                continue
            self.notices += [f"{line}: resuming from the checkpoint before it" for line in self.damaged]
            return state
        if self.damaged:
            raise UserError(f"{self.flag}: {', '.join(self.damaged)}; --overwrite 1 starts over")
        return {}

    def hold(self) -> None:
        """Make the folder and lock it until the process ends."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.lock, note = lock_folder(self.path)
        except OSError as error:
            raise UserError(
                f"{self.flag}: cannot be written ({error.strerror}); choose another folder") from error
        self.notices += [note] if note else []

    def begin(self) -> Log:
        """Delete what --overwrite 1 replaces, record the settings and open the log. Call it once nothing else
        can be refused, since a refused run leaves no folder."""
        if not self.lock:
            self.hold()
        try:
            for name in LEFT_BEHIND if self.settings.overwrite else ():
                if (self.path / name).is_dir():
                    shutil.rmtree(self.path / name)
                else:
                    (self.path / name).unlink(missing_ok=True)
            # As a --config, args.yaml must not delete anything.
            write_yaml(self.path / "args.yaml", {**dataclasses.asdict(self.settings), "overwrite": 0})
            return Log(self.path, self.state.get("log", {}))
        except OSError as error:
            what = f"{error.filename or self.path} cannot be written or deleted ({error.strerror})"
            raise UserError(f"{self.flag}: {what}; choose another folder") from error

    def save(self, state: dict[str, Any]) -> None:
        """Write the checkpoint. The one before it is kept, unless that one is damaged."""
        began = time.monotonic()
        keeping = None if self.damaged else self.path / PREVIOUS
        write_tensors(self.path / CHECKPOINT, {"settings": computed_from(self.settings), **state}, keeping)
        self.damaged, self.place = [], Place(**state["place"])
        now = time.monotonic()
        self.due_at = now + (now - began) / SAVING_SHARE

    def resume_hint(self) -> str:
        """How to go on with a run that ended early."""
        command = "the same command" + " without --overwrite 1" * bool(self.settings.overwrite)
        path = self.path / CHECKPOINT
        return f"{command} {f'resumes it from {path} ({self.place})' if self.place else 'starts it again'}"

    @contextmanager
    def resumable(self, raise_if_stopped: Callable[[], None]) -> Iterator[None]:
        """Turn what can end a run, but no defect, into a RunError that says how to resume it."""
        try:
            yield
        except (UserError, RunError, OSError, RuntimeError, MemoryError) as error:
            line = device_failure(error)
            if isinstance(error, UserError | RunError):  # a damaged image, a loss that is not finite
                line = str(error)
            elif isinstance(error, OSError):
                line = f"{error.filename or self.path}: {error.strerror or error}"
            elif not line and (line := worker_failure(error, self.settings.workers)):
                time.sleep(0.5)  # a signal to the whole process group ends the workers first
                raise_if_stopped()
            if not line:
                raise
            raise RunError(f"{line}; {self.resume_hint()}") from error


class ResultFiles(Listener):
    """Writes the result files, the networks of every task, and which class each output stands for."""

    def repeat_began(self, run: RunState) -> None:
        write_yaml(run.log.folder / PROVENANCE, {"data": run.data, "code": run.code})
        classes = run.results.classes[run.place.repeat]
        write_yaml(self.models(run, 1).parent / "classes.yaml", by_output(classes))

    def stage_ended(self, run: RunState) -> None:
        if name := run.stage.joins:  # the models of the task before
            write_tensors(self.models(run, run.task.index) / f"{name}.pth", run.stage.trained.state_dict())

    def task_ended(self, run: RunState) -> None:
        self.run_ended(run)
        for name, network in run.learner.networks().items():
            write_tensors(self.models(run, run.task.index + 1) / f"{name}.pth", network.state_dict())

    def run_ended(self, run: RunState) -> None:
        """Write the results; of a finished run too, since somebody may have deleted them."""
        run.results.save(run.log.folder, len(task_ranges(run.settings)))

    def models(self, run: RunState, task: int) -> Path:
        """The folder of a finished task's networks; names count from 1, as published."""
        return run.log.folder / "models" / f"repeat-{run.place.repeat + 1}" / f"task-{task}"
