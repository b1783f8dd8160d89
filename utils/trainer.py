"""The one training loop: repeats, tasks, stages, epochs, steps; resumable after every epoch."""

import copy
import dataclasses
import time
from typing import Any

import numpy as np
import torch

from dataloaders.datasets import DATASETS, Split
from dataloaders.tasks import Task, class_order, hold_out, split_classes, task_sequence
from learners import LEARNERS, Learner, Stage
from learners.dreaming import DreamingLearner
from models import GENERATORS, RESNETS, Generator, ResNet
from utils.checkpoint import Place, RunFolder, first_task_model
from utils.errors import UserError
from utils.figures import draw_dreams
from utils.files import replacing
from utils.log import Log
from utils.metrics import Results, accuracy, mean_std
from utils.progress import Progress, Work, duration
from utils.settings import Settings
from utils.streams import Streams, seeded_weights


def build_learner(settings: Settings, streams: Streams, repeat: int, device: torch.device) -> Learner:
    """The learner of a repeat with its initial weights, on the device."""
    learner_class = LEARNERS[settings.learner_type, settings.learner_name]
    with seeded_weights(repeat):
        model = ResNet(RESNETS[settings.model_name], DATASETS[settings.dataset].classes)
        networks = [Generator(*GENERATORS[settings.gen_model_name])] if issubclass(learner_class, DreamingLearner) else []
    networks = [network.to(device, memory_format=torch.channels_last) for network in (model, *networks)]
    return learner_class(settings, networks[0], streams, *networks[1:])


