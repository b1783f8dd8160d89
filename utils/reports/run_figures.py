"""The figures that a run draws while it is under way."""

import copy
from collections.abc import Callable

import torch
from matplotlib.figure import Figure

from dataloaders.datasets import DATASETS
from learners import Stage
from utils.reports.dreams import PICTURED, dreams_figure, dreams_seen, pictured_classes, real_seen
from utils.reports.figures import accuracy_figure, confusion_figure, loss_records, losses_figure, save_figure
from utils.reports.runs import accuracy_kind
from utils.training.folder import RunFolder
from utils.training.listeners import Listener
from utils.training.measures import Measures
from utils.training.results import percent
from utils.training.state import RunState


def images_of(run: RunState) -> str:
    return "validation images" if run.settings.validation else "test images"


class RunFigures(Listener):
    """Draws PNG files into ``log_dir/figures``.

    Args:
        drawn: receives each figure too: its name, the figure, and after how many tasks it was drawn.
    """

    def __init__(self, folder: RunFolder, drawn: Callable[[str, Figure, int], None] | None = None):
        self.folder = folder
        self.drawn = drawn

    @torch.no_grad()
    def stage_ended(self, run: RunState, stage: Stage) -> None:
        """Draw what the model of the earlier tasks dreams; the random streams stay as they were."""
        if not stage.dreams:
            return
        learner, task, count = run.learner.eval(), run.task, len(run.tasks)
        kept = copy.deepcopy(run.streams.state_dict())
        # One class's worth at a time: all dreams of 224 x 224 pixels at once fill a GPU.
        dreams = dreams_seen(
            learner.teach, [learner.dream(PICTURED) for _ in range(task.old)], task.test.pixels.denormalise)
        run.streams.load_state_dict(kept)
        real = real_seen(
            learner.teach, [past.test for past in run.tasks[: task.index]], pictured_classes(dreams.labels))
        title = f"{run.settings.learner_name}: dreamed after task {task.index} of {count}"
        figure = dreams_figure(dreams, real, task.names, title, images_of(run))
        self.draw(run, f"dreams-after-task-{task.index}", figure, task.index)

    def task_ended(self, run: RunState, measures: Measures) -> None:
        """Draw the accuracies and losses of the repeat so far, over the figures of the task before."""
        repeat, done, count = run.place.repeat, run.task.index + 1, len(run.tasks)
        after = f"{run.settings.learner_name}: repeat {repeat + 1}, after task {done} of {count}"
        kind = accuracy_kind(DATASETS[run.settings.dataset].top_k, run.settings.validation)
        title = f"{after}\naccuracy {run.results.latest(repeat, percent(run.settings))}"
        rows = run.results.matrix[repeat]
        self.draw(run, "accuracy", accuracy_figure(rows, count, title, kind), done)
        if len(rows) == count:
            ranges = [range(task.old, task.seen) for task in run.tasks]
            figure = confusion_figure(run.results.confusion[repeat], ranges, after, images_of(run))
            self.draw(run, "confusion", figure, done)
        if records := loss_records(self.folder.path / "metrics.jsonl", repeat + 1):
            self.draw(run, "losses", losses_figure(records, after), done)

    def draw(self, run: RunState, name: str, figure: Figure, tasks: int) -> None:
        save_figure(self.folder.path / "figures" / f"repeat-{run.place.repeat + 1}" / f"{name}.png", figure)
        if self.drawn:
            self.drawn(name, figure, tasks)
