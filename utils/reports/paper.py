"""Every published number, and which settings make a run a row of a published table.

Tables 1 and 2 are those of Always Be Dreaming (Smith et al. 2021), 3 and 4 the CIFAR-100 and TinyImageNet
parts of R-DFCIL's table (Gao et al. 2022). Cells: final accuracy in percent ± deviation over three repeats /
average incremental accuracy.
"""

import re
from dataclasses import dataclass, field
from math import nan
from typing import Any, NamedTuple

DREAM_LOSS = {"deep_inv_params": [1e-3, 50.0, 1e-3, 1e3, 1.0]}
TWO_PHASES = {"classification_weight": 0.5, "head_share": 0.2, "head_lr_factor": 0.05}
RELATIONS = {**TWO_PHASES, "old_logits_weight": 0.15, "angle_weight": 0.5}
CWD = {
    **RELATIONS, "alignment_weight": 0.1, "consistency_weight": 0.05,
    "deep_inv_params": [1e-3, 50.0, 0.0, 1e3, 1.0]}
RELAY = {**TWO_PHASES, "dist_dreams_weight": 0.15, "dist_real_weight": 0.15, "relay_weight": 0.05}


class Number(NamedTuple):
    """Published percentages; NaN if the publication has none."""

    mean: float = nan
    std: float = nan
    average: float = nan


@dataclass(frozen=True)
class Method:
    """A row of the tables: the runs with exactly this ``--learner_name``, with or without a coreset.

    Attributes:
        memory: images in the coreset.
        settings: the method's own published settings.
    """

    name: str
    learner: str
    settings: dict[str, Any] = field(default_factory=dict, hash=False)
    memory: int = 0


METHODS = {method.name: method for method in (
    Method("UB", "NormalNN"),  # trained on all classes as one task, or with --oracle_flag
    Method("Base", "NormalNN"),
    Method("LwF", "LWF", {"mu": 1.0, "temp": 2.0}),
    Method("LwF.MC", "LWF_MC"),
    Method(
        "DGR", "Generative_Replay",
        {"mu": 1.0, "temp": 2.0, "gen_model_name": "CIFAR_GEN", "weight_decay": 0.0}),
    Method("DeepInversion", "DeepInversionGenBN", {"mu": 1.0, "temp": 2.0, **DREAM_LOSS}),
    Method("LwF-Synthetic", "DeepInversionLWF", {"mu": 0.1, "temp": 2.0, **DREAM_LOSS}),
    Method("ABD (Ours)", "AlwaysBeDreaming", {"mu": 0.1, **DREAM_LOSS}),
    Method("Naive Rehearsal", "NormalNN", memory=2000),
    Method("LwF (coreset)", "LWF", {"mu": 1.0, "temp": 2.0}, memory=2000),
    Method("E2E", "ETE", {"mu": 1.0, "temp": 2.0}, memory=2000),
    Method("BiC", "BIC", {"temp": 2.0, "bias_at_test": False}, memory=2000),
    Method("ABD", "AlwaysBeDreaming", {"mu": 0.1, **DREAM_LOSS}),
    Method("R-DFCIL", "RDFCIL", {**RELATIONS, **DREAM_LOSS}),
    Method("CwD", "CwD", CWD),
    Method("RFD", "RFD", {**RELAY, **DREAM_LOSS}),
)}


