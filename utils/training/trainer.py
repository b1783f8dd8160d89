"""The one training loop: repeats, tasks, stages, epochs, steps; resumable from checkpoints."""

import copy
import dataclasses
import time
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from dataloaders.datasets import DATASETS, Data, Split
from dataloaders.image_files import worker_failure
from dataloaders.tasks import Task, class_order, hold_out, task_ranges, task_sequence
from learners import LEARNERS, Learner, Stage
from models import classifier, image_generator
from utils.errors import RunError, UserError
from utils.files import write_tensors
from utils.reports.confusion import confusion_figure
from utils.reports.figures import (
    PICTURED,
    accuracy_figure,
    dreams_figure,
    dreams_seen,
    loss_records,
    losses_figure,
    pictured_classes,
    real_seen,
    save_figure,
)
from utils.reports.final_screen import final_screen
from utils.reports.tensorboard import EventFiles
from utils.settings import Settings
from utils.streams import Streams, seeded_weights
from utils.training.checkpoint import CHECKPOINT, Place, RunFolder
from utils.training.device import captures, device_failure
from utils.training.first_task import FirstTask, first_task, notes
from utils.training.log import Log
from utils.training.measures import measure
from utils.training.metrics import Results
from utils.training.progress import Progress, Work, duration
from utils.training.step import TrainingStep
from utils.training.stop import Stopped, StopWish

# Of the time, that checkpoints take at most: one is written after an epoch once ten times as long has passed as writing takes.
SAVING_SHARE = 0.1
CHECKPOINTED = {"place", "device", "learner", "optimizers", "streams", "results", "seconds", "log"}


def build_learner(settings: Settings, streams: Streams, device: torch.device, repeat: int, task: int = 0) -> Learner:
    """The learner with the initial weights of a repeat (of a task of it, with ``--oracle_flag``), on the device."""
    learner_class = LEARNERS[settings.learner_name]
    with seeded_weights(settings.seed + repeat, task):
        networks: list[Any] = [classifier(settings.model_type, settings.model_name, DATASETS[settings.dataset].outputs)]
        if learner_class.generator_type:
            networks.append(image_generator(settings.gen_model_type, settings.gen_model_name))
    return learner_class(settings, streams, *(network.to(memory_format=torch.channels_last) for network in networks)).to(device)


def order_of_repeat(settings: Settings, classes: int, repeat: int) -> list[int]:
    """The numbers of the data set's classes, of which there are ``classes``, in the order of a repeat."""
    if settings.class_order:
        return settings.class_order
    if settings.rand_split and not DATASETS[settings.dataset].in_learning_order:
        return class_order(settings.dataset, classes, settings.seed + repeat)
    return list(range(classes))


def show_losses(losses: dict[str, float]) -> list[str]:
    return [f"{name} {value:.4f}" for name, value in losses.items()]


