"""The files of a package that is a registry: whoever adds a file there need not name it anywhere."""

import importlib
import pkgutil
from collections.abc import Iterable


def import_files(package: str, path: Iterable[str]) -> dict[str, str]:
    """Import every file of a package and return those that fail: {name: a line that says why}. A mistake in a
    user's file stops nobody who doesn't ask for what is in it."""
    failed = {}
    for module in pkgutil.iter_modules(path):
        try:
            importlib.import_module(f"{package}.{module.name}")
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            failed[module.name] = f"{package.replace('.', '/')}/{module.name}.py: {reason}"
    return failed