@dataclass(frozen=True, eq=False)
class Study:
    """What the tables of one publication share.

    Attributes:
        name: its protocol's name in headings.
        dataset: ``--dataset``.
        classes: of the data set.
        protocol: settings of every run.
        dreams: settings of the runs that dream.
        columns: {number of equal tasks: (classes of the first task, of each other task)}.
        over_images: accuracies are over all test images of the classes seen, not means over tasks.
        deviation: the kind of deviation that the publication prints.
    """

    name: str
    dataset: str
    classes: int
    protocol: dict[str, Any]
    dreams: dict[str, Any]
    columns: dict[int, tuple[int, int]]
    over_images: bool
    deviation: str

    def heading(self, column: int) -> str:
        first, other = self.columns[column]
        return f"{column} tasks" if first == other else f"{first} + {column} x {other}"

    def sizes(self, column: int) -> list[int]:
        """The number of classes of each task."""
        first, other = self.columns[column]
        return [first, *[other] * ((self.classes - first) // other)]


PROTOCOL = {
    "model_type": "resnet", "transforms": "abd", "model_name": "resnet32", "train_aug": True,
    "rand_split": True,
    "optimizer": "SGD", "lr": 0.1, "momentum": 0.9, "weight_decay": 2e-4, "schedule": [100, 150, 200, 250],
    "schedule_type": "decay", "batch_size": 128, "DW": False, "max_task": -1, "validation": False,
    "precision": "fp32",
    "class_order": [], "incomplete_data": False, "images_per_class": 0, "oracle_flag": False,
}
PAPER = Study(
    "published protocol", "CIFAR100", 100, PROTOCOL, {"gen_model_name": "CIFAR_GEN", "power_iters": 10000},
    {5: (20, 20), 10: (10, 10), 20: (5, 5)}, False, "std (n)")  # numpy.std's default in the published code


def _half_first(dataset: str, classes: int, generator: str, weight_decay: float) -> Study:
    """R-DFCIL's protocol: half of the classes first, then 5, 10 or 25 tasks (docs/successors.md,
    "Protocol")."""
    protocol = {
        **PROTOCOL, "model_type": "rdfcil_resnet", "transforms": "rdfcil", "schedule": [80, 120, 200],
        "weight_decay": weight_decay}
    half = classes // 2
    return Study(
        "R-DFCIL's protocol", dataset, classes, protocol, {"gen_model_name": generator, "power_iters": 5000},
        {tasks: (half, half // tasks) for tasks in (5, 10, 25)}, True, "std (n or n-1 unstated)")


CIFAR100 = _half_first("CIFAR100", 100, "CIFAR_GEN", 5e-4)
TINYIMAGENET = _half_first("TinyImageNet", 200, "TINYIMNET_GEN", 2e-4)


@dataclass(frozen=True, eq=False)
class Table:
    """A published table.

    Attributes:
        rows: {method: {column: its number}}, in printed order; {} for a method that the publication lacks.
    """

    number: int
    title: str
    study: Study
    rows: dict[Method, dict[int, Number]]


def _table(number: int, title: str, study: Study, text: str) -> Table:
    rows: dict[Method, dict[int, Number]] = {}
    for line in text.strip().splitlines():
        name, *cells = (cell.strip() for cell in line.split("|"))
        found = [re.fullmatch(r"([\d.]+)(?: ± ([\d.]+))?(?: / ([\d.]+))?", cell) for cell in cells]
        rows[METHODS[name]] = {
            column: Number(*(float(part or nan) for part in match.groups()))
            for column, match in zip(study.columns, found) if match}
    return Table(number, title, study, rows)


TABLES = {table.number: table for table in (
    _table(1, "no coreset", PAPER, """
        UB              | 69.9 ± 0.2 | 69.9 ± 0.2 | 69.9 ± 0.2
        Base            | 16.4 ± 0.4 |  8.8 ± 0.1 |  4.4 ± 0.3
        LwF             | 17.0 ± 0.1 |  9.2 ± 0.0 |  4.7 ± 0.1
        LwF.MC          | 32.5 ± 1.0 | 17.1 ± 0.1 |  7.7 ± 0.5
        DGR             | 14.4 ± 0.4 |  8.1 ± 0.1 |  4.1 ± 0.3
        DeepInversion   | 18.8 ± 0.3 | 10.9 ± 0.6 |  5.7 ± 0.3
        LwF-Synthetic   |            |            |
        ABD (Ours)      | 43.9 ± 0.9 | 33.7 ± 1.2 | 20.0 ± 1.4
        R-DFCIL         |            |            |
        CwD             |            |            |
        RFD             |            |            |
        """),
    _table(2, "with a coreset", PAPER, """
        UB              | 69.9 ± 0.2 | 69.9 ± 0.2 | 69.9 ± 0.2
        Naive Rehearsal | 34.0 ± 0.2 | 24.0 ± 1.0 | 14.9 ± 0.7
        LwF (coreset)   | 39.4 ± 0.3 | 27.4 ± 0.8 | 16.6 ± 0.4
        E2E             | 47.4 ± 0.8 | 38.4 ± 1.3 | 32.7 ± 1.9
        BiC             | 53.7 ± 0.4 | 45.9 ± 1.8 | 37.5 ± 3.2
        ABD (Ours)      | 43.9 ± 0.9 | 33.7 ± 1.2 | 20.0 ± 1.4
        """),
    _table(3, "CIFAR-100, half of the classes first", CIFAR100, """
        DeepInversion   |                      |                      |
        ABD             | 50.55 ± 1.14 / 62.40 | 43.65 ± 2.40 / 58.97 | 25.27 ± 1.09 / 48.91
        R-DFCIL         | 54.76 ± 0.76 / 64.78 | 49.70 ± 0.61 / 61.71 | 30.01 ± 0.56 / 49.95
        CwD             |                      |                      |
        RFD             |                      |                      |
        """),
    _table(4, "TinyImageNet, half of the classes first", TINYIMAGENET, """
        DeepInversion   |                      |                      |
        ABD             | 33.18 / 44.55        | 27.34 / 41.64        | 16.46 / 34.47
        R-DFCIL         | 40.44 / 48.91        | 38.19 / 47.60        | 27.29 / 40.85
        CwD             |                      |                      |
        RFD             |                      |                      |
        """),
)}
UB = METHODS["UB"]
STUDIES = list(dict.fromkeys(table.study for table in TABLES.values()))
