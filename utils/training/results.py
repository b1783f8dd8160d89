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
from utils.training.measures import Measures, over_images

AXES = ["on task", "after task", "repeat"]  # of pt.yaml and pt-local.yaml, as published


class Results:
    """What a run has measured. Accuracies are in percent.

    Attributes:
        matrix: [repeat][after task][on task] accuracy among all seen classes.
        local: the same among the task's own classes.
        memory: [repeat][task] stored values: parameters, and the pixels of the coreset.
        seconds: [repeat][task] spent training; NaN if a first task was taken over and its time is unknown.
        images: [repeat][after task][on task] number of test images.
        top1, top5, ncm: [repeat][after task], see Measures.
        confusion: [repeat] the latest confusion matrix.
        classes: [repeat][output] number and name of the class that each output, and each row and column of the
            confusion matrix, stands for.
        notes: {key: value} that every file with accuracies carries, such as what was tested on.
    """

    def __init__(self, state: dict[str, Any] | None = None):
        state = state or {}
        self.matrix: list[list[list[float]]] = list(state.get("matrix", []))
        self.local: list[list[list[float]]] = list(state.get("local", []))
        self.memory: list[list[int]] = list(state.get("memory", []))
        self.seconds: list[list[float]] = list(state.get("seconds", []))
        self.images: list[list[list[int]]] = list(state.get("images", []))
        self.top1: list[list[float]] = list(state.get("top1", []))
        self.top5: list[list[float]] = list(state.get("top5", []))
        self.ncm: list[list[float]] = list(state.get("ncm", []))
        self.confusion: list[torch.Tensor] = list(state.get("confusion", []))
        self.classes: list[list[tuple[int, str]]] = list(state.get("classes", []))
        self.notes: dict[str, Any] = dict(state.get("notes", {}))

    def state_dict(self) -> dict[str, Any]:
        return vars(self)

    def add(self, repeat: int, measures: Measures, memory: int, seconds: float) -> None:
        """Record the end of a task; the first task of a repeat opens its lists."""
        measured: list[tuple[list[list[Any]], Any]] = [
            (self.matrix, measures.by_task), (self.local, measures.local), (self.images, measures.images),
            (self.memory, memory), (self.seconds, seconds),
            (self.top1, measures.top1), (self.top5, measures.top5), (self.ncm, measures.ncm)]
        for values, value in measured:
            if len(values) == repeat:
                values.append([])
            values[repeat].append(value)
        self.confusion[repeat:] = [measures.confusion]

    def accuracies(self) -> list[list[float]]:
        """[repeat][after task]: mean over the tasks seen so far."""
        return [[float(np.mean(row)) for row in rows] for rows in self.matrix]

    def over_images(self) -> list[list[float]]:
        """[repeat][after task]: over all test images of the classes seen so far."""
        both = zip(self.matrix, self.images)
        return [[over_images(row, images) for row, images in zip(rows, counts)] for rows, counts in both]

    def old(self) -> list[list[float]]:
        """[repeat][after task]: over all test images of the earlier tasks; NaN after the first."""
        both = zip(self.matrix, self.images)
        return [[over_images(row[:-1], count[:-1]) for row, count in zip(rows, counts)] for rows, counts in both]

    def new(self) -> list[list[float]]:
        """[repeat][after task]: on the latest task."""
        return [[row[-1] for row in rows] for rows in self.matrix]

    @property
    def uneven(self) -> bool:
        """Whether tasks differ in their number of test images, so that the mean over tasks is not that over
        images."""
        return any(len(set(counts)) > 1 for repeat in self.images for counts in repeat)

    def latest(self, repeat: int, percent: str) -> str:
        """The accuracy after the latest task of a repeat; ``percent`` is its unit."""
        mean, images = self.accuracies()[repeat][-1], self.over_images()[repeat][-1]
        if len(set(self.images[repeat][-1])) < 2:
            return f"{mean:.1f} {percent}"
        return f"{mean:.1f} {percent} mean of tasks, {images:.1f} {percent} over images"

    def record(self, repeat: int) -> dict[str, Any]:
        """The record in metrics.jsonl of a repeat's latest task; None stands for what is not defined."""
        each: dict[str, list[list[Any]]] = {
            "accuracy": self.accuracies(), "accuracy_over_images": self.over_images(),
            "by_task": self.matrix, "by_task_local": self.local, "old": self.old(), "new": self.new(),
            "top1": self.top1, "top5": self.top5, "ncm": self.ncm}
        latest = {name: values[repeat][-1] for name, values in each.items()}
        return {name: None if value != value else value for name, value in latest.items()}

    def save(self, folder: Path, tasks: int) -> None:
        """Write the published files results-acc, -mem and -time: mean, population deviation and history
        [task][repeat] (pt.yaml and pt-local.yaml: [on task][after task][repeat]), .nan where nothing is
        measured yet. Beside them, in the same form, accuracy over images, on old and new classes, top-1,
        top-5 and by the nearest class mean, the confusion matrix of each finished repeat and the classes in
        its order."""
        others = {name: value for name, value in self.notes.items() if name != "top_k"}
        by_task: dict[str, tuple[list[list[Any]], dict[str, Any]]] = {
            "mem/global": (self.memory, {}), "time/global": (self.seconds, {}),
            "acc/global": (self.accuracies(), self.notes), "acc/over-images": (self.over_images(), self.notes),
            "acc/old": (self.old(), self.notes), "acc/new": (self.new(), self.notes),
            "acc/top1": (self.top1, others), "acc/top5": (self.top5, others),
            "acc/ncm": (self.ncm, others)}
        for name, (values, notes) in by_task.items():
            history = np.full((tasks, len(values)), np.nan)
            for repeat, column in enumerate(values):
                history[: len(column), repeat] = column
            _write(folder / f"results-{name}.yaml", history, notes)
        for repeat, confusion in enumerate(self.confusion):
            if len(self.matrix[repeat]) == tasks:
                write_array(folder / "results-acc" / f"confusion-repeat-{repeat + 1}.npy", confusion.numpy())
        for repeat, classes in enumerate(self.classes):
            write_yaml(folder / "results-acc" / f"classes-repeat-{repeat + 1}.yaml", by_output(classes))
        for name, matrices in (("pt", self.matrix), ("pt-local", self.local)):
            history = on_after(matrices, tasks)
            _write(folder / "results-acc" / f"{name}.yaml", history, {"axes": AXES, **self.notes})


