"""The figures that a run draws while it is under way."""

import copy
import functools
from collections.abc import Callable

import torch
from matplotlib.figure import Figure

from dataloaders.batches import Images
from dataloaders.datasets import DATASETS
from utils.reports.dreams import PICTURED, dreams_figure, look, pictured_classes
from utils.reports.figures import accuracy_figure, confusion_figure, losses_figure, save_figure
from utils.reports.runs import accuracy_kind
from utils.training.folder import RunFolder
from utils.training.listeners import Listener
from utils.training.log import read_records
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

    def stage_ended(self, run: RunState) -> None:
        """Draw what the model of the earlier tasks dreams; the random streams stay as they were."""
        if not run.stage.dreams:
            return
        learner, task = run.learner.eval(), run.task
        denormalise = task.test.pixels.denormalise
        kept = copy.deepcopy(run.streams.state_dict())
        # Batches of one class's worth: all dreams of 224 x 224 pixels at once fill a GPU.
        dreams = look(learner.teach, denormalise, (learner.dream(PICTURED) for _ in range(task.old)))
        run.streams.load_state_dict(kept)

        tests = functools.reduce(Images.__add__, [past.test for past in run.tasks[: task.index]])
        of_class = [(tests.labels == label).nonzero().flatten() for label in pictured_classes(dreams.labels)]
        chosen = tests[torch.cat([rows[:PICTURED] for rows in of_class])]
        real = look(learner.teach, denormalise, (x for x, _ in chosen.in_order()), chosen.labels)
        title = f"{run.settings.learner_name}: dreamed after task {task.index} of {len(run.tasks)}"
        figure = dreams_figure(dreams, real, task.names, title, images_of(run))
        self.draw(run, f"dreams-after-task-{task.index}", figure, task.index)

    def task_ended(self, run: RunState) -> None:
        """Draw the accuracies and losses of the repeat so far, over the figures of the task before."""
        repeat, done, count = run.place.repeat, run.task.index + 1, len(run.tasks)
        title = f"{run.settings.learner_name}: repeat {repeat + 1}, after task {done} of {count}"
        kind = accuracy_kind(DATASETS[run.settings.dataset].top_k, run.settings.validation)
        self.draw(run, "accuracy", accuracy_figure(run.results.matrix[repeat], count, title, kind), done)
        if done == count:
            starts = [task.old for task in run.tasks]
            figure = confusion_figure(run.results.confusion[repeat], starts, title, images_of(run))
            self.draw(run, "confusion", figure, done)
        epochs = [one for one in read_records(self.folder.path, repeat + 1) if "losses" in one]
        if epochs:
            self.draw(run, "losses", losses_figure(epochs, title), done)

    def draw(self, run: RunState, name: str, figure: Figure, tasks: int) -> None:
        save_figure(self.folder.path / "figures" / f"repeat-{run.place.repeat + 1}" / f"{name}.png", figure)
        if self.drawn:
            self.drawn(name, figure, tasks)
