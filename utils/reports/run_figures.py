"""The figures that a run draws while it is under way: dreams, accuracies, confusion, losses."""

import copy
from collections.abc import Callable

import torch
from matplotlib.figure import Figure

from dataloaders.datasets import DATASETS
from learners import Stage
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
from utils.training.checkpoint import RunFolder
from utils.training.listeners import Listener
from utils.training.measures import Measures
from utils.training.run_state import RunState


class RunFigures(Listener):
    """PNG files in ``log_dir/figures``.

    Args:
        drawn: is given each figure too: its name, the figure, after how many tasks it is.
    """

    def __init__(self, folder: RunFolder, drawn: Callable[[str, Figure, int], None] | None = None):
        self.folder = folder
        self.drawn = drawn

    def stage_ended(self, run: RunState, stage: Stage) -> None:
        if stage.dreams:
            self.dreams(run)

    @torch.no_grad()
    def dreams(self, run: RunState) -> None:
        """What the model of the tasks before this one dreams, beside real images; the random streams stay as they were."""
        learner, task, count = run.learner.eval(), run.task, len(run.tasks)
        kept = copy.deepcopy(run.streams.state_dict())
        # A class's worth at a time: all at once, dreams of 224 x 224 pixels fill a GPU.
        dreams = dreams_seen(learner.teach, [learner.dream(PICTURED) for _ in range(task.old)], task.test.pixels.denormalise)
        run.streams.load_state_dict(kept)
        real = real_seen(learner.teach, [past.test for past in run.tasks[: task.index]], pictured_classes(dreams.labels))
        title = f"{run.settings.learner_name}: dreamed after task {task.index} of {count}"
        self.draw(run, f"dreams-after-task-{task.index}", dreams_figure(dreams, real, task.names, title), task.index)

    def task_ended(self, run: RunState, measures: Measures) -> None:
        """The accuracies and losses of the repeat so far, in the place of those after the task before."""
        repeat, done, count = run.place.repeat, run.task.index + 1, len(run.tasks)
        after = f"{run.settings.learner_name}: repeat {repeat + 1}, after task {done} of {count}"
        rows, accuracy = run.results.matrix[repeat], run.results.latest(repeat, DATASETS[run.settings.dataset].percent)
        self.draw(run, "accuracy", accuracy_figure(rows, count, f"{after}\naccuracy {accuracy}"), done)
        if len(rows) == count:
            ranges = [range(task.old, task.seen) for task in run.tasks]
            self.draw(run, "confusion", confusion_figure(run.results.confusion[repeat][0], ranges, after), done)
        if records := loss_records(self.folder.path / "metrics.jsonl", repeat + 1):
            self.draw(run, "losses", losses_figure(records, after), done)

    def draw(self, run: RunState, name: str, figure: Figure, tasks: int) -> None:
        """A figure of the repeat, after so many tasks."""
        save_figure(self.folder.path / "figures" / f"repeat-{run.place.repeat + 1}" / f"{name}.png", figure)
        if self.drawn:
            self.drawn(name, figure, tasks)
