"""What the diagnosis measures of a model, by its features, its predictions and its classifier (utils/reports/diagnose.py has the question)."""

import numpy as np
import torch
from torch import Tensor

from dataloaders.tasks import Task
from learners import Learner

# {measure: (heading of its column, form, what the number says)}
DIAGNOSTICS = {
    "mmd_new": ("MMD² old:new", ".3f", "squared maximum mean discrepancy between the model's features of real old and of real new images"),
    "mmd_dreams": ("MMD² old:dreams", ".3f", "the same between real old images and dreams: how far replay is from what it stands for"),
    "cka_old": ("CKA old", ".3f", "linear CKA between model and teacher on real old images: 1 where they differ by rotation and scale alone"),
    "cka_dreams": ("CKA dreams", ".3f", "the same on dreams: what learning with replay has kept of the teacher's features of them"),
    "cka_new": ("CKA new", ".3f", "the same on real new images"),
    "old_as_new": ("old as new %", ".1f", "real old images that the model, among all classes seen, calls one of the task's"),
    "dreams_as_new": ("dreams as new %", ".1f", "dreams that it calls one of the task's"),
    "new_as_old": ("new as old %", ".1f", "real new images that it calls an old class"),
    "norm_old": ("|w| old", ".3f", "mean length of the classifier's rows of the old classes"),
    "norm_new": ("|w| new", ".3f", "mean length of its rows of the task's classes"),
    "top1": ("accuracy %", ".1f", "as the run measured: all test images of the classes seen, by the classifier"),
    "ncm": ("NCM %", ".1f", "the same by the nearest class mean of the features in the classifier's place: it falls with them alone"),
}

LEFT = ("top1", "ncm")  # of them, those in a run's results-acc


def squared_mmd(x: Tensor, y: Tensor, bandwidth: float) -> float:
    """The unbiased estimate of the squared maximum mean discrepancy (Gretton et al. 2012, lemma 6) between samples [N, D]
    and [M, D] with the kernel exp(-|a - b|^2 / (2 bandwidth^2)). 0 on average for two samples of one distribution, so
    a little below at times; at most 2."""

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return torch.exp(-torch.cdist(a.double(), b.double()).square() / (2 * bandwidth**2))

    def among(a: Tensor) -> Tensor:
        pairs = kernel(a, a)
        return (pairs.sum() - pairs.diagonal().sum()) / (len(a) * (len(a) - 1))

    return (among(x) + among(y) - 2 * kernel(x, y).mean()).item()


def median_distance(x: Tensor) -> float:
    """The median heuristic for the bandwidth: of the distances between all pairs of the sample [N, D]; never 0, where all are alike."""
    return max(torch.pdist(x.double()).median().item(), 1e-30)


def linear_cka(x: Tensor, y: Tensor) -> float:
    """Linear centred kernel alignment (Kornblith et al. 2019) of two representations [N, D] and [N, E] of the same images:
    |Yc' Xc|^2 / (|Xc' Xc| |Yc' Yc|), in [0, 1]; NaN where one is constant."""
    x, y = (z.double() - z.double().mean(0) for z in (x, y))
    return ((y.T @ x).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm())).item()


@torch.no_grad()
def diagnose_model(learner: Learner, task: Task, old: list[Tensor], new: list[Tensor], dreams: list[Tensor]) -> dict[str, float]:
    """The DIAGNOSTICS after a task that the run has not LEFT itself, those of dreams NaN where there are none.

    Args:
        old, new, dreams: images in batches, as networks see them.
    """
    sets = {"old": old, "new": new, "dreams": dreams}
    features = {kind: torch.cat([learner.model.features(x) for x in batches]) for kind, batches in sets.items() if batches}
    before = {kind: torch.cat([learner.teacher.features(x) for x in batches]) for kind, batches in sets.items() if batches}
    called = {kind: torch.cat([learner.predict(x)[:, : task.seen].argmax(1) for x in batches]) for kind, batches in sets.items() if batches}
    bandwidth = median_distance(torch.cat([features["old"], features["new"]]))
    rows = learner.model.last.weight.norm(dim=1)
    found = {
        "mmd_new": squared_mmd(features["old"], features["new"], bandwidth),
        "new_as_old": 100 * (called["new"] < task.old).double().mean().item(),
        "norm_old": rows[: task.old].mean().item(),
        "norm_new": rows[task.old : task.seen].mean().item(),
        **{f"cka_{kind}": linear_cka(features[kind], before[kind]) for kind in features},
        **{f"{kind}_as_new": 100 * (called[kind] >= task.old).double().mean().item() for kind in called if kind != "new"},
    }
    if dreams:
        found["mmd_dreams"] = squared_mmd(features["old"], features["dreams"], bandwidth)
    return {name: found.get(name, np.nan) for name in DIAGNOSTICS if name not in LEFT}
