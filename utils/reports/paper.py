"""Every published number, and the settings that make a run a row of a published table.

The tables are those of Always Be Dreaming (Smith et al. 2021) and the parts for CIFAR-100 and TinyImageNet of
R-DFCIL's (Gao et al. 2022). A cell is the final accuracy in percent ± its deviation over three repeats / the
average incremental accuracy.
"""

import re
from collections.abc import Sequence
from math import nan
from typing import Any, NamedTuple

DREAM_LOSS = {"deep_inv_params": [1e-3, 50.0, 1e-3, 1e3, 1.0]}
DISTILLED = {"mu": 1.0, "temp": 2.0}
TWO_PHASES = {"classification_weight": 0.5, "head_share": 0.2, "head_lr_factor": 0.05}
RELATIONS = {**TWO_PHASES, "old_logits_weight": 0.15, "angle_weight": 0.5}
CWD = {**RELATIONS, "alignment_weight": 0.1, "consistency_weight": 0.05,
       "deep_inv_params": [1e-3, 50.0, 0.0, 1e3, 1.0]}
RELAY = {**TWO_PHASES, "dist_dreams_weight": 0.15, "dist_real_weight": 0.15, "relay_weight": 0.05}


class Number(NamedTuple):
    """A cell: as printed, and its percentages; NaN if there is none."""

    text: str = ""
    mean: float = nan
    std: float = nan


class Method(NamedTuple):
    """A row: runs with exactly this ``--learner_name``, a coreset or none, and the method's own settings."""

    name: str
    learner: str
    settings: dict[str, Any] = {}
    memory: int = 0


METHODS = {method.name: method for method in (
    Method("UB", "NormalNN"),  # trained on all classes as one task, or with --oracle_flag
    Method("Base", "NormalNN"),
    Method("LwF", "LWF", DISTILLED),
    Method("LwF.MC", "LWF_MC"),
    Method("DGR", "Generative_Replay", {**DISTILLED, "gen_model_name": "CIFAR_GEN", "weight_decay": 0.0}),
    Method("DeepInversion", "DeepInversionGenBN", {**DISTILLED, **DREAM_LOSS}),
    Method("LwF-Synthetic", "DeepInversionLWF", {"mu": 0.1, "temp": 2.0, **DREAM_LOSS}),
    Method("ABD", "AlwaysBeDreaming", {"mu": 0.1, "finetune_seen": False, **DREAM_LOSS}),  # "Ours"
    Method("Naive Rehearsal", "NormalNN", memory=2000),
    Method("LwF (coreset)", "LWF", DISTILLED, memory=2000),
    Method("E2E", "ETE", DISTILLED, memory=2000),
    Method("BiC", "BIC", {"temp": 2.0, "bias_at_test": False}, memory=2000),
    Method("R-DFCIL", "RDFCIL", {**RELATIONS, **DREAM_LOSS}),
    Method("CwD", "CwD", CWD),
    Method("RFD", "RFD", {**RELAY, **DREAM_LOSS}),
)}


class Study(NamedTuple):
    """A published table and the protocol of its runs; by default none.

    Attributes:
        name: the publication and what a cell is.
        protocol: settings of every run. dreams: of the runs that dream.
        over_images: accuracies are over all test images of the classes seen, not means over tasks.
        rows: {method: {number of classes of each task: its number}}, as far as the publication has them.
    """

    name: str = ""
    dataset: str = ""
    protocol: dict[str, Any] = {}
    dreams: dict[str, Any] = {}
    over_images: bool = False
    rows: dict[str, dict[tuple[int, ...], Number]] = {}


def read(splits: Sequence[tuple[int, ...]], table: str) -> dict[str, dict[tuple[int, ...], Number]]:
    """The rows of a printed table, with a column for each split."""
    rows = {}
    for line in table.strip().splitlines():
        name, *cells = (cell.strip() for cell in line.split("|"))
        rows[name] = {
            split: Number(cell, *map(float, re.findall(r"[\d.]+", cell.partition(" / ")[0])))
            for split, cell in zip(splits, cells, strict=True)}
    return rows


def half_first(dataset: str, classes: int, generator: str, weight_decay: float, table: str) -> Study:
    """R-DFCIL's protocol: half of the classes first, then 5, 10 or 25 tasks (docs/successors.md)."""
    protocol = {
        **PROTOCOL, "model_type": "rdfcil_resnet", "transforms": "rdfcil", "schedule": [80, 120, 200],
        "weight_decay": weight_decay}
    half = classes // 2
    return Study(
        "Gao et al. 2022, final accuracy over images ± std (n or n-1 unstated) / average", dataset, protocol,
        {"gen_model_name": generator, "power_iters": 5000}, True,
        read([(half, *[half // tasks] * tasks) for tasks in (5, 10, 25)], table))


PROTOCOL = {
    "model_type": "resnet", "transforms": "abd", "model_name": "resnet32", "train_aug": True,
    "rand_split": True, "optimizer": "SGD", "lr": 0.1, "momentum": 0.9, "weight_decay": 2e-4,
    "schedule": [100, 150, 200, 250], "schedule_type": "decay", "batch_size": 128, "DW": False,
    "validation": False, "precision": "fp32", "class_order": [], "incomplete_data": False,
    "images_per_class": 0, "image_size": 0, "oracle_flag": False, "weights": "", "freeze": False}
STUDIES = (
    Study(  # std (n) is numpy.std's default in the published code
        "Smith et al. 2021, final accuracy ± std (n)", "CIFAR100", PROTOCOL,
        {"gen_model_name": "CIFAR_GEN", "power_iters": 10000}, False,
        read([(20,) * 5, (10,) * 10, (5,) * 20], """
            UB              | 69.9 ± 0.2 | 69.9 ± 0.2 | 69.9 ± 0.2
            Base            | 16.4 ± 0.4 |  8.8 ± 0.1 |  4.4 ± 0.3
            LwF             | 17.0 ± 0.1 |  9.2 ± 0.0 |  4.7 ± 0.1
            LwF.MC          | 32.5 ± 1.0 | 17.1 ± 0.1 |  7.7 ± 0.5
            DGR             | 14.4 ± 0.4 |  8.1 ± 0.1 |  4.1 ± 0.3
            DeepInversion   | 18.8 ± 0.3 | 10.9 ± 0.6 |  5.7 ± 0.3
            ABD             | 43.9 ± 0.9 | 33.7 ± 1.2 | 20.0 ± 1.4
            Naive Rehearsal | 34.0 ± 0.2 | 24.0 ± 1.0 | 14.9 ± 0.7
            LwF (coreset)   | 39.4 ± 0.3 | 27.4 ± 0.8 | 16.6 ± 0.4
            E2E             | 47.4 ± 0.8 | 38.4 ± 1.3 | 32.7 ± 1.9
            BiC             | 53.7 ± 0.4 | 45.9 ± 1.8 | 37.5 ± 3.2
            """)),
    half_first("CIFAR100", 100, "CIFAR_GEN", 5e-4, """
        ABD     | 50.55 ± 1.14 / 62.40 | 43.65 ± 2.40 / 58.97 | 25.27 ± 1.09 / 48.91
        R-DFCIL | 54.76 ± 0.76 / 64.78 | 49.70 ± 0.61 / 61.71 | 30.01 ± 0.56 / 49.95
        """),
    half_first("TinyImageNet", 200, "TINYIMNET_GEN", 2e-4, """
        ABD     | 33.18 / 44.55        | 27.34 / 41.64        | 16.46 / 34.47
        R-DFCIL | 40.44 / 48.91        | 38.19 / 47.60        | 27.29 / 40.85
        """))