def by_output(classes: Sequence[tuple[int, str]]) -> dict[str, Any]:
    """The content of a file that lists the number and name of the class of each output."""
    entries = [{"output": output, "number": number, "name": name}
               for output, (number, name) in enumerate(classes)]
    return {"classes": entries}


def on_after(matrices: list[list[list[float]]], tasks: int) -> np.ndarray:
    """[repeat][after task][on task] as published: [on task, after task, repeat], 0 where the task came later
    and NaN where nothing is measured yet."""
    pairs = np.full((tasks, tasks, len(matrices)), np.nan)
    pairs[np.tril_indices(tasks, -1)] = 0.0
    for repeat, rows in enumerate(matrices):
        for after, row in enumerate(rows):
            pairs[: len(row), after, repeat] = row
    return pairs


def mean_std(values: list[float]) -> tuple[float, float]:
    """Mean and population deviation, as in the published result files."""
    return (float(np.mean(values)), float(np.std(values))) if values else (math.nan, math.nan)


def _write(path: Path, history: np.ndarray, notes: dict[str, Any]) -> None:
    flat = history.reshape(-1, history.shape[-1])
    known = [row[~np.isnan(row)].tolist() for row in flat]
    mean, std = np.array([mean_std(row) for row in known]).T
    shape = history.shape[:-1]
    write_yaml(path, {"mean": mean.reshape(shape).tolist(), "std": std.reshape(shape).tolist(),
                      "history": history.tolist(), **notes})


def notes_of(settings: Settings) -> dict[str, Any]:
    """What files with accuracies say beside the numbers: top_k unless it is 1, validation images, a first
    task that was taken over whatever it learned."""
    known = {
        "top_k": DATASETS[settings.dataset].top_k if DATASETS[settings.dataset].top_k > 1 else 0,
        "validation": settings.validation,
        "load_any": settings.load_model_dir if settings.load_any else ""}
    return {name: value for name, value in known.items() if value}


def percent(settings: Settings) -> str:
    """The unit of a run's accuracies, as people read it: "%", "% (top-5)", "% (validation)"."""
    top_k = DATASETS[settings.dataset].top_k
    marks = [f"top-{top_k}"] * (top_k > 1) + ["validation"] * settings.validation
    return f"% ({', '.join(marks)})" if marks else "%"