class Trainer:
    """Trains, shows, times, checkpoints and resumes the stages of any learner.

    Args:
        data: the whole data set.
        folder: where results go and where a stopped run is taken up again.

    Raises UserError where data and settings do not fit, before any work.
    """

    def __init__(self, settings: Settings, data: Data, folder: RunFolder, device: torch.device):
        self.settings = settings
        self.data = data
        self.folder = folder
        self.device = device
        self.streams = Streams(device)
        self.place = Place()
        self.results = Results()
        self.seconds = 0.0  # of training, in the current task
        self.saved = self.saving = 0.0  # when the latest checkpoint was written, how long that took
        self.progress: Progress | None = None
        self.wish = StopWish()
        self.events: EventFiles | None = None
        self.ranges = task_ranges(settings)
        self.top_k = DATASETS[settings.dataset].top_k
        self.percent = "%" if self.top_k == 1 else f"% (top-{self.top_k})"
        self.check_batches()
        self.first_tasks = self.load_first_tasks()
        if folder.state and not folder.state.keys() >= CHECKPOINTED:
            raise UserError(
                f"--log_dir {settings.log_dir}: its checkpoint is of another version of this code; "
                "name another folder, or --overwrite 1 starts afresh")
        if folder.state and folder.place and folder.place != Place(folder.place.repeat) and folder.state["device"] != device.type:
            raise UserError(
                f"--gpuid: the run in --log_dir {settings.log_dir} is under way on {folder.state['device']}, this would go on on {device.type}, "
                "whose random numbers are others; go on there, or start another --log_dir")
        try:
            folder.begin()
            self.log = Log(folder.path)
        except OSError as error:
            raise UserError(f"--log_dir {settings.log_dir}: {error.filename} cannot be written or deleted ({error.strerror})") from error

    def run(self) -> Results:
        """All repeats, from wherever the folder's checkpoint stands.

        Raises RunError where a disk is full, the folder vanishes or numbers go bad; Stopped after SIGTERM or SIGINT.
        """
        try:
            with self.wish:
                self.train()
        except OSError as error:
            raise RunError(f"{error.filename or self.settings.log_dir}: {error.strerror or error}; {self.folder.going_on()}") from error
        except UserError as error:  # an image that cannot be decoded, a worker that died
            raise RunError(f"{error}; {self.folder.going_on()}") from error
        except (RuntimeError, MemoryError) as error:
            reason = device_failure(error, self.device) or worker_failure(error, self.settings.workers)
            if not reason:
                raise
            self.heed_signals()  # a signal to all processes ends workers first
            raise RunError(f"{reason}; {self.folder.going_on()}") from error
        finally:
            if self.progress:
                self.progress.close()
            if self.events:
                self.events.close()
            self.log.close()
        return self.results

    def train(self) -> None:
        """What is not done, from the checkpoint on, and the final screen."""
        saved = self.folder.state
        if saved:
            self.place = Place(**saved["place"])
            self.results = Results(saved["results"])
        self.log.forget_after(saved["log"] if saved else {})
        for line in self.folder.notices:
            self.log.line(line)
        if self.folder.damage:
            self.log.line(f"{self.folder.damage}: going on from the checkpoint before it")
        self.train_repeats()
        if self.progress:
            self.progress.close()
        for line in final_screen(self.settings, self.results, self.percent):
            self.log.line(line)

    def train_repeats(self) -> None:
        """The repeats and tasks that are not done."""
        while self.place.repeat < self.settings.repeat:
            self.start_repeat()
            if not self.folder.place:  # no work without a checkpoint to go on from
                self.save()
            while self.place.task < len(self.tasks):
                self.run_task(self.tasks[self.place.task])
                self.place.task, self.place.stage = self.place.task + 1, 0
                self.save()
            self.place = Place(self.place.repeat + 1)
            self.save()

    def heed_signals(self) -> None:
        """Between two steps, where nothing is half done. Raises Stopped."""
        if self.wish.signal:
            raise Stopped(self.wish.signal, f"stopped by {self.wish.signal.name}; {self.folder.going_on()}, what came after it is done again")

    # One repeat

    def splits(self, repeat: int) -> tuple[Split, Split, list[int]]:
        """Training data, test data and class order of a repeat."""
        settings, data = self.settings, self.data
        train, test = hold_out(data.train, settings.seed + repeat) if settings.validation else (data.train, data.test)
        return train, test, order_of_repeat(settings, len(data.names), repeat)

    def check_batches(self) -> None:
        """Every stage of every repeat must have images, and those of a task fill a batch: incomplete ones are dropped."""
        settings = self.settings
        for repeat in range(settings.repeat):
            train, _, order = self.splits(repeat)
            count = np.bincount(train.labels, minlength=len(self.data.names))[order]
            for index, new in enumerate(self.ranges):
                images = LEARNERS[settings.learner_name].planned_images(
                    settings.memory, count.tolist(), new.start, new.stop, int(count[new.start : new.stop].sum()))
                for stage, number in images.items():
                    if stage == "learn" and number < settings.batch_size:
                        raise UserError(f"--batch_size {settings.batch_size}: task {index + 1} has {number} images to learn, less than one batch")
                    if not number:
                        raise UserError(
                            f"--memory {settings.memory}: leaves no image for the stage {stage} of task {index + 1}; it needs a larger coreset")

    def load_first_tasks(self) -> dict[int, FirstTask]:
        """Those of ``--load_model_dir`` that are still needed, by repeat."""
        if not self.settings.load_model_dir:
            return {}
        done = self.folder.place or Place()
        return {repeat: first_task(self.settings, repeat) for repeat in range(done.repeat + (done.task > 0), self.settings.repeat)}

    def start_repeat(self) -> None:
        """Build the tasks and the learner, as new or, in the middle of a repeat, as the checkpoint has them."""
        settings, place = self.settings, self.place
        train, test, order = self.splits(place.repeat)
        learner_class = LEARNERS[settings.learner_name]
        self.tasks = task_sequence(
            settings.dataset, train, test, self.data.names, self.ranges, order,
            normalised=learner_class.normalised, cumulative=settings.oracle_flag, workers=settings.workers, device=self.device,
            heed=self.heed_signals, transforms=settings.transforms)
        self.learner = build_learner(settings, self.streams, self.device, place.repeat)
        if place == Place(place.repeat):
            self.streams.start(self.settings.seed + place.repeat, 0)
            self.log.line(f"repeat {place.repeat + 1}/{settings.repeat}: {settings.learner_name}, {len(self.tasks)} tasks, on {self.device}")
        else:
            self.restore()
            self.log.line(
                f"going on: repeat {place.repeat + 1}/{settings.repeat}, task {place.task + 1}, stage {place.stage + 1}, {place.epoch} epochs done")
        for note in self.data.notes:
            self.log.line(note)
        if self.progress is None:
            self.progress = self.plan()
        if self.events:
            self.events.close()
        if settings.tensorboard:
            self.events = EventFiles(self.folder.path, place.repeat)

    def restore(self) -> None:
        """The learner, its lasting optimisers and the random streams out of the checkpoint."""
        saved = self.folder.state
        assert saved
        try:
            self.learner.load_state_dict(saved["learner"])
            for name, optimizer in self.learner.lasting_optimizers().items():
                optimizer.load_state_dict(saved["optimizers"][name])
            self.streams.load_state_dict(saved["streams"])
        except (KeyError, ValueError, RuntimeError) as error:
            raise RunError(
                f"--log_dir {self.settings.log_dir}: the checkpoint is of another version of {self.settings.learner_name} "
                f"({str(error).splitlines()[0]}); name another folder, or --overwrite 1 starts afresh") from error
        self.seconds = saved["seconds"]

    def plan(self) -> Progress:
        """All steps of the run, less those done, for the remaining time."""
        place, progress = self.place, Progress()
        for repeat in range(place.repeat, self.settings.repeat):
            for task in self.tasks:
                if task.index == 0 and repeat in self.first_tasks:
                    continue
                for number, stage in enumerate(self.learner.stages(task)):
                    now = (repeat, task.index, number)
                    here = (place.repeat, place.task, place.stage)
                    done = place.epoch if now == here else stage.epochs if now < here else 0
                    steps = sum(stage.batches.steps(epoch) for epoch in range(done, stage.epochs))
                    progress.add(Work(self.kind(stage, task), steps, stage.cost))
        return progress

    @staticmethod
    def kind(stage: Stage, task: Task) -> tuple[str, bool]:
        """Stages of one kind have steps that take equally long."""
        return stage.name, task.index == 0

    # One task

    def run_task(self, task: Task) -> None:
        """Train the stages of a task, measure what is known after it, and keep its networks."""
        learner, place = self.learner, self.place
        if (place.stage, place.epoch) == (0, 0):
            self.streams.start(self.settings.seed + place.repeat, task.index)
            self.seconds = 0.0
            if self.settings.oracle_flag and task.index > 0:
                fresh = build_learner(self.settings, self.streams, self.device, place.repeat, task.index)
                learner.load_state_dict(fresh.state_dict())
            learner.begin_task(task)
        learner.start_task(task)
        if task.index == 0 and place.repeat in self.first_tasks:
            first = self.first_tasks[place.repeat]
            learner.model.load_state_dict(first.model)
            self.seconds = first.seconds
            self.log.line(f"{self.where(task)}  first task from {first.source}")
        else:
            stages = learner.stages(task)
            if place.epoch:
                assert self.folder.state
                stages[place.stage].optimizer.load_state_dict(self.folder.state["optimizers"]["stage"])
            while place.stage < len(stages):
                self.train_stage(stages[place.stage], task)
                place.stage, place.epoch = place.stage + 1, 0
        learner.end_task(task)
        self.measure(task)

    def train_stage(self, stage: Stage, task: Task) -> None:
        """Every epoch of a stage that has not been done."""
        assert self.progress
        title = f"{self.where(task)}  {stage.name}"
        losses: dict[str, float] = {}
        step = TrainingStep(stage, self.streams, bf16=self.settings.precision == "bf16", graph=captures(self.settings, self.device))
        for epoch in range(self.place.epoch, stage.epochs):
            began = time.monotonic()
            self.learner.eval()
            stage.trained.train()
            lr = stage.start_epoch(epoch)
            heading = f"{title}  {stage.unit} {epoch + 1}/{stage.epochs}"
            self.progress.start(self.kind(stage, task), "  ".join([heading, *self.accuracy_so_far(), *show_losses(losses)]))
            losses = self.train_epoch(step, epoch, heading)
            seconds = time.monotonic() - began
            self.seconds += seconds
            self.progress.spend()
            self.log.line(
                "  ".join([heading, f"lr {lr:.3g}", *show_losses(losses), f"{seconds:.1f} s", f"({duration(self.progress.remaining())} left)"]),
                shown=self.progress.plain_line(edge=epoch in (0, stage.epochs - 1)))
            self.log.record(
                repeat=self.place.repeat + 1, task=task.index + 1, stage=stage.name, epoch=epoch + 1,
                lr=lr, losses=losses, seconds=round(seconds, 3))
            self.place.epoch = epoch + 1
            if self.place.epoch == stage.epochs or time.monotonic() - self.saved >= self.saving / SAVING_SHARE:
                self.save(stage)
            self.progress.spend()
        del step  # and with it the memory of its graph
        if stage.joins:
            write_tensors(self.folder.model_path(self.place.repeat, task.index - 1) / f"{stage.joins}.pth", stage.trained.state_dict())
        if stage.dreams and not self.settings.no_figures:
            self.picture(task)

    def train_epoch(self, step: TrainingStep, epoch: int, heading: str) -> dict[str, float]:
        """One pass over a stage's batches; the mean of each loss. The host waits for the device once, at the end.

        Raises RunError where a loss or, after the last step, a weight is not finite: before another checkpoint is written.
        """
        assert self.progress
        history: list[torch.Tensor] = []
        for start in step.stage.batches.starts(epoch):
            self.heed_signals()
            history.append(step(start))
            self.progress.step()
        by_step = torch.stack(history).cpu().double()
        bad = (~by_step.isfinite()).any(1).nonzero().flatten().tolist()
        if bad:
            shown = "  ".join(f"{name} {value:g}" for name, value in zip(step.names, by_step[bad[0]].tolist()))
            raise self.not_finite(heading, f"the losses of step {bad[0] + 1} of {len(history)}: {shown}")
        weights = {name: value.isfinite().all() for name, value in self.learner.state_dict().items() if value.is_floating_point()}
        finite = torch.stack(list(weights.values())).tolist()
        if not all(finite):
            raise self.not_finite(heading, f"{list(weights)[finite.index(False)]} after the last step; the losses were")
        return dict(zip(step.names, by_step.mean(0).tolist()))

    def not_finite(self, heading: str, what: str) -> RunError:
        """Nothing has been written since the checkpoint before."""
        return RunError(f"{heading}: not finite are {what}; the state before is in {self.folder.path / CHECKPOINT} ({self.folder.place})")

    def measure(self, task: Task) -> None:
        """Accuracy on every task so far, into the log, the records and the results files."""
        repeat = self.place.repeat
        measures = measure(self.learner, self.tasks[: task.index + 1], self.top_k, self.heed_signals)
        if not np.isfinite(measures.by_task).all():
            raise self.not_finite(f"{self.where(task)}  accuracy", "the model's outputs for some test images")
        self.results.add(repeat, measures, self.learner.memory(), round(self.seconds, 3))
        self.save_results()
        accuracy = self.results.latest(repeat, self.percent)
        self.log.line(f"{self.where(task)}  accuracy {accuracy}  {measures.text()}  trained {duration(self.seconds)}")
        self.log.record(repeat=repeat + 1, task=task.index + 1, top_k=self.top_k, **self.results.record(repeat))
        for name, network in self.learner.networks().items():
            write_tensors(self.folder.model_path(repeat, task.index) / f"{name}.pth", network.state_dict())
        if not self.settings.no_figures:
            self.draw_results(task)

    def save_results(self) -> None:
        self.results.save(self.folder.path, len(self.ranges), self.top_k, notes(self.settings))

    def accuracy_so_far(self) -> list[str]:
        """After the task before, if there is one in this repeat."""
        repeat = self.place.repeat
        return [f"accuracy {self.results.latest(repeat, self.percent)}"] if self.results.matrix[repeat:] else []

    def where(self, task: Task) -> str:
        return f"repeat {self.place.repeat + 1}/{self.settings.repeat}  task {task.index + 1}/{len(self.tasks)}"

    @torch.no_grad()
    def picture(self, task: Task) -> None:
        """What the model of the tasks before this one dreams, beside real images; the random streams stay as they were."""
        learner = self.learner.eval()
        kept = copy.deepcopy(self.streams.state_dict())
        # A class's worth at a time: all at once, dreams of 224 x 224 pixels fill a GPU.
        dreams = dreams_seen(learner.teach, [learner.dream(PICTURED) for _ in range(task.old)], task.test.pixels.denormalise)
        self.streams.load_state_dict(kept)
        real = real_seen(learner.teach, [past.test for past in self.tasks[: task.index]], pictured_classes(dreams.labels))
        title = f"{self.settings.learner_name}: dreamed after task {task.index} of {len(self.tasks)}"
        self.draw(f"dreams-after-task-{task.index}", dreams_figure(dreams, real, task.names, title), task.index)

    def draw_results(self, task: Task) -> None:
        """The accuracies and losses of the repeat so far, in the place of those after the task before."""
        after = f"{self.settings.learner_name}: repeat {self.place.repeat + 1}, after task {task.index + 1} of {len(self.tasks)}"
        rows, accuracy = self.results.matrix[self.place.repeat], self.results.latest(self.place.repeat, self.percent)
        self.draw("accuracy", accuracy_figure(rows, len(self.tasks), f"{after}\naccuracy {accuracy}"), task.index + 1)
        if len(rows) == len(self.tasks):
            self.draw("confusion", confusion_figure(self.results.confusion[self.place.repeat][0], self.ranges, after), task.index + 1)
        if records := loss_records(self.folder.path / "metrics.jsonl", self.place.repeat + 1):
            self.draw("losses", losses_figure(records, after), task.index + 1)

    def draw(self, name: str, figure: Figure, tasks: int) -> None:
        """A figure of the repeat, after so many tasks, where figures go."""
        save_figure(self.folder.path / "figures" / f"repeat-{self.place.repeat + 1}" / f"{name}.png", figure)
        if self.events:
            self.events.figure(name, figure, tasks)

    def save(self, stage: Stage | None = None) -> None:
        """The checkpoint, with the optimiser of the stage under way."""
        began = time.monotonic()
        if self.events:
            self.events.follow()
        optimizers = dict(self.learner.lasting_optimizers())
        if stage:
            optimizers["stage"] = stage.optimizer
        self.folder.save({
            "place": dataclasses.asdict(self.place),
            "device": self.device.type,
            "learner": self.learner.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in optimizers.items()},
            "streams": self.streams.state_dict(),
            "results": self.results.state_dict(),
            "seconds": self.seconds,
            "log": self.log.ends(),
        })
        self.saved = time.monotonic()
        self.saving = self.saved - began
