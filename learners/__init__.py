"""The learners by ``--learner_name``: every class in a file of this folder that names its ``learner_type``.

A new learner is one new file: copy the one nearest to the idea and change ``loss``. What it refuses and its
own flags (a dataclass on Settings, as in bic.py) are in that file too. A file that can't be used stops nobody
who doesn't ask for its learner.
"""

import importlib
import pkgutil
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from dataloaders.datasets import DATASETS
from dataloaders.orders import read_order
from dataloaders.sets.imagenet import named_classes
from dataloaders.transforms import TRANSFORMS
from learners.base import Learner, Stage
from models import FAMILIES, GENERATORS, RESNETS, image_generator
from utils.device import memory_format
from utils.errors import UserError
from utils.settings import Reader, Registry, Settings, flags_of
from utils.streams import Streams, seeded_weights

UNUSABLE: dict[str, str] = {}  # name of a learner that can't be chosen -> why, in a line that names the file
WARNINGS: list[str] = []  # lines about files that can't be used, for commands to print


def _refuse(file: str, names: Iterable[str], reason: str) -> None:
    line = f"{file}: {reason}" if file else reason
    WARNINGS.append(line)
    UNUSABLE.update(dict.fromkeys(names, line))


def _file_of(kind: type) -> str:
    return f"{kind.__module__.replace('.', '/')}.py"


def _in_a_line(error: Exception) -> str:
    where = f"line {error.lineno}: " if isinstance(error, SyntaxError) else ""
    return f"{where}{type(error).__name__}: {' '.join(str(error).split())}"


def _read_files() -> None:
    """Import every file of this folder, so that its classes are known."""
    for module in pkgutil.iter_modules(__path__):
        try:
            importlib.import_module(f"{__name__}.{module.name}")
        except Exception as error:  # whatever is in a user's file
            path = Path(__path__[0], f"{module.name}.py")
            source = path.read_text(errors="replace") if path.is_file() else ""
            classes = re.findall(r"^class (\w+)", source, re.MULTILINE)
            _refuse(f"learners/{path.name}", [*classes, module.name], _in_a_line(error))


def _descendants(kind: type[Learner]) -> Iterator[type[Learner]]:
    for child in kind.__subclasses__():
        yield child
        yield from _descendants(child)


def _usable() -> dict[str, type[Learner]]:
    """Return the learners that can be chosen, in the order of their files; fill UNUSABLE and WARNINGS."""
    found: dict[str, type[Learner]] = {}
    flags = flags_of(Settings, {})
    kinds = list(dict.fromkeys(_descendants(Learner)))
    for name in dict.fromkeys(kind.__name__ for kind in kinds):
        same = [kind for kind in kinds if kind.__name__ == name]
        kind = same[0]
        if len(same) > 1:
            *before, last = (_file_of(one) for one in same)
            _refuse(f"{', '.join(before)} and {last}", [name], f"both have a class {name}; rename the copy")
        elif not kind.learner_type:
            reason = f'{name} has no learner_type; give it one, such as learner_type = "kd"'
            UNUSABLE[name] = f"{_file_of(kind)}: {reason}"
        else:
            try:
                flags |= flags_of(kind.Settings, flags)
                found[name] = kind
            except UserError as error:
                _refuse("", [name], str(error))
    return found


def _class_order(given: Any, others: Mapping[str, Any], where: str) -> list[int]:
    dataset = DATASETS[others.get("dataset", Settings.dataset)]
    return read_order(given, len(others.get("imagenet_classes", [])) or dataset.classes, where)


# In the order in which they are read.
_READERS: dict[str, Reader] = {
    "imagenet_classes": lambda given, others, where: named_classes(given, where), "class_order": _class_order}
_NAMES = {
    "dataset": list(DATASETS), "transforms": list(TRANSFORMS), "model_type": list(FAMILIES),
    "model_name": list(RESNETS), "gen_model_name": list(GENERATORS)}
_read_files()
LEARNERS: dict[str, type[Learner]] = _usable()
REGISTRY = Registry(LEARNERS, _NAMES, _READERS, UNUSABLE)


def build_learner(
    settings: Settings, streams: Streams, device: torch.device, repeat: int, task: int = 0,
) -> Learner:
    """The learner with the initial weights of a repeat (of a task of it, with ``--oracle_flag``), on the
    device."""
    learner_class = LEARNERS[settings.learner_name]
    with seeded_weights(settings.seed + repeat, task):
        networks: list[Any] = [learner_class.new_model(settings)]
        if learner_class.generator_type:
            networks.append(image_generator(settings.gen_model_type, settings.gen_model_name))
    form = memory_format(settings, device)
    networks = [network.to(memory_format=form) for network in networks]
    return learner_class(settings, streams, *networks).to(device)


__all__ = ["LEARNERS", "REGISTRY", "UNUSABLE", "WARNINGS", "Learner", "Stage", "build_learner"]
