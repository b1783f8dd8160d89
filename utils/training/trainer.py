"""The training loop: repeats, tasks, stages, epochs, steps, with measures and checkpoints along the way."""

import time
from collections.abc import Callable
from typing import Any

import torch

from dataloaders.datasets import DATASETS, Data, checksum
from dataloaders.tasks import Task, images_per_class, learned_classes, tasks_of_repeat
from learners import LEARNERS, Stage, build_learner
from utils.errors import Stopped, StopRequest
from utils.settings import Settings
from utils.training.first_task import first_task
from utils.training.folder import RunFolder
from utils.training.listeners import Listener
from utils.training.measures import measure
from utils.training.provenance import provenance
from utils.training.results import Results
from utils.training.state import RunState
from utils.training.step import TrainingStep, mean_losses


class Trainer:
    """Trains, measures, checkpoints and resumes any learner on a data set, in the folder of a run. Raises
    UserError, before any work, if data and settings do not fit."""

    def __init__(self, settings: Settings, data: Data, folder: RunFolder, device: torch.device):
        self.settings, self.data, self.folder, self.device = settings, data, folder, device
        self.listeners: list[Listener] = []  # told of each moment in this order
        self.stop_request = StopRequest()
        self.learner_class = LEARNERS[settings.learner_name]
        for repeat in range(settings.repeat):
            self.learner_class.check_data(settings, images_per_class(settings, data, repeat))
        identity = checksum(settings, data)
        self.classes = [learned_classes(settings, data, repeat) for repeat in range(settings.repeat)]
        self.state = RunState(settings, identity, device, folder.state)
        place = self.state.place
        to_take = range(place.repeat + (place.task > 0), settings.repeat) if settings.load_model_dir else ()
        self.first_tasks = {
            repeat: first_task(settings, repeat, identity, self.classes[repeat]) for repeat in to_take}
        self.state.log = folder.begin()

    def run(self) -> Results:
        """Run all repeats, from where the checkpoint stands. Raises RunError or, after a signal, Stopped."""
        try:
            with self.stop_request, self.folder.resumable(self.raise_if_stopped):
                self.state.begin(provenance(self.learner_class, self.device))
                for repeat in range(self.state.place.repeat, self.settings.repeat):
                    self.train_repeat(repeat)
                self.tell(Listener.run_ended)
        finally:
            for listener in self.listeners:
                listener.close()
            self.state.log.close()
        return self.state.results

    def train_repeat(self, repeat: int) -> None:
        state, top_k = self.state, DATASETS[self.settings.dataset].top_k
        tasks = tasks_of_repeat(self.settings, self.data, repeat, self.learner_class.normalised, self.device)
        learner = build_learner(self.settings, state.streams, self.device, repeat)
        state.start_repeat(tasks, learner, self.classes[repeat])
        if not state.resumed:  # nothing is written or learned without a checkpoint to resume from
            self.save()
        self.tell(Listener.repeat_began)
        for task in tasks[state.place.task :]:
            self.train_task(task)
            state.add(measure(learner, tasks[: task.index + 1], top_k, self.raise_if_stopped))
            self.tell(Listener.task_ended)
            state.end_task()
            self.save()

    def train_task(self, task: Task) -> None:
        state, repeat = self.state, self.state.place.repeat
        state.start_task(task)
        if task.index == 0 and repeat in self.first_tasks:  # --load_model_dir
            self.first_tasks[repeat].take_over(state)
        else:
            for stage in state.stages[state.place.stage :]:
                self.train_stage(stage)
        state.learner.end_task(task)

    def train_stage(self, stage: Stage) -> None:
        state, place, graph = self.state, self.state.place, self.settings.graph != "off"
        fall_back = None if self.settings.graph == "on" else state.log.line
        step = TrainingStep(stage, state.streams, state.learner.bf16, graph, fall_back)
        while place.epoch < stage.epochs:
            self.train_epoch(step, place.epoch)
            place.epoch += 1
            if place.epoch == stage.epochs or time.monotonic() >= self.folder.due_at:
                self.save()
        del step  # frees the memory of its graph
        self.tell(Listener.stage_ended)
        place.stage, place.epoch = place.stage + 1, 0

    def train_epoch(self, step: TrainingStep, epoch: int) -> None:
        """One pass over a stage's batches. The host waits for the device once, at the end."""
        state, stage, began = self.state, step.stage, time.monotonic()
        state.learner.eval()
        stage.trained.train()
        lr = stage.start_epoch(epoch)
        self.tell(Listener.epoch_began)
        losses: list[torch.Tensor] = []
        for start in stage.batches.starts(epoch):
            self.raise_if_stopped()
            losses.append(step(start))
            self.tell(Listener.step_taken)
        means = mean_losses(losses, step.names, state.learner, state.heading())
        state.seconds += (seconds := time.monotonic() - began)
        self.tell(Listener.epoch_ended, lr, means, seconds)

    def raise_if_stopped(self) -> None:  # called between two steps, where nothing is half done
        if received := self.stop_request.signal:
            raise Stopped(received, f"stopped by {received.name}; {self.folder.resume_hint()}")

    def save(self) -> None:
        self.folder.save(self.state.state_dict())

    def tell(self, moment: Callable[..., None], *what: Any) -> None:
        for listener in self.listeners:
            getattr(listener, moment.__name__)(self.state, *what)
