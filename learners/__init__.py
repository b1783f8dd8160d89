"""The learners by ``--learner_name``: every class in a file of this folder that names its ``learner_type``.

A new learner is one new file: copy the one nearest to the idea and change ``loss``.
"""

import importlib
import pkgutil
from collections.abc import Iterator

from learners.base import Learner, Stage

for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_file.name}")


def _descendants(kind: type[Learner]) -> Iterator[type[Learner]]:
    for child in kind.__subclasses__():
        yield child
        yield from _descendants(child)


LEARNERS: dict[str, type[Learner]] = {kind.__name__: kind for kind in _descendants(Learner) if kind.learner_type}

__all__ = ["LEARNERS", "Learner", "Stage"]
