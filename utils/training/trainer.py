"""The training loop: repeats, tasks, stages, epochs, steps; evaluation and checkpoints.

Who shows and records a run listens (utils/training/listeners.py); what a resumed run loads is its state (utils/training/run_state.py).
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from dataloaders.datasets import DATASETS, Data, checksum
from dataloaders.tasks import Task, check_batches, tasks_of_repeat
from learners import LEARNERS, Stage, build_learner
from utils.settings import Settings
from utils.training.checkpoint import RunFolder
from utils.training.device import captures
from utils.training.failures import check_accuracies, in_one_line, mean_losses
from utils.training.first_task import first_tasks
from utils.training.listeners import Epoch, Listener
from utils.training.measures import measure
from utils.training.metrics import Results
from utils.training.run_state import RunState
from utils.training.step import TrainingStep
from utils.training.stop import Stopped, StopRequest


class Trainer:
    """Trains, measures, checkpoints and resumes any learner.

    Args:
        data: the whole data set.
        folder: where results go and from where a stopped run is resumed.

    Attributes:
        listeners: told of every moment, in this order.

    Raises UserError where data and settings do not fit, before any work.
    """

    def __init__(self, settings: Settings, data: Data, folder: RunFolder, device: torch.device):
        self.settings = settings
        self.data = data
        self.folder = folder
        self.device = device
        self.listeners: list[Listener] = []
        self.stop_request = StopRequest()
        self.learner_class = LEARNERS[settings.learner_name]
        check_batches(settings, data, self.learner_class.check_data)
        self.first_tasks = first_tasks(settings, folder.place)
        identity = checksum(settings, data)
        if folder.state:
            RunState.check(folder.state, settings, identity, device)
        self.state = RunState(settings, identity, device, folder.begin_log())

    def run(self) -> Results:
        """All repeats, from wherever the folder's checkpoint stands.

        Raises RunError where a disk is full, the folder vanishes or numbers go bad; Stopped after SIGTERM or SIGINT.
        """
        with self.stop_request:
            for _ in self.steps():
                pass
        return self.state.results

    def steps(self) -> Iterator[None]:
        """The same, a training step at a time, so that other runs of this process can take theirs in between; raises as ``run``."""
        try:
            with in_one_line(self.folder, self.device, self.raise_if_stopped):
                self.state.load_state_dict(self.folder.state or RunState.before(0, self.device))
                for line in self.folder.notices:
                    self.state.log.line(line)
                yield from self.train_repeats()
                self.tell(Listener.run_ended)
        finally:
            for listener in self.listeners:
                listener.close()
            self.state.log.close()

    def train_repeats(self) -> Iterator[None]:
        """The repeats and tasks that are not done."""
        state = self.state
        while state.place.repeat < self.settings.repeat:
            self.start_repeat()
            if not self.folder.place:  # no work without a checkpoint to resume from
                self.save()
            for task in state.tasks[state.place.task :]:
                yield from self.train_task(task)
                self.evaluate(task)
                state.end_task()
                self.save()
            state.end_repeat()
            self.save()

    def start_repeat(self) -> None:
        repeat = self.state.place.repeat
        tasks = tasks_of_repeat(self.settings, self.data, repeat, self.learner_class.normalised, self.device, self.raise_if_stopped)
        self.state.start_repeat(tasks, build_learner(self.settings, self.state.streams, self.device, repeat))
        self.tell(Listener.repeat_began)

    def train_task(self, task: Task) -> Iterator[None]:
        """The stages of a task that are not done."""
        state, place, learner = self.state, self.state.place, self.state.learner
        if (place.stage, place.epoch) == (0, 0):
            state.start_task(task.index)
            if self.settings.oracle_flag and task.index > 0:
                learner.load_state_dict(build_learner(self.settings, state.streams, self.device, place.repeat, task.index).state_dict())
            learner.begin_task(task)
        learner.start_task(task)
        if task.index == 0 and place.repeat in self.first_tasks:  # --load_model_dir
            self.first_tasks[place.repeat].take_over(state)
        else:
            for stage in learner.stages(task)[place.stage :]:
                yield from self.train_stage(stage)
        learner.end_task(task)

    def train_stage(self, stage: Stage) -> Iterator[None]:
        """The epochs of a stage that are not done."""
        state = self.state
        state.start_stage(stage)
        step = TrainingStep(
            stage, state.streams, bf16=state.learner.bf16, graph=captures(self.settings, self.device),
            fall_back=None if self.settings.graph == "on" else state.log.line)
        for epoch in range(state.place.epoch, stage.epochs):
            yield from self.train_epoch(step, epoch)
            state.place.epoch = epoch + 1
            if state.place.epoch == stage.epochs or self.folder.due:
                self.save()
        del step  # and with it the memory of its graph
        self.tell(Listener.stage_ended, stage)
        state.end_stage()

    def train_epoch(self, step: TrainingStep, epoch: int) -> Iterator[None]:
        """One pass over a stage's batches. The host waits for the device once, at the end."""
        state, stage, began = self.state, step.stage, time.monotonic()
        state.learner.eval()
        stage.trained.train()
        lr = stage.start_epoch(epoch)
        self.tell(Listener.epoch_began, stage, epoch)
        losses: list[torch.Tensor] = []
        for start in stage.batches.starts(epoch):
            self.raise_if_stopped()
            losses.append(step(start))
            self.tell(Listener.step_taken)
            yield
        means = mean_losses(losses, step.names, state.learner, state.heading(stage, epoch))
        seconds = time.monotonic() - began
        state.seconds += seconds
        self.tell(Listener.epoch_ended, Epoch(stage, epoch, lr, means, seconds))

    def evaluate(self, task: Task) -> None:
        """Measure what is known after a task of all tasks so far. Raises NotFinite."""
        state = self.state
        measures = measure(state.learner, state.tasks[: task.index + 1], DATASETS[self.settings.dataset].top_k, self.raise_if_stopped)
        check_accuracies(measures.by_task, state.where())
        state.results.add(state.place.repeat, measures, state.learner.stored_values(), round(state.seconds, 3))
        self.tell(Listener.task_ended, measures)

    def raise_if_stopped(self) -> None:
        """Between two steps, where nothing is half done. Raises Stopped."""
        if received := self.stop_request.signal:
            raise Stopped(received, f"stopped by {received.name}; {self.folder.resume_hint()}, later steps are repeated")

    def save(self) -> None:
        """The checkpoint."""
        self.folder.save(self.state.state_dict())

    def tell(self, moment: Callable[..., None], *what: Any) -> None:
        for listener in self.listeners:
            getattr(listener, moment.__name__)(self.state, *what)
