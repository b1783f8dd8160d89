"""The state of a run: all that a resumed run loads. A checkpoint holds it, and the settings, by which utils/training/checkpoint.py tells
whether a run may resume from it."""

import dataclasses
from typing import Any

import torch

from dataloaders.tasks import Task
from learners import Learner, Stage
from utils.errors import RunError, UserError
from utils.settings import Settings
from utils.streams import Streams
from utils.training.log import Log
from utils.training.metrics import Results


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

    def __str__(self) -> str:
        return f"repeat {self.repeat + 1}, task {self.task + 1}, stage {self.stage + 1}, {self.epoch} epochs done"


class RunState:
    """What changes in the course of a run.

    Attributes:
        data: checksum of the data set.
        place: where the run is.
        streams: its random numbers.
        results: what has been measured.
        seconds: of training, in the current task.
        log: its files, whose lengths a checkpoint holds.
        tasks, learner: of the current repeat.
        stage: under way; None between stages.
        saved: what ``load_state_dict`` was given, of which the learner and a stage under way load their parts when they are there.
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
        self.seconds = 0.0
        self.stage: Stage | None = None
        self.saved: dict[str, Any] | None = None

    # Saving and loading

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors, numbers, text and containers."""
        optimizers = dict(self.learner.lasting_optimizers())
        if self.stage:
            optimizers["stage"] = self.stage.optimizer
        return {
            "place": dataclasses.asdict(self.place),
            "data": self.data,
            "device": self.device.type,
            "learner": self.learner.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in optimizers.items()},
            "streams": self.streams.state_dict(),
            "results": self.results.state_dict(),
            "seconds": self.seconds,
            "log": self.log.sizes(),
        }

    @staticmethod
    def before(repeat: int, device: torch.device, data: str = "") -> dict[str, Any]:
        """The ``state_dict`` of a run that begins with this repeat, counted from 0; it has no results of those before."""
        none: dict[str, list[list[Any]]] = {name: [[] for _ in range(repeat)] for name in Results().state_dict()}
        return {
            "place": dataclasses.asdict(Place(repeat)), "data": data, "device": device.type, "learner": {}, "optimizers": {}, "streams": {},
            "results": none, "seconds": 0.0, "log": {}}

    @classmethod
    def check(cls, saved: dict[str, Any], settings: Settings, data: str, device: torch.device) -> None:
        """Raises UserError where a run cannot be resumed from what was saved."""
        saved = {"data": "", **saved}  # earlier versions did not save it
        if not saved.keys() >= cls.before(0, device).keys():
            raise UserError(
                f"--log_dir {settings.log_dir}: its checkpoint is of another version of this code; "
                "name another folder, or --overwrite 1 starts from scratch")
        if saved["data"] not in ("", data):
            raise UserError(
                f"--dataroot {settings.dataroot}: {settings.dataset} has changed since the run in --log_dir {settings.log_dir} began "
                "(images, labels, classes, mean or deviation; also by another Pillow, which decodes otherwise); "
                "put back what was there, name another --log_dir, or --overwrite 1 to delete that run")
        place = Place(**saved["place"])
        if place != Place(place.repeat) and saved["device"] != device.type:
            raise UserError(
                f"--gpuid: the run in --log_dir {settings.log_dir} is under way on {saved['device']}, this would resume it on {device.type}, "
                "whose random numbers differ; resume it there, or start another --log_dir")

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """The place, the results and the log now; the rest as soon as there is a learner, and a stage, to load it into."""
        self.saved = saved
        self.place = Place(**saved["place"])
        self.results = Results(saved["results"])
        self.log.truncate(saved["log"])

    def _load_learner(self) -> None:
        """The learner, its lasting optimisers and the random streams."""
        assert self.saved
        try:
            self.learner.load_state_dict(self.saved["learner"])
            for name, optimizer in self.learner.lasting_optimizers().items():
                optimizer.load_state_dict(self.saved["optimizers"][name])
            self.streams.load_state_dict(self.saved["streams"])
        except (KeyError, ValueError, RuntimeError) as error:
            raise RunError(
                f"--log_dir {self.settings.log_dir}: the checkpoint is of another version of {self.settings.learner_name} "
                f"({str(error).splitlines()[0]}); name another folder, or --overwrite 1 starts from scratch") from error
        self.seconds = self.saved["seconds"]

    # Moving on

    @property
    def resumed(self) -> bool:
        """Whether the repeat is under way."""
        return self.place != Place(self.place.repeat)

    def start_repeat(self, tasks: list[Task], learner: Learner) -> None:
        """As new or, in the middle of a repeat, as the checkpoint has it. Raises RunError."""
        self.tasks, self.learner = tasks, learner
        if self.resumed:
            self._load_learner()
        else:
            self.start_task(0)

    def start_task(self, task: int) -> None:
        """Nothing of a task, counted from 0, is done."""
        self.streams.start(self.settings.seed + self.place.repeat, task)
        self.seconds = 0.0

    def start_stage(self, stage: Stage) -> None:
        self.stage = stage
        if self.place.epoch:
            assert self.saved
            stage.optimizer.load_state_dict(self.saved["optimizers"]["stage"])

    def end_stage(self) -> None:
        self.stage = None
        self.place.stage, self.place.epoch = self.place.stage + 1, 0

    def end_task(self) -> None:
        self.place.task, self.place.stage = self.place.task + 1, 0

    def end_repeat(self) -> None:
        self.place = Place(self.place.repeat + 1)

    # What listeners say of it

    @property
    def task(self) -> Task:
        """The one under way."""
        return self.tasks[self.place.task]

    def where(self) -> str:
        """Repeat and task, as the log has them."""
        return f"repeat {self.place.repeat + 1}/{self.settings.repeat}  task {self.place.task + 1}/{len(self.tasks)}"

    def heading(self, stage: Stage, epoch: int) -> str:
        """Repeat, task, stage and epoch, which is counted from 0."""
        return f"{self.where()}  {stage.name}  {stage.unit} {epoch + 1}/{stage.epochs}"
