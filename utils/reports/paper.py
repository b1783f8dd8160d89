"""What the paper published (Smith et al. 2021, tables 1 and 2): its protocol and methods as settings, and its numbers."""

from dataclasses import dataclass, field
from typing import Any

CLASSES = 100
# Whose first task is the same training, so that one may take it over from another (--load_model_dir). ABD's is over all outputs.
SAME_FIRST_TASK = ("NormalNN", "LWF", "ETE", "BIC", "DeepInversionGenBN", "DeepInversionLWF")
SPLITS = (5, 10, 20)  # tasks, the columns of both tables
PAPER_REPEATS = 3

PROTOCOL: dict[str, Any] = {
    "dataset": "CIFAR100", "model_type": "resnet", "model_name": "resnet32", "train_aug": True, "rand_split": True,
    "optimizer": "SGD", "lr": 0.1, "momentum": 0.9, "weight_decay": 2e-4, "schedule": [100, 150, 200, 250], "schedule_type": "decay",
    "batch_size": 128, "DW": False, "max_task": -1, "validation": False, "precision": "fp32", "class_order": [], "seed": 0,
}
DREAMS: dict[str, Any] = {"gen_model_name": "CIFAR_GEN", "power_iters": 10000, "deep_inv_params": [1e-3, 50.0, 1e-3, 1e3, 1.0]}


@dataclass(frozen=True, eq=False)
class Method:
    """A line of the paper's tables.

    Attributes:
        settings: those that make a run the method's, beyond the protocol's or in their stead.
        numbers: {tasks: (mean, population std)} of final accuracy in percent over three repeats; empty where the paper has none.
    """

    name: str
    learner_name: str
    numbers: dict[int, tuple[float, float]] = field(default_factory=dict)
    memory: int = 0
    settings: dict[str, Any] = field(default_factory=dict)


def _numbers(*pairs: tuple[float, float]) -> dict[int, tuple[float, float]]:
    return dict(zip(SPLITS, pairs, strict=True))


UB = Method("UB", "NormalNN", _numbers((69.9, 0.2), (69.9, 0.2), (69.9, 0.2)))
OURS = Method("ABD (Ours)", "AlwaysBeDreaming", _numbers((43.9, 0.9), (33.7, 1.2), (20.0, 1.4)), settings={"mu": 0.1, **DREAMS})
_KD = {"mu": 1.0, "temp": 2.0}

# {number: (title, lines)}
TABLES: dict[int, tuple[str, list[Method]]] = {
    1: ("no coreset", [
        UB,
        Method("Base", "NormalNN", _numbers((16.4, 0.4), (8.8, 0.1), (4.4, 0.3))),
        Method("LwF", "LWF", _numbers((17.0, 0.1), (9.2, 0.0), (4.7, 0.1)), settings=_KD),
        Method("LwF.MC", "LWF_MC", _numbers((32.5, 1.0), (17.1, 0.1), (7.7, 0.5))),
        Method("DGR", "Generative_Replay", _numbers((14.4, 0.4), (8.1, 0.1), (4.1, 0.3)),
               settings={**_KD, "gen_model_name": "CIFAR_GEN", "weight_decay": 0.0}),
        Method("DeepInversion", "DeepInversionGenBN", _numbers((18.8, 0.3), (10.9, 0.6), (5.7, 0.3)), settings={**_KD, **DREAMS}),
        Method("LwF-Synthetic", "DeepInversionLWF", settings={"mu": 0.1, "temp": 2.0, **DREAMS}),
        OURS,
    ]),
    2: ("with a coreset", [
        UB,
        Method("Naive Rehearsal", "NormalNN", _numbers((34.0, 0.2), (24.0, 1.0), (14.9, 0.7)), 2000),
        Method("LwF (coreset)", "LWF", _numbers((39.4, 0.3), (27.4, 0.8), (16.6, 0.4)), 2000, _KD),
        Method("E2E", "ETE", _numbers((47.4, 0.8), (38.4, 1.3), (32.7, 1.9)), 2000, _KD),
        Method("BiC", "BIC", _numbers((53.7, 0.4), (45.9, 1.8), (37.5, 3.2)), 2000, {"temp": 2.0}),
        OURS,
    ]),
}
