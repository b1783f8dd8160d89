"""The state of a run: everything that a checkpoint holds and a resumed run loads."""

import dataclasses
from typing import Any

import torch

from dataloaders.tasks import Task
from learners import Learner, Stage, build_learner
from utils.errors import RunError, UserError
from utils.settings import Settings
from utils.streams import Streams
from utils.training.log import Log
from utils.training.measures import Measures
from utils.training.provenance import changes
from utils.training.results import Results, notes_of
from utils.training.step import NotFinite


@dataclasses.dataclass
class Place:
    """How far a run has come. Each field counts what is finished: repeats, tasks of the repeat, stages of the
    task, epochs of the stage."""

    repeat: int = 0
    task: int = 0
    stage: int = 0
    epoch: int = 0

    def __str__(self) -> str:
        place = f"repeat {self.repeat + 1}, task {self.task + 1}, stage {self.stage + 1}"
        return f"{place}, {self.epoch} epochs done"


class RunState:
    """Everything that changes during a run.

    Attributes:
        data: checksum of the data set.
        place: how far the run has come.
        streams: its random numbers.
        results: what has been measured.
        code: the code and machine that each part of the run was computed with (utils/training/provenance.py).
        seconds: time spent training the current task.
        log: output.log and metrics.jsonl; a checkpoint holds their lengths.
        tasks, learner: those of the current repeat.
        stage: the stage under way, None between stages.
        saved: the loaded checkpoint; the learner and the stage are restored from it once they exist.
    """

    tasks: list[Task]
    learner: Learner

    def __init__(self, settings: Settings, data: str, device: torch.device, log: Log):
        self.settings = settings
        self.data = data
        self.device = device
        self.log = log
        self.streams = Streams(device)
        self.place = Place()
        self.results = Results()
        self.code: list[dict[str, str]] = []
        self.seconds = 0.0
        self.stage: Stage | None = None
        self.saved: dict[str, Any] = {}

    # Saving and loading

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers, text and containers only, so that loading runs no code."""
        optimizers = dict(self.learner.lasting_optimizers())
        if self.stage:
            optimizers["stage"] = self.stage.optimizer
        return {
            "place": dataclasses.asdict(self.place),
            "data": self.data,
            "device": self.device.type,
            "code": self.code,
            "learner": self.learner.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in optimizers.items()},
            "streams": self.streams.state_dict(),
            "results": self.results.state_dict(),
            "seconds": self.seconds,
            "log": self.log.sizes(),
        }

    def begin(self, saved: dict[str, Any] | None, now: dict[str, str]) -> None:
        """Restore the place, results and log of a checkpoint, if there is one. Say so if other code, whose
        provenance is ``now``, computes the run from here on."""
        self.saved = saved or {}
        self.log.truncate(self.saved.get("log", {}))
        if saved:
            self.place = Place(**saved["place"])
            self.results = Results(saved["results"])
            self.code = list(saved["code"])
        self.results.notes |= notes_of(self.settings)
        changed = changes(self.code[-1], now) if self.code else ""
        if self.place.repeat >= self.settings.repeat:
            self.log.line("all repeats have finished; nothing is left to train")
        elif changed:
            self.log.line(f"resuming with other code or on another machine: {changed}")
            self.results.notes.setdefault("resumed_with", []).append(changed)
        if self.place.repeat < self.settings.repeat and (changed or not self.code):
            self.code.append(now)

    def start_repeat(self, tasks: list[Task], learner: Learner, classes: list[tuple[int, str]]) -> None:
        """Take a fresh learner, or restore it if the checkpoint is in the middle of this repeat. Raises
        RunError.

        Args:
            classes: [output] number and name of the class that each output learns.
        """
        self.tasks, self.learner = tasks, learner
        self.results.classes[self.place.repeat :] = [classes]
        if not self.resumed:
            return self.seed_task(0)
        try:
            learner.load_state_dict(self.saved["learner"])
            for name, optimizer in learner.lasting_optimizers().items():
                optimizer.load_state_dict(self.saved["optimizers"][name])
            self.streams.load_state_dict(self.saved["streams"])
            self.seconds = self.saved["seconds"]
        except (KeyError, ValueError, RuntimeError) as error:
            raise RunError(
                f"--log_dir {self.settings.log_dir}: its checkpoint was written by another version of "
                f"{self.settings.learner_name} ({str(error).splitlines()[0]}); choose another folder, or "
                "start over with --overwrite 1") from error

    # Moving on

    @property
    def resumed(self) -> bool:
        """Whether the current repeat is under way."""
        return self.place != Place(self.place.repeat)

    def seed_task(self, task: int) -> None:
        self.streams.start(self.settings.seed + self.place.repeat, task)
        self.seconds = 0.0

    def start_task(self, task: Task) -> None:
        """Seed the task's streams and let the learner begin it, unless the run resumes within the task."""
        if (self.place.stage, self.place.epoch) == (0, 0):
            self.seed_task(task.index)
            if self.settings.oracle_flag and task.index > 0:  # the upper bound learns every task from scratch
                fresh = build_learner(self.settings, self.streams, self.device, self.place.repeat, task.index)
                self.learner.load_state_dict(fresh.state_dict())
            self.learner.begin_task(task)
        self.learner.start_task(task)

    def start_stage(self, stage: Stage) -> None:
        self.stage = stage
        if self.place.epoch:
            stage.optimizer.load_state_dict(self.saved["optimizers"]["stage"])

    def end_stage(self) -> None:
        self.stage = None
        self.place.stage, self.place.epoch = self.place.stage + 1, 0

    def add(self, measures: Measures) -> None:
        """Note what was measured after the task under way. Raises NotFinite."""
        if not measures.finite:
            raise NotFinite(f"{self.where()}: the model's outputs for some test images are not finite")
        self.results.add(self.place.repeat, measures, self.learner.stored_values(), round(self.seconds, 3))

    def end_task(self) -> None:
        self.place.task, self.place.stage = self.place.task + 1, 0

    def end_repeat(self) -> None:
        self.place = Place(self.place.repeat + 1)

    # What listeners show

    @property
    def task(self) -> Task:
        """The task under way."""
        return self.tasks[self.place.task]

    def where(self) -> str:
        repeat, task = self.place.repeat + 1, self.place.task + 1
        return f"repeat {repeat}/{self.settings.repeat}  task {task}/{len(self.tasks)}"

    def heading(self, stage: Stage, epoch: int) -> str:
        """Repeat, task, stage and epoch; ``epoch`` is counted from 0."""
        return f"{self.where()}  {stage.name}  {stage.unit} {epoch + 1}/{stage.epochs}"


def check_resumable(saved: dict[str, Any], settings: Settings, data: str, device: torch.device) -> None:
    """Raises UserError if the run cannot go on from this checkpoint with this data or on this device."""
    if saved["data"] != data:
        raise UserError(
            f"--dataroot {settings.dataroot}: {settings.dataset} has changed since the run in --log_dir "
            f"{settings.log_dir} began; restore the data, choose another --log_dir, or delete that run with "
            "--overwrite 1")
    place = Place(**saved["place"])
    if place != Place(place.repeat) and saved["device"] != device.type:
        raise UserError(
            f"--gpuid: the run in --log_dir {settings.log_dir} is under way on {saved['device']}, and "
            f"{device.type} draws other random numbers; resume it there, or choose another --log_dir")
