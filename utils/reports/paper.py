"""What the paper published (Smith et al. 2021, tables 1 and 2): its protocol, and its tables out of the learners' own lines."""

from dataclasses import replace
from typing import Any

from learners import LEARNERS
from learners.published import Method

CLASSES = 100
SPLITS = (5, 10, 20)  # tasks, the columns of both tables
PAPER_REPEATS = 3

PROTOCOL: dict[str, Any] = {
    "dataset": "CIFAR100", "model_type": "resnet", "transforms": "abd", "model_name": "resnet32", "train_aug": True, "rand_split": True,
    "optimizer": "SGD", "lr": 0.1, "momentum": 0.9, "weight_decay": 2e-4, "schedule": [100, 150, 200, 250], "schedule_type": "decay",
    "batch_size": 128, "DW": False, "max_task": -1, "validation": False, "precision": "fp32", "class_order": [], "seed": 0, "incomplete_data": 0,
}

# The upper bound is no learner of its own: NormalNN with all classes as one task.
UB = Method("UB", {5: (69.9, 0.2), 10: (69.9, 0.2), 20: (69.9, 0.2)}, tables=(1, 2), learner_name="NormalNN")

# {number: (title, the paper's lines in their order)}; lines of other learners follow.
PRINTED = {
    1: ("no coreset", ("UB", "Base", "LwF", "LwF.MC", "DGR", "DeepInversion", "LwF-Synthetic", "ABD (Ours)", "R-DFCIL", "CwD", "RFD")),
    2: ("with a coreset", ("UB", "Naive Rehearsal", "LwF (coreset)", "E2E", "BiC", "ABD (Ours)")),
}
_LINES = [UB, *(replace(line, learner_name=name) for name, learner in LEARNERS.items() for line in learner.published)]


def _sorted(number: int, order: tuple[str, ...]) -> list[Method]:
    lines = [line for line in _LINES if number in line.tables]
    return sorted(lines, key=lambda line: order.index(line.name) if line.name in order else len(order))


# {number: (title, lines)}
TABLES: dict[int, tuple[str, list[Method]]] = {number: (title, _sorted(number, order)) for number, (title, order) in PRINTED.items()}
