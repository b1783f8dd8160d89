"""The learners by ``--learner_name``: every class in a file of this folder that names its ``learner_type``.

A new learner is one new file: copy the one nearest to the idea and change ``loss``. What it refuses and
its own flags (a dataclass on Settings, as in bic.py) are in that file too.
"""

import importlib
import pkgutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch

from dataloaders.datasets import DATASETS
from dataloaders.orders import read_order
from dataloaders.sets.imagenet import named_classes
from dataloaders.transforms import TRANSFORMS
from learners.base import Learner, Stage
from models import FAMILIES, GENERATORS, RESNETS, image_generator
from utils.arithmetic import memory_format
from utils.errors import UserError
from utils.settings import Reader, Registry, Settings
from utils.streams import Streams, seeded_weights

for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_file.name}")


def _descendants(kind: type[Learner]) -> Iterator[type[Learner]]:
    for child in kind.__subclasses__():
        yield child
        yield from _descendants(child)


def _by_name(kinds: Iterable[type[Learner]]) -> dict[str, type[Learner]]:
    """Raises UserError where two classes share a name, as when a file was copied and its class not renamed."""
    found: dict[str, type[Learner]] = {}
    for kind in kinds:
        if kind.learner_type and found.setdefault(kind.__name__, kind) is not kind:
            files = (f"{one.__module__.replace('.', '/')}.py" for one in (found[kind.__name__], kind))
            raise UserError(f"{' and '.join(files)} both have a class {kind.__name__}; rename the copy")
    return found


def _class_order(given: Any, others: Mapping[str, Any], where: str) -> list[int]:
    classes = len(others.get("imagenet_classes", [])) or DATASETS[others.get("dataset", Settings.dataset)].classes
    return read_order(given, classes, where)


# In the order in which they are read.
_READERS: dict[str, Reader] = {"imagenet_classes": lambda given, others, where: named_classes(given, where), "class_order": _class_order}
_NAMES = {
    "dataset": list(DATASETS), "transforms": list(TRANSFORMS), "model_type": list(FAMILIES), "model_name": list(RESNETS),
    "gen_model_name": list(GENERATORS)}
try:
    LEARNERS: dict[str, type[Learner]] = _by_name(_descendants(Learner))
    REGISTRY = Registry(LEARNERS, _NAMES, _READERS)
except UserError as error:  # of a new file; every command imports this before it can say so itself
    print(error, file=sys.stderr)
    sys.exit(error.status)


def build_learner(settings: Settings, streams: Streams, device: torch.device, repeat: int, task: int = 0) -> Learner:
    """The learner with the initial weights of a repeat (of a task of it, with ``--oracle_flag``), on the device."""
    learner_class = LEARNERS[settings.learner_name]
    with seeded_weights(settings.seed + repeat, task):
        networks: list[Any] = [learner_class.new_model(settings)]
        if learner_class.generator_type:
            networks.append(image_generator(settings.gen_model_type, settings.gen_model_name))
    return learner_class(settings, streams, *(network.to(memory_format=memory_format(settings, device)) for network in networks)).to(device)


__all__ = ["LEARNERS", "REGISTRY", "Learner", "Stage", "build_learner"]
