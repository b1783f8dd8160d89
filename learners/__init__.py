"""The learners by ``--learner_name``: every class in a file of this folder that names its ``learner_type``.

A new learner is one new file: copy the one nearest to the idea and change ``loss``. What it refuses and its
own flags (a dataclass on Settings, as in bic.py) are in that file too. A broken file gives a one-line warning
and disables only its own learners.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from dataloaders.datasets import DATASETS, image_side
from dataloaders.image_folder import PREFIX, class_folders, dataset_name
from dataloaders.orders import read_order
from dataloaders.sets.imagenet import named_classes
from dataloaders.transforms import TRANSFORMS
from learners.base import Learner, Stage
from learners.checks import reads
from models import FAMILIES, GENERATORS, NETWORKS, check_copies, image_generator, load_backbone
from utils.device import memory_format
from utils.discovery import import_files
from utils.errors import UserError
from utils.settings import Flag, Registry, Settings, flags_of
from utils.streams import Streams, global_state_seeded, seed_of

LEARNERS: dict[str, type[Learner]] = {}
UNUSABLE: dict[str, str] = {}  # name of a learner that can't be chosen -> why, in a line that names the file
WARNINGS: list[str] = []  # lines about files that can't be used, for commands to print


def _refuse(names: Iterable[str], line: str) -> None:
    WARNINGS.append(line)
    UNUSABLE.update(dict.fromkeys(names, line))


def _subclasses(parent: type[Learner]) -> Iterator[type[Learner]]:
    for child in parent.__subclasses__():
        yield child
        yield from _subclasses(child)


def _find_learners() -> dict[str, Flag]:
    """Put every class of this folder into LEARNERS or, if it can't be chosen, into UNUSABLE. Return all
    flags."""
    for name, line in import_files(__name__, __path__).items():
        text = Path(__path__[0], f"{name}.py").read_text(errors="replace")
        _refuse([name, *re.findall(r"^class (\w+)", text, re.MULTILINE)], line)
    flags, found = flags_of(Settings, {}), defaultdict[str, list[type[Learner]]](list)
    for learner in dict.fromkeys(_subclasses(Learner)):
        found[learner.__name__].append(learner)
    for name, (learner, *others) in found.items():
        files = [f"{kind.__module__.replace('.', '/')}.py" for kind in (learner, *others)]
        if others:
            _refuse([name], f"{' and '.join(files)}: both have a class {name}; rename the copy")
        elif not learner.learner_type:  # a base of others, so no reason to warn
            UNUSABLE[name] = f'{files[0]}: {name} has no learner_type; give it one, such as "kd"'
        else:
            try:
                flags |= flags_of(learner.Settings, flags)
                LEARNERS[name] = learner
            except (UserError, NameError, TypeError) as error:
                _refuse([name], f"{files[0]}: {error}")
    return flags


def _class_order(given: Any, others: Mapping[str, Any], where: str) -> list[int]:
    name = others.get("dataset", Settings.dataset)
    known = len(others.get("imagenet_classes", [])) or others.get("classes", 0) or DATASETS[name].classes
    return read_order(given, known or len(class_folders(name)), where) if given else []


_FLAGS = _find_learners()
for _name, _choices in {
        "learner_name": LEARNERS, "learner_type": sorted({kind.learner_type for kind in LEARNERS.values()}),
        "dataset": [*DATASETS, f"{PREFIX}PATH"], "transforms": TRANSFORMS, "model_type": FAMILIES,
        "model_name": dict.fromkeys(name for _, name in NETWORKS), "gen_model_name": GENERATORS}.items():
    _FLAGS[_name]["choices"] = list(_choices)
_NICKNAMES = {"ours": "AlwaysBeDreaming", "base": "NormalNN", "ub": "NormalNN"}  # of the papers' tables
_NICKNAMES |= {kind.__module__.rpartition(".")[2]: name for name, kind in LEARNERS.items()}
_NICKNAMES |= {name.lower(): name for name in LEARNERS}
REGISTRY = Registry(
    LEARNERS, reads, _FLAGS,
    {"dataset": dataset_name, "imagenet_classes": lambda given, others, where: named_classes(given, where),
     "class_order": _class_order},
    UNUSABLE, _NICKNAMES)


def build_learner(
    settings: Settings, streams: Streams, device: torch.device, repeat: int, task: int = 0,
) -> Learner:
    """Return the learner on the device, with the initial weights of a repeat (of one of its tasks, with
    ``--oracle_flag``)."""
    learner_class, notes = LEARNERS[settings.learner_name], []
    with global_state_seeded(seed_of(settings.seed + repeat, task, "weights")):
        model = learner_class.new_model(settings)
        side = image_side(settings)
        check_copies(model, (3, side, side))
        if settings.weights:
            notes.append(load_backbone(model, settings.weights))
        if settings.freeze:
            model.freeze()
        networks: list[Any] = [model]
        if learner_class.generator_type:
            networks.append(image_generator(settings.gen_model_type, settings.gen_model_name, side))
    form = memory_format(settings, device)
    networks = [network.to(memory_format=form) for network in networks]
    learner = learner_class(settings, streams, *networks).to(device)
    learner.first_notes = notes
    return learner


__all__ = ["LEARNERS", "REGISTRY", "UNUSABLE", "WARNINGS", "Learner", "Stage", "build_learner"]
