"""What was measured after each task, and the result files that hold it."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dataloaders.datasets import DATASETS
from utils.files import write_array, write_yaml
from utils.settings import Settings

# {result file: the record that it holds}. The last two hold lists, and say how they are laid out.
FILES = {
    "mem/global": "memory", "time/global": "seconds", "acc/global": "accuracy",
    "acc/over-images": "accuracy_over_images", "acc/old": "old", "acc/new": "new", "acc/top1": "top1",
    "acc/top5": "top5", "acc/ncm": "ncm", "acc/pt": "by_task", "acc/pt-local": "by_task_local"}
AXES = ["on task", "after task", "repeat"]


def forgetting(matrix: np.ndarray) -> np.ndarray:
    """Return the mean over all tasks but the last of the best earlier accuracy less the one after the last
    task (Chaudhry et al. 2018). ``matrix`` is [on task, after task, ...]; NaN with one task."""
    if len(matrix) < 2:
        return np.full(matrix.shape[2:], np.nan)
    return (np.fmax.reduce(matrix[:-1, :-1], axis=1) - matrix[:-1, -1]).mean(0)


def backward_transfer(matrix: np.ndarray) -> np.ndarray:
    """Return the mean over all tasks but the last of the accuracy after the last task less the one right
    after learning the task (Lopez-Paz and Ranzato 2017). See ``forgetting``."""
    if len(matrix) < 2:
        return np.full(matrix.shape[2:], np.nan)
    learned = np.arange(len(matrix) - 1)
    return (matrix[:-1, -1] - matrix[learned, learned]).mean(0)


class Results:
    """What a run has measured."""

    def __init__(self, state: dict[str, Any] | None = None):
        # [repeat][task] {name: value}: measures, stored values (memory), seconds of training
        self.records: list[list[dict[str, Any]]] = []
        self.confusion: list[torch.Tensor] = []  # [repeat] the latest confusion matrix
        self.classes: list[list[tuple[int, str]]] = []  # [repeat][output] number and name
        self.notes: dict[str, Any] = {}  # what every file with accuracies says, such as validation: true
        vars(self).update(state or {})

    def add(self, repeat: int, measured: dict[str, Any], memory: int, seconds: float) -> None:
        """Record the end of a task: what was measured, and what follows from it (docs/run-folder.md)."""
        if len(self.records) == repeat:
            self.records.append([])
        by_task, images = measured["by_task"], measured["images"]
        rows = [*self.matrix[repeat], by_task]
        matrix = on_after([rows], len(rows))[..., 0]
        self.records[repeat].append({
            "accuracy": float(np.mean(by_task)), "accuracy_over_images": over_images(by_task, images),
            "average_incremental_accuracy": float(np.mean([np.mean(row) for row in rows])),
            "forgetting": float(forgetting(matrix)), "backward_transfer": float(backward_transfer(matrix)),
            "task_incremental_accuracy": float(np.mean(measured["by_task_local"])),
            "old": over_images(by_task[:-1], images[:-1]), "new": by_task[-1],
            **measured, "memory": memory, "seconds": seconds})
        self.confusion[repeat:] = [self.records[repeat][-1].pop("confusion")]

    def history(self, name: str) -> list[list[Any]]:
        """[repeat][after task]: the values of one record."""
        return [[record[name] for record in tasks] for tasks in self.records]

    @property
    def matrix(self) -> list[list[list[float]]]:
        """[repeat][after task][on task] accuracy among all seen classes."""
        return self.history("by_task")

    @property
    def uneven(self) -> bool:
        """Whether tasks differ in their number of test images."""
        return any(len(set(images)) > 1 for repeat in self.history("images") for images in repeat)

    def latest(self, repeat: int, percent: str) -> str:
        """The accuracy after the latest task of a repeat; ``percent`` is its unit."""
        record = self.records[repeat][-1]
        mean, over_images = (f"{record[name]:.1f} {percent}" for name in ("accuracy", "accuracy_over_images"))
        uneven = len(set(record["images"])) > 1
        return f"{mean} mean of tasks, {over_images} over images" if uneven else mean

    def save(self, folder: Path, tasks: int) -> None:
        """Write results-acc, -mem and -time (docs/run-folder.md) of a run of so many tasks per repeat."""
        for file, name in FILES.items():
            lists = name.startswith("by_task")
            history = (on_after if lists else after_task)(self.history(name), tasks)
            notes: dict[str, Any] = {"axes": AXES} if lists else {}
            if file.startswith("acc"):
                notes |= self.notes
            if name in ("top1", "top5", "ncm"):  # they say themselves what they count
                notes.pop("top_k", None)
            known = np.ma.masked_invalid(history)
            mean, std = (values.filled(np.nan).tolist() for values in (known.mean(-1), known.std(-1)))
            content = {"mean": mean, "std": std, "history": history.tolist(), **notes}
            write_yaml(folder / f"results-{file}.yaml", content)
        for repeat, confusion in enumerate(self.confusion):
            if len(self.records[repeat]) == tasks:
                write_array(folder / "results-acc" / f"confusion-repeat-{repeat + 1}.npy", confusion.numpy())
        for repeat, classes in enumerate(self.classes):
            write_yaml(folder / "results-acc" / f"classes-repeat-{repeat + 1}.yaml", by_output(classes))


def over_images(by_task: Sequence[float], images: Sequence[int]) -> float:
    """The accuracy over all images of some tasks, given that on each; NaN without tasks."""
    if len(set(images)) == 1:
        return sum(by_task) / len(by_task)
    return sum(value * count for value, count in zip(by_task, images)) / sum(images) if images else math.nan


def by_output(classes: Sequence[tuple[int, str]]) -> dict[str, Any]:
    """The content of a file that lists the number and name of the class of each output."""
    return {"classes": [{"output": output, "number": number, "name": name}
                        for output, (number, name) in enumerate(classes)]}


def after_task(columns: list[list[float]], tasks: int) -> np.ndarray:
    """[repeat][after task] as published: [after task, repeat], NaN where nothing is measured yet."""
    return np.array([[*column, *[np.nan] * (tasks - len(column))] for column in columns], float).T


def on_after(matrices: list[list[list[float]]], tasks: int) -> np.ndarray:
    """[repeat][after task][on task] as published: [on task, after task, repeat], 0 where the task came later
    and NaN where nothing is measured yet."""
    pairs = np.full((tasks, tasks, len(matrices)), np.nan)
    pairs[np.tril_indices(tasks, -1)] = 0.0
    for repeat, rows in enumerate(matrices):
        for after, row in enumerate(rows):
            pairs[: len(row), after, repeat] = row
    return pairs


def notes_of(settings: Settings) -> dict[str, Any]:
    """Notes stored with accuracies: top_k unless 1, validation, images per class, --load_any."""
    top_k = DATASETS[settings.dataset].top_k
    known = {
        "top_k": top_k if top_k > 1 else 0, "validation": settings.validation,
        "images_per_class": settings.images_per_class,
        "load_any": settings.load_model_dir if settings.load_any else ""}
    return {name: value for name, value in known.items() if value}


def percent(settings: Settings) -> str:
    """The unit of a run's accuracies, as people read it: "%", "% (top-5)", "% (validation)"."""
    top_k = DATASETS[settings.dataset].top_k
    marks = [f"top-{top_k}"] * (top_k > 1) + ["validation"] * settings.validation
    marks += [f"{settings.images_per_class} images per class"] * bool(settings.images_per_class)
    return f"% ({', '.join(marks)})" if marks else "%"
