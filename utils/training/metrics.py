"""Accuracy after each task, and the published results files."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dataloaders.batches import Images
from learners import Learner
from utils.files import write_yaml


@torch.no_grad()
def accuracy(learner: Learner, test: Images, seen: int, own: range, top_k: int = 1) -> tuple[float, float]:
    """Accuracy in percent on a task's test images: (among all seen classes, among the task's own). An image is right
    where its class has one of the ``top_k`` highest logits, or where there are no more classes than that. NaN where logits are not finite."""
    learner.eval()
    right = torch.zeros(2, device=test.labels.device)
    for images, labels in test.in_order():
        logits = learner.predict(images)
        right += torch.where(logits.isfinite().all(), 0.0, torch.nan)
        for which, classes in enumerate((range(seen), own)):
            best = logits[:, classes.start : classes.stop].topk(min(top_k, len(classes))).indices + classes.start
            right[which] += (best == labels.unsqueeze(1)).sum()
    everywhere, local = (100 * right / len(test)).tolist()
    return everywhere, local


class Results:
    """What a run measures: after each task of each repeat.

    Attributes:
        matrix: [repeat][after task][on task] accuracy in percent among all seen classes.
        local: the same among the task's own classes.
        memory: [repeat][task] stored values: parameters, and the pixels of the coreset.
        seconds: [repeat][task] spent on training.
    """

    def __init__(self, state: dict[str, Any] | None = None):
        state = state or {"matrix": [], "local": [], "memory": [], "seconds": []}
        self.matrix: list[list[list[float]]] = state["matrix"]
        self.local: list[list[list[float]]] = state["local"]
        self.memory: list[list[int]] = state["memory"]
        self.seconds: list[list[float]] = state["seconds"]

    def state_dict(self) -> dict[str, Any]:
        return vars(self)

    def add(self, repeat: int, row: list[float], local: list[float], memory: int, seconds: float) -> None:
        """Record a task's end; a new repeat begins with its first task."""
        measured: list[tuple[list[list[Any]], Any]] = [(self.matrix, row), (self.local, local), (self.memory, memory), (self.seconds, seconds)]
        for values, value in measured:
            if len(values) == repeat:
                values.append([])
            values[repeat].append(value)

    def measured(self) -> "Results":
        """Without the repeats that are measured elsewhere, side by side with this one (utils/sweeps/parallel.py)."""
        return Results({name: [repeat for repeat in values if repeat] for name, values in vars(self).items()})

    def accuracies(self) -> list[list[float]]:
        """[repeat][after task]: mean over the tasks seen so far."""
        return [[float(np.mean(row)) for row in rows] for rows in self.matrix]

    def save(self, folder: Path, tasks: int, top_k: int = 1) -> None:
        """Write results-acc, results-mem and results-time as published: keys mean, std and history, the latter
        tasks x repeats (pt.yaml: after task x on task x repeats). What has not been measured yet is .nan. Accuracies other than
        top-1 say so by the key top_k."""
        note = {"top_k": top_k} if top_k > 1 else {}
        by_task: dict[str, list[list[Any]]] = {"acc": self.accuracies(), "mem": self.memory, "time": self.seconds}
        for name, values in by_task.items():
            history = np.full((tasks, len(values)), np.nan)
            for repeat, column in enumerate(values):
                history[: len(column), repeat] = column
            _write(folder / f"results-{name}" / "global.yaml", history, note if name == "acc" else {})
        for name, matrices in (("pt", self.matrix), ("pt-local", self.local)):
            pairs = np.full((tasks, tasks, len(matrices)), np.nan)
            for repeat, rows in enumerate(matrices):
                for after, row in enumerate(rows):
                    pairs[after, : len(row), repeat] = row
            _write(folder / "results-acc" / f"{name}.yaml", pairs, note)


def mean_std(values: list[float]) -> tuple[float, float]:
    """Mean and population standard deviation, as in the published tables."""
    return (float(np.mean(values)), float(np.std(values))) if values else (math.nan, math.nan)


def _write(path: Path, history: np.ndarray, note: dict[str, Any]) -> None:
    flat = history.reshape(-1, history.shape[-1])
    known = [row[~np.isnan(row)].tolist() for row in flat]
    mean, std = np.array([mean_std(row) for row in known]).T
    shape = history.shape[:-1]
    write_yaml(path, {"mean": mean.reshape(shape).tolist(), "std": std.reshape(shape).tolist(), "history": history.tolist(), **note})