class Trainer:
    """Trains, shows, times, checkpoints and resumes the stages of any learner.

    Args:
        train, test: the whole data set.
        folder: where results go and where a stopped run is taken up again.
    """

    def __init__(self, settings: Settings, train: Split, test: Split, folder: RunFolder, device: torch.device):
        self.settings = settings
        self.train, self.test = train, test
        self.folder = folder
        self.device = device
        self.log = Log(folder.path)
        self.streams = Streams(device)
        self.place = Place()
        self.results = Results()
        self.seconds = 0.0  # of training, in the current task
        self.known = DATASETS[settings.dataset]
        self.ranges = split_classes(self.known.classes, settings.first_split_size, settings.other_split_size, settings.max_task)

    def run(self) -> Results:
        """All repeats, from wherever the folder's checkpoint stands."""
        state = self.folder.state
        if state:
            self.place = Place(**state["place"])
            self.results = Results(state["results"])
            self.log.forget_records_after(state["records_end"])
        self.progress: Progress | None = None
        try:
            while self.place.repeat < self.settings.repeat:
                self.start_repeat(state)
                while self.place.task < len(self.tasks):
                    self.run_task(self.tasks[self.place.task], state)
                    state = None
                self.place = Place(self.place.repeat + 1)
                self.save(None)
                state = None
        finally:
            if self.progress:
                self.progress.close()
        final = [rows[-1] for rows in self.results.accuracies()]
        mean, std = mean_std(final)
        self.log.line(f"final accuracy: {mean:.1f} ± {std:.1f} % over {len(final)} repeat{'s' * (len(final) > 1)} ({', '.join(f'{a:.1f}' for a in final)})")
        self.log.close()
        return self.results

    # One repeat

    def start_repeat(self, state: dict[str, Any] | None) -> None:
        """Build the tasks and the learner, as new or as the checkpoint has them."""
        settings, repeat = self.settings, self.place.repeat
        train, test = hold_out(self.train, repeat) if settings.validation else (self.train, self.test)
        classes = self.known.classes
        order = class_order(settings.dataset, classes, repeat) if settings.rand_split else list(range(classes))
        learner_class = LEARNERS[settings.learner_type, settings.learner_name]
        self.tasks = task_sequence(
            settings.dataset, train, test, self.ranges, order,
            normalised=learner_class.normalised, cumulative=settings.oracle_flag, device=self.device)
        self.learner = build_learner(settings, self.streams, repeat, self.device)
        for task in self.tasks:
            if len(task.train) < settings.batch_size:
                raise UserError(f"--batch_size {settings.batch_size}: task {task.index + 1} has {len(task.train)} training images, less than a batch")
        if state:
            self.learner.load_state_dict(state["learner"])
            for name, optimizer in self.learner.persistent_optimizers().items():
                optimizer.load_state_dict(state["optimizers"][name])
            self.log.line(f"going on: repeat {repeat + 1}, task {self.place.task + 1}, stage {self.place.stage + 1}, epoch {self.place.epoch + 1}")
        else:
            self.log.line(f"repeat {repeat + 1}/{settings.repeat}: {settings.learner_name}, {len(self.tasks)} tasks, on {self.device}")
        if self.progress is None:
            self.progress = self.plan()

    def plan(self) -> Progress:
        """All steps of the run, less those done, for the remaining time."""
        work, done = [], []
        for repeat in range(self.place.repeat, self.settings.repeat):
            for task in self.tasks:
                if task.index == 0 and self.settings.load_model_dir:
                    continue
                for number, stage in enumerate(self.learner.stages(task)):
                    steps = [stage.batches.steps(epoch) for epoch in range(stage.epochs)]
                    work.append(Work(self.kind(stage, task), sum(steps), stage.cost))
                    if (repeat, task.index, number) < (self.place.repeat, self.place.task, self.place.stage):
                        done.append((work[-1].kind, sum(steps)))
                    elif (repeat, task.index, number) == (self.place.repeat, self.place.task, self.place.stage):
                        done.append((work[-1].kind, sum(steps[: self.place.epoch])))
        progress = Progress(work)
        for kind, steps in done:
            progress.skip(kind, steps)
        return progress

    @staticmethod
    def kind(stage: Stage, task: Task) -> tuple[str, bool]:
        """Stages whose steps take equally long."""
        return stage.name, task.index == 0

    # One task

    def run_task(self, task: Task, state: dict[str, Any] | None) -> None:
        """Train the stages of a task, measure what is known after it, and keep its networks."""
        learner = self.learner
        if state:
            self.streams.load_state_dict(state["streams"])
            self.seconds = state["seconds"]
        if not state or (self.place.stage, self.place.epoch) == (0, 0):
            self.streams.start(self.place.repeat, task.index)
            self.seconds = 0.0
            if self.settings.oracle_flag and task.index > 0:
                with seeded_weights(self.place.repeat, task.index):
                    fresh = build_learner(self.settings, self.streams, self.place.repeat, self.device)
                learner.load_state_dict(fresh.state_dict())
        learner.start_task(task)
        if task.index == 0 and self.settings.load_model_dir:
            learner.model.load_state_dict(first_task_model(self.settings.load_model_dir, self.place.repeat, learner.model))
        else:
            stages = learner.stages(task)
            if state and self.place.epoch:
                stages[self.place.stage].optimizer.load_state_dict(state["optimizers"]["stage"])
            while self.place.stage < len(stages):
                self.train_stage(stages[self.place.stage], task)
                self.place.stage, self.place.epoch = self.place.stage + 1, 0
        learner.end_task(task)
        self.measure(task)
        self.place.task, self.place.stage = task.index + 1, 0
        self.save(None)

    def train_stage(self, stage: Stage, task: Task) -> None:
        """Every epoch of a stage that has not been done."""
        assert self.progress
        title = f"repeat {self.place.repeat + 1}/{self.settings.repeat}  task {task.index + 1}/{len(self.tasks)}  {stage.name}"
        unit = "epoch" if stage.name != "dream" else "round"
        for epoch in range(self.place.epoch, stage.epochs):
            began = time.monotonic()
            self.learner.eval()
            stage.trained.train()
            lr = stage.start_epoch(epoch)
            where = f"{title}  {unit} {epoch + 1}/{stage.epochs}"
            self.progress.start(self.kind(stage, task), where)
            losses = self.train_epoch(stage, epoch)
            seconds = time.monotonic() - began
            self.seconds += seconds
            self.log.line(
                f"{where}  lr {lr:.3g}  " + "  ".join(f"{name} {value:.4f}" for name, value in losses.items())
                + f"  {seconds:.1f} s  ({duration(self.progress.remaining())} left)")
            self.log.record(
                repeat=self.place.repeat + 1, task=task.index + 1, stage=stage.name, epoch=epoch + 1, lr=lr, losses=losses, seconds=round(seconds, 3))
            self.place.epoch = epoch + 1
            self.save(stage)
        if stage.name == "dream" and not self.settings.no_figures:
            self.picture(task)

    def train_epoch(self, stage: Stage, epoch: int) -> dict[str, float]:
        """One pass over the stage's batches; the mean of each loss. The host waits for the device once, at the end."""
        assert self.progress
        sums: dict[str, torch.Tensor] = {}
        for batch in stage.batches.epoch(epoch):
            losses = stage.loss(*batch)
            stage.optimizer.zero_grad()
            torch.stack(list(losses.values())).sum().backward()
            stage.optimizer.step()
            for name, value in losses.items():
                sums[name] = sums.get(name, 0) + value.detach()
            self.progress.step()
        return {name: (value / stage.batches.steps(epoch)).item() for name, value in sums.items()}

    def measure(self, task: Task) -> None:
        """Accuracy on every task so far, into the log, the records and the results files."""
        repeat = self.place.repeat
        pairs = [accuracy(self.learner, seen.test, task.seen, range(seen.old, seen.seen)) for seen in self.tasks[: task.index + 1]]
        row, local = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        self.results.add(repeat, row, local, self.learner.memory(), round(self.seconds, 3))
        self.results.save(self.folder.path, len(self.tasks))
        self.log.line(
            f"repeat {repeat + 1}/{self.settings.repeat}  task {task.index + 1}/{len(self.tasks)}  accuracy {np.mean(row):.1f} %"
            f"  task by task: {' '.join(f'{a:.1f}' for a in row)}  trained {duration(self.seconds)}")
        self.log.record(repeat=repeat + 1, task=task.index + 1, accuracy=float(np.mean(row)), by_task=row, by_task_local=local)
        for name, network in self.learner.networks().items():
            with replacing(self.folder.model_path(repeat, task.index) / f"{name}.pth") as partial:
                torch.save(network.state_dict(), partial)

    @torch.no_grad()
    def picture(self, task: Task) -> None:
        """What the teacher of the tasks before this one dreamed; leaves the random streams as they are."""
        self.learner.eval()
        kept = copy.deepcopy(self.streams.state_dict())
        dreams = self.learner.dream(20 * task.old)
        self.streams.load_state_dict(kept)
        if dreams is None:
            return
        confidence, labels = self.learner.teach(dreams).softmax(1).max(1)
        path = self.folder.path / "figures" / f"repeat-{self.place.repeat + 1}-after-task-{task.index}-dreams.png"
        draw_dreams(path, task.train.pixels.denormalise(dreams), labels, confidence, f"Dreamed after task {task.index}")

    def save(self, stage: Stage | None) -> None:
        """The checkpoint, with the stage's optimiser where one is under way."""
        optimizers = dict(self.learner.persistent_optimizers())
        if stage:
            optimizers["stage"] = stage.optimizer
        self.folder.save({
            "place": dataclasses.asdict(self.place),
            "learner": self.learner.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in optimizers.items()},
            "streams": self.streams.state_dict(),
            "results": self.results.state_dict(),
            "seconds": self.seconds,
            "records_end": self.log.records_end(),
        })
