"""What the diagnosis measures of a model, and its figure (diagnose.py has the question)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from dataloaders.tasks import Task
from learners import Learner

MEASURED = ("top1", "ncm")  # by the run itself, in its results-acc
# {measure: (heading, format, what the number says)}
DIAGNOSTICS = {
    "mmd_new": (
        "MMD² old:new", ".3f",
        "squared maximum mean discrepancy between the model's features of real old and new images"),
    "mmd_dreams": (
        "MMD² old:dreams", ".3f",
        "the same between real old images and dreams: how far replay is from what it replaces"),
    "cka_old": (
        "CKA old", ".3f",
        "linear CKA of model and teacher on real old images: 1 if they differ by rotation and scale alone"),
    "cka_dreams": ("CKA dreams", ".3f", "the same on dreams"),
    "cka_new": ("CKA new", ".3f", "the same on real new images"),
    "old_as_new": ("old as new %", ".1f", "real old images that the model calls one of the task's classes"),
    "dreams_as_new": ("dreams as new %", ".1f", "dreams that it calls one of the task's classes"),
    "new_as_old": ("new as old %", ".1f", "real new images that it calls an old class"),
    "norm_old": ("|w| old", ".3f", "mean length of the classifier's rows of the old classes"),
    "norm_new": ("|w| new", ".3f", "mean length of its rows of the task's classes"),
    "top1": ("top-1 %", ".1f", "accuracy on all classes seen, by the classifier, as the run measured it"),
    "ncm": ("NCM top-1 %", ".1f", "the same by the nearest class mean of the features"),
}
# {label of a row of panels: {title of a panel: measure}}
PANELS = {
    "squared MMD": {
        "from real old to real new images": "mmd_new", "from real old images to dreams": "mmd_dreams"},
    "linear CKA with the teacher": {
        "on real old images": "cka_old", "on dreams": "cka_dreams", "on real new images": "cka_new"},
    "share (%)": {
        "real old images called new": "old_as_new", "dreams called new": "dreams_as_new",
        "real new images called old": "new_as_old"},
    "top-1 accuracy (%)": {"by the classifier": "top1", "by the nearest class mean": "ncm"},
    "mean length": {
        "classifier's rows, old classes": "norm_old", "classifier's rows, the task's classes": "norm_new"},
}
# Okabe and Ito 2008
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#000000", "#7F7F7F")
MARKERS = "os^vD<>PX*hp"


@dataclass
class Diagnosis:
    """The numbers of a run.

    Attributes:
        repeats: {task, from 2: repeats that have finished it}.
        values: {task: {measure: mean over those repeats}}.
        images: "test" or "validation".
    """

    name: str
    repeats: dict[int, int]
    values: dict[int, dict[str, float]]
    images: str = "test"


def squared_mmd(x: Tensor, y: Tensor, bandwidth: float) -> float:
    """Unbiased estimate of the squared maximum mean discrepancy (Gretton et al. 2012, lemma 6) of samples [N,
    D] and [M, D] with the kernel exp(-|a - b|^2 / (2 bandwidth^2)): 0 on average for samples of one
    distribution, at most 2."""

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return torch.exp(-torch.cdist(a.double(), b.double()).square() / (2 * bandwidth**2))

    def among(a: Tensor) -> Tensor:
        pairs = kernel(a, a)
        return (pairs.sum() - pairs.diagonal().sum()) / (len(a) * (len(a) - 1))

    return (among(x) + among(y) - 2 * kernel(x, y).mean()).item()


def median_distance(x: Tensor) -> float:
    """Median of the distances between all pairs of a sample [N, D], a bandwidth; never 0."""
    return max(torch.pdist(x.double()).median().item(), 1e-30)


def linear_cka(x: Tensor, y: Tensor) -> float:
    """Linear centred kernel alignment (Kornblith et al. 2019) of representations [N, D] and [N, E] of the
    same images: |Yc' Xc|^2 / (|Xc' Xc| |Yc' Yc|), in [0, 1]; NaN if one is constant."""
    x, y = (z.double() - z.double().mean(0) for z in (x, y))
    return ((y.T @ x).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm())).item()


@torch.no_grad()
def diagnose_model(
    learner: Learner, task: Task, old: list[Tensor], new: list[Tensor], dreams: list[Tensor],
) -> dict[str, float]:
    """The DIAGNOSTICS after a task except MEASURED; NaN for dreams if there are none.

    Args:
        old, new, dreams: batches of images [B, 3, S, S], as networks see them.
    """
    sets = {kind: batches for kind, batches in (("old", old), ("new", new), ("dreams", dreams)) if batches}

    def of(answer: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        return {kind: torch.cat([answer(x) for x in batches]) for kind, batches in sets.items()}

    features, before = of(learner.model.features), of(learner.teacher.features)
    called = of(lambda x: learner.predict(x)[:, : task.seen].argmax(1))
    bandwidth = median_distance(torch.cat([features["old"], features["new"]]))
    rows = learner.model.last.weight.norm(dim=1)
    values = {name: np.nan for name in DIAGNOSTICS if name not in MEASURED} | {
        "norm_old": rows[: task.old].mean().item(), "norm_new": rows[task.old : task.seen].mean().item(),
        "new_as_old": 100 * (called["new"] < task.old).double().mean().item()}
    for kind in sets:
        values[f"cka_{kind}"] = linear_cka(features[kind], before[kind])
        if kind != "old":
            values[f"mmd_{kind}"] = squared_mmd(features["old"], features[kind], bandwidth)
        if kind != "new":
            values[f"{kind}_as_new"] = 100 * (called[kind] >= task.old).double().mean().item()
    return values


def diagnosis_figure(diagnoses: Sequence[Diagnosis]) -> Figure:
    """One panel per measure, one line per run, task by task."""
    figure = Figure(figsize=(10.5, 11.9), layout="constrained")
    grid = figure.subplots(len(PANELS), 3, sharey="row")
    for row, (shared, panels) in zip(grid, PANELS.items()):
        for axes, (title, name) in zip(row, panels.items()):
            for place, diagnosis in enumerate(diagnoses):
                axes.plot(
                    list(diagnosis.values), [values[name] for values in diagnosis.values.values()],
                    color=COLOURS[place % len(COLOURS)], marker=MARKERS[place % len(MARKERS)], markersize=5)
            if name.startswith("mmd"):
                axes.set_yscale("symlog", linthresh=0.01)  # small between real images, at times below 0
                axes.set_yticks([0, 0.01, 0.1, 1], ["0", "0.01", "0.1", "1"])
            if shared.endswith("(%)"):
                axes.set_ylim(-4, 104)
            axes.set_title(title, fontsize=10)
            axes.set_xlabel("after task", fontsize=9)
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(axis="y", color="#E5E5E5", linewidth=0.7)
            axes.spines[["top", "right"]].set_visible(False)
        row[0].set_ylabel(shared, fontsize=9)
        for axes in row[len(panels) :]:
            axes.set_axis_off()
    names = [f"{each.name} (validation images)" if each.images == "validation" else each.name
             for each in diagnoses]
    grid[0, 2].legend(grid[0, 0].get_lines(), names, loc="center left", fontsize=9, frameon=False)
    return figure
