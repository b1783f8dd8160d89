"""What was published: the paper's protocol (Smith et al. 2021) and R-DFCIL's, and their tables out of the learners' own lines."""

from dataclasses import dataclass, replace
from typing import Any

from learners import LEARNERS
from learners.published import Method

CLASSES = 100
SPLITS = (5, 10, 20)  # tasks, the columns of both tables
PAPER_REPEATS = 3

PROTOCOL: dict[str, Any] = {
    "dataset": "CIFAR100", "model_type": "resnet", "transforms": "abd", "model_name": "resnet32", "train_aug": True, "rand_split": True,
    "optimizer": "SGD", "lr": 0.1, "momentum": 0.9, "weight_decay": 2e-4, "schedule": [100, 150, 200, 250], "schedule_type": "decay",
    "batch_size": 128, "DW": False, "max_task": -1, "validation": False, "precision": "fp32", "class_order": [], "seed": 0, "incomplete_data": False,
}

# Of a run whose schedule and dreaming are as published but so many times shorter: what its length is called.
LENGTHS = {2: "half", 3: "a third", 4: "a quarter", 5: "a fifth", 10: "a tenth", 20: "a twentieth", 50: "a fiftieth", 100: "a hundredth"}


@dataclass(frozen=True, eq=False)
class Study:
    """What the tables of a publication have in common.

    Attributes:
        name: of its protocol, as the tables are labelled.
        data: as figures name it.
        protocol: settings of every run.
        columns: {column: (classes of the first task, of every other)}.
        over_images: whether its accuracies are over all test images of the classes seen, not means over tasks.
    """

    name: str
    data: str
    protocol: dict[str, Any]
    columns: dict[int, tuple[int, int]]
    over_images: bool = False

    def shortened(self, times: int) -> str:
        """The name of its protocol, so many times shorter (LENGTHS) and otherwise as published."""
        return f"{self.name} at {LENGTHS[times]} of its length"

    def compares(self, label: str) -> bool:
        """Whether the publication's numbers belong beside the runs of a protocol: at its own length, or a shorter one."""
        return label in (self.name, *map(self.shortened, LENGTHS))

    def heading(self, column: int) -> str:
        first, other = self.columns[column]
        return f"{column} tasks" if first == other else f"{first} + {column} x {other}"

    def tasks(self, column: int) -> int:
        """How many are learned, a larger first one included."""
        first, other = self.columns[column]
        return column if first == other else column + 1


PAPER = Study("published protocol", "CIFAR-100", PROTOCOL, {tasks: (CLASSES // tasks, CLASSES // tasks) for tasks in SPLITS})


def _half_first_study(data: str, classes: int, **more: Any) -> Study:
    """R-DFCIL's: half of the classes first, then 5, 10 or 25 tasks. docs/successors.md, "Protocol"."""
    protocol = {
        **PROTOCOL, "dataset": data.replace("-", ""), "model_type": "rdfcil_resnet", "transforms": "rdfcil", "schedule": [80, 120, 200],
        "power_iters": 5000, **more}
    half = classes // 2
    return Study("R-DFCIL's protocol", data, protocol, {tasks: (half, half // tasks) for tasks in (5, 10, 25)}, over_images=True)


HALF_FIRST = {
    3: _half_first_study("CIFAR-100", 100, weight_decay=5e-4, gen_model_name="CIFAR_GEN"),
    4: _half_first_study("TinyImageNet", 200, weight_decay=2e-4, gen_model_name="TINYIMNET_GEN"),
}
STUDIES = {1: PAPER, 2: PAPER, **HALF_FIRST}

# The upper bound is no learner of its own: NormalNN with all classes as one task.
UB = Method("UB", {5: (69.9, 0.2), 10: (69.9, 0.2), 20: (69.9, 0.2)}, tables=(1, 2), learner_name="NormalNN")

# {number: (title, the publication's lines in their order)}; lines of other learners follow.
PRINTED = {
    1: ("no coreset", ("UB", "Base", "LwF", "LwF.MC", "DGR", "DeepInversion", "LwF-Synthetic", "ABD (Ours)", "R-DFCIL", "CwD", "RFD")),
    2: ("with a coreset", ("UB", "Naive Rehearsal", "LwF (coreset)", "E2E", "BiC", "ABD (Ours)")),
    **{number: (f"{study.data}, half of the classes first", ("DeepInversion", "ABD", "R-DFCIL", "CwD", "RFD"))
       for number, study in HALF_FIRST.items()},
}
_LINES = [UB, *(replace(line, learner_name=name) for name, learner in LEARNERS.items() for line in learner.published)]


def _sorted(number: int, order: tuple[str, ...]) -> list[Method]:
    lines = [line for line in _LINES if number in line.tables]
    return sorted(lines, key=lambda line: order.index(line.name) if line.name in order else len(order))


# {number: (title, lines)}
TABLES: dict[int, tuple[str, list[Method]]] = {number: (title, _sorted(number, order)) for number, (title, order) in PRINTED.items()}
