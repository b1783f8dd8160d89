"""The state of a run: everything that a checkpoint holds and a resumed run loads."""

import dataclasses
import math
from typing import Any

import torch

from dataloaders.tasks import Task, task_ranges
from learners import Learner, Stage, build_learner
from utils.errors import RunError, UserError
from utils.settings import Settings
from utils.streams import Streams
from utils.training.log import Log
from utils.training.provenance import changes
from utils.training.results import Results, notes_of
from utils.training.step import not_finite


@dataclasses.dataclass
class Place:
    """How many repeats, tasks of the repeat, stages of the task and epochs of the stage are finished."""

    repeat: int = 0
    task: int = 0
    stage: int = 0
    epoch: int = 0

    def __str__(self) -> str:
        place = f"repeat {self.repeat + 1}, task {self.task + 1}, stage {self.stage + 1}"
        return f"{place}, {self.epoch} epochs done"


class RunState:
    """Everything that changes during a run, restored from ``saved``, its checkpoint or {}. Raises UserError
    if the run cannot go on with this data, whose checksum is ``data``, or on this device."""

    log: Log
    tasks: list[Task]  # of the current repeat
    learner: Learner  # of the current repeat

    def __init__(self, settings: Settings, data: str, device: torch.device, saved: dict[str, Any]):
        self.settings, self.data, self.device, self.saved = settings, data, device, saved
        self.streams = Streams(device)
        self.place = Place(**saved.get("place", {}))
        self.results = Results(saved.get("results"))
        self.results.notes |= notes_of(settings)
        self.code: list[dict[str, str]] = saved.get("code", [])  # provenance of each part of the run
        self.seconds = 0.0  # spent training the current task
        self.stages: list[Stage] = []  # of the task under way
        finished, planned = [len(tasks) for tasks in self.results.records], len(task_ranges(settings))
        if self.place == Place(1) and finished[0] < planned:  # --max_task has grown
            self.place = Place(0, finished[0])
        elif self.place.task >= planned:  # it has become smaller: this repeat is complete
            self.place = Place(self.place.repeat + 1)
        fixed = {planned, *finished[: self.place.repeat]} != {planned}
        if fixed or max(finished, default=0) > planned:
            raise UserError(
                f"--max_task {settings.max_task}: the run in --log_dir {settings.log_dir} has finished "
                f"{max(finished)} tasks; only a run of one repeat learns more; choose another --log_dir")
        if saved and saved["data"] != data:
            raise UserError(
                f"--dataroot {settings.dataroot}: {settings.dataset} has changed since the run in --log_dir "
                f"{settings.log_dir} began; restore the data, choose another --log_dir, or delete that run "
                "with --overwrite 1")
        if self.resumed and saved["device"] != device.type:
            raise UserError(
                f"--gpuid: the run in --log_dir {settings.log_dir} is under way on {saved['device']}, and "
                f"{device.type} draws other random numbers; resume it there, or choose another --log_dir")

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers, text and containers only, so that loading runs no code."""
        optimizers = dict(self.learner.lasting_optimizers())
        if self.place.epoch:
            optimizers["stage"] = self.stage.optimizer
        return {
            "place": dataclasses.asdict(self.place), "data": self.data, "device": self.device.type,
            "code": self.code, "learner": self.learner.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in optimizers.items()},
            "streams": self.streams.state_dict(), "results": vars(self.results), "seconds": self.seconds,
            "log": self.log.sizes()}

    def begin(self, now: dict[str, str]) -> None:
        """Note the provenance of what computes the run from here on, and say so if it has changed."""
        if self.place.repeat >= self.settings.repeat:
            return self.log.line("all repeats have finished; nothing is left to train")
        changed = changes(self.code[-1], now) if self.code else ""
        if changed:
            self.log.line(f"resuming with other code or on another machine: {changed}")
            self.results.notes.setdefault("resumed_with", []).append(changed)
        if changed or not self.code:
            self.code.append(now)

    def start_repeat(self, tasks: list[Task], learner: Learner, classes: list[tuple[int, str]]) -> None:
        """Restore the learner if the checkpoint is in the middle of this repeat. Raises RunError."""
        self.tasks, self.learner = tasks, learner
        self.results.classes[self.place.repeat :] = [classes]
        if not self.resumed:
            return
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

    @property
    def resumed(self) -> bool:
        """Whether the current repeat is under way."""
        return self.place != Place(self.place.repeat)

    def start_task(self, task: Task) -> None:
        """Seed the task's streams and let the learner begin it, unless the run resumes within the task."""
        if (self.place.stage, self.place.epoch) == (0, 0):
            self.streams.start(self.settings.seed + self.place.repeat, task.index)
            self.seconds = 0.0
            if self.settings.oracle_flag and task.index > 0:  # the upper bound learns every task from scratch
                fresh = build_learner(self.settings, self.streams, self.device, self.place.repeat, task.index)
                self.learner.load_state_dict(fresh.state_dict())
            self.learner.begin_task(task)
        self.learner.start_task(task)
        self.stages = self.learner.stages(task)
        if self.place.epoch:
            self.stage.optimizer.load_state_dict(self.saved["optimizers"]["stage"])

    def add(self, measured: dict[str, Any]) -> None:
        """Note what was measured after the task under way. Raises RunError if it is not finite."""
        if not math.isfinite(sum(measured["by_task"])):
            raise not_finite(f"{self.where()}: the model's outputs for some test images are not finite")
        self.results.add(self.place.repeat, measured, self.learner.stored_values(), round(self.seconds, 3))

    def end_task(self) -> None:
        self.stages = []
        repeat, done = self.place.repeat, self.place.task + 1
        self.place = Place(repeat, done) if done < len(self.tasks) else Place(repeat + 1)

    @property
    def task(self) -> Task:
        """The task under way."""
        return self.tasks[self.place.task]

    @property
    def stage(self) -> Stage:
        """The stage under way."""
        return self.stages[self.place.stage]

    def where(self) -> str:
        repeat, task = self.place.repeat + 1, self.place.task + 1
        return f"repeat {repeat}/{self.settings.repeat}  task {task}/{len(self.tasks)}"

    def heading(self) -> str:
        """Repeat, task, stage and the epoch under way."""
        stage, epoch = self.stage, self.place.epoch + 1
        return f"{self.where()}  {stage.name}  {stage.unit} {epoch}/{stage.epochs}"
