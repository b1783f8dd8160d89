"""What was measured after each task, and the results files of it."""

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from utils.files import write_array, write_yaml
from utils.training.measures import Measures, over_images

# Of pt.yaml and pt-local.yaml, as published; this project wrote them transposed before they said so.
AXES = ["on task", "after task", "repeat"]


class Results:
    """What a run measures: after each task of each repeat. Accuracies are in percent, NaN where an older run has not measured them.

    Attributes:
        matrix: [repeat][after task][on task] accuracy among all seen classes.
        local: the same among the task's own classes.
        memory: [repeat][task] stored values: parameters, and the pixels of the coreset.
        seconds: [repeat][task] spent on training.
        images: [repeat][after task][on task] test images; an empty list after a task of which that is not known.
        top1, top5, ncm: [repeat][after task], see Measures.
        confusion: [repeat] a list of the latest one, see Measures.
    """

    def __init__(self, state: dict[str, Any] | None = None):
        state = state or dict.fromkeys(("matrix", "local", "memory", "seconds"), [])
        self.matrix: list[list[list[float]]] = list(state["matrix"])
        self.local: list[list[list[float]]] = list(state["local"])
        self.memory: list[list[int]] = list(state["memory"])
        self.seconds: list[list[float]] = list(state["seconds"])
        unknown = [[math.nan] * len(rows) for rows in self.matrix]  # after the tasks of a run from before these were measured
        self.images: list[list[list[int]]] = list(state.get("images", [[[]] * len(rows) for rows in self.matrix]))
        self.top1, self.top5, self.ncm = (list[list[float]](state.get(name, copy.deepcopy(unknown))) for name in ("top1", "top5", "ncm"))
        self.confusion: list[list[torch.Tensor]] = list(state.get("confusion", [[] for _ in self.matrix]))

    def state_dict(self) -> dict[str, Any]:
        return vars(self)

    def add(self, repeat: int, measures: Measures, memory: int, seconds: float) -> None:
        """Record a task's end; a new repeat begins with its first task."""
        measured: list[tuple[list[list[Any]], Any]] = [
            (self.matrix, measures.by_task), (self.local, measures.local), (self.memory, memory), (self.seconds, seconds),
            (self.images, measures.images), (self.top1, measures.top1), (self.top5, measures.top5), (self.ncm, measures.ncm)]
        for values, value in measured:
            if len(values) == repeat:
                values.append([])
            values[repeat].append(value)
        self.confusion[repeat:] = [[] if measures.confusion is None else [measures.confusion]]

    def measured(self) -> "Results":
        """Without the repeats that are measured elsewhere, side by side with this one (utils/sweeps/parallel.py)."""
        there = [repeat for repeat, rows in enumerate(self.matrix) if rows]
        return Results({name: [values[repeat] for repeat in there] for name, values in vars(self).items()})

    def accuracies(self) -> list[list[float]]:
        """[repeat][after task]: mean over the tasks seen so far."""
        return [[float(np.mean(row)) for row in rows] for rows in self.matrix]

    def over_images(self) -> list[list[float]]:
        """[repeat][after task]: over all test images of the classes seen so far; with tasks of equal size the mean over tasks."""
        return [[over_images(row, images) for row, images in zip(rows, counts)] for rows, counts in zip(self.matrix, self.images)]

    def old(self) -> list[list[float]]:
        """[repeat][after task]: over all test images of the earlier tasks; NaN after the first."""
        return [[over_images(row[:-1], images[:-1]) for row, images in zip(rows, counts)] for rows, counts in zip(self.matrix, self.images)]

    def new(self) -> list[list[float]]:
        """[repeat][after task]: on the latest task."""
        return [[row[-1] for row in rows] for rows in self.matrix]

    @property
    def uneven(self) -> bool:
        """Whether tasks have unequal numbers of test images, so that the mean over tasks is not the accuracy over images."""
        return any(len(set(counts)) > 1 for repeat in self.images for counts in repeat)

    def latest(self, repeat: int, percent: str) -> str:
        """The accuracy of a repeat after its latest task, in ``percent``; each kind by name where they may differ."""
        mean, images = self.accuracies()[repeat][-1], self.over_images()[repeat][-1]
        if len(set(self.images[repeat][-1])) < 2:
            return f"{mean:.1f} {percent}"
        return f"{mean:.1f} {percent} mean of tasks, {images:.1f} {percent} over images"

    def record(self, repeat: int) -> dict[str, Any]:
        """What metrics.jsonl says of a repeat's latest task: the values of Measures, and both kinds of accuracy; None where unknown."""
        each: dict[str, list[list[Any]]] = {
            "accuracy": self.accuracies(), "accuracy_over_images": self.over_images(), "by_task": self.matrix, "by_task_local": self.local,
            "old": self.old(), "new": self.new(), "top1": self.top1, "top5": self.top5, "ncm": self.ncm}
        latest = {name: values[repeat][-1] for name, values in each.items()}
        return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in latest.items()}

    def save(self, folder: Path, tasks: int, top_k: int = 1, notes: dict[str, Any] | None = None) -> None:
        """Write results-acc, results-mem and results-time as published: keys mean, std and history, the latter
        tasks x repeats (pt.yaml: on task x after task x repeats, which the key axes says). What has not been measured yet is .nan.
        Accuracies other than top-1 say so by the key top_k; ``notes`` are keys more, of files with accuracies. Beside the
        published files: accuracy over images, on old and on new classes, top-1, top-5 and by the nearest class mean, in the form
        of results-acc/global.yaml, and the confusion of each finished repeat."""
        notes = notes or {}
        marks = {**({"top_k": top_k} if top_k > 1 else {}), **notes}
        by_task: dict[str, tuple[list[list[Any]], dict[str, Any]]] = {
            "acc/global": (self.accuracies(), marks), "mem/global": (self.memory, {}), "time/global": (self.seconds, {}),
            "acc/over-images": (self.over_images(), marks), "acc/old": (self.old(), marks), "acc/new": (self.new(), marks),
            "acc/top1": (self.top1, notes), "acc/top5": (self.top5, notes), "acc/ncm": (self.ncm, notes)}
        for name, (values, mark) in by_task.items():
            history = np.full((tasks, len(values)), np.nan)
            for repeat, column in enumerate(values):
                history[: len(column), repeat] = column
            _write(folder / f"results-{name}.yaml", history, mark)
        for repeat, latest in enumerate(self.confusion):
            if latest and len(self.matrix[repeat]) == tasks:
                write_array(folder / "results-acc" / f"confusion-repeat-{repeat + 1}.npy", latest[0].numpy())
        for name, matrices in (("pt", self.matrix), ("pt-local", self.local)):
            _write(folder / "results-acc" / f"{name}.yaml", on_after(matrices, tasks), {"axes": AXES, **marks})


def on_after(matrices: list[list[list[float]]], tasks: int) -> np.ndarray:
    """[repeat][after task][on task] as published, [on task, after task, repeat]: 0 where the task came later; NaN where what will be
    measured has not been yet."""
    pairs = np.full((tasks, tasks, len(matrices)), np.nan)
    pairs[np.tril_indices(tasks, -1)] = 0.0
    for repeat, rows in enumerate(matrices):
        for after, row in enumerate(rows):
            pairs[: len(row), after, repeat] = row
    return pairs


def mean_std(values: list[float]) -> tuple[float, float]:
    """Mean and population standard deviation, as in the published tables."""
    return (float(np.mean(values)), float(np.std(values))) if values else (math.nan, math.nan)


def _write(path: Path, history: np.ndarray, note: dict[str, Any]) -> None:
    flat = history.reshape(-1, history.shape[-1])
    known = [row[~np.isnan(row)].tolist() for row in flat]
    mean, std = np.array([mean_std(row) for row in known]).T
    shape = history.shape[:-1]
    write_yaml(path, {"mean": mean.reshape(shape).tolist(), "std": std.reshape(shape).tolist(), "history": history.tolist(), **note})
