"""Files that are complete or absent: written beside their place, then renamed."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from utils.errors import UserError


def expand_home(path: str, where: str = "") -> str:
    """``path`` with ``~`` or ``~name`` at its beginning as the home folder it stands for: YAML and ``--flag=~/x`` never see a shell.

    Args:
        where: the flag or file that errors name.

    Raises UserError where that home is not known: no folder is ever called ``~`` by mistake.
    """
    expanded = os.path.expanduser(path)
    if expanded.startswith("~"):
        home = path.partition("/")[0]
        raise UserError(f"{where}{': ' * bool(where)}{path!r}: the home folder {home} is not known; write the whole path, or ./{path}")
    return expanded


def user_path(text: str) -> Path:
    """The path that a command line names; a relative one is of the folder where a script was started, which is not the one that it
    runs programs in (experiments/common.sh)."""
    return Path(os.environ.get("STARTED_IN", ""), expand_home(text))


@contextmanager
def replacing(path: Path, keeping: Path | None = None) -> Iterator[Path]:
    """A path beside ``path`` to write to; it takes ``path``'s place when the block ends without an error.
    What was there until then becomes ``keeping``, where that is named."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        if keeping and path.exists():
            os.replace(path, keeping)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_yaml(path: Path, content: Any) -> None:
    with replacing(path) as partial:
        partial.write_text(yaml.safe_dump(content, sort_keys=False, default_flow_style=None), encoding="utf-8")


def write_array(path: Path, content: np.ndarray) -> None:
    """As ``np.load`` reads it."""
    with replacing(path) as partial, partial.open("wb") as file:
        np.save(file, content, allow_pickle=False)


# Numbers that YAML 1.1 or Python reads otherwise than people: 010 (8), 0x10, 1_0 (10), 1:30 (90).
ODD_NUMBER = re.compile(r"[_:]|^\s*[-+]?0[\dxb]")


class Loader(yaml.SafeLoader):
    """Refuses a key that is there twice, of which PyYAML takes the last. Odd numbers stay text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = set()
        for key, _ in node.value:
            if key.value in keys:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} is there twice", key.start_mark)
            keys |= {key.value} if isinstance(key, yaml.ScalarNode) else set()
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> Any:
        return node.value if ODD_NUMBER.search(node.value) else super().construct_yaml_int(node)

    def construct_yaml_float(self, node: yaml.ScalarNode) -> Any:
        return node.value if ODD_NUMBER.search(node.value) else super().construct_yaml_float(node)


Loader.add_constructor("tag:yaml.org,2002:int", Loader.construct_yaml_int)
Loader.add_constructor("tag:yaml.org,2002:float", Loader.construct_yaml_float)


def load_yaml(path: str | Path) -> Any:
    """What a YAML file holds. Raises OSError where it cannot be read and exceptions of many kinds where it is no valid YAML: beside
    its own errors, PyYAML lets those of int(), dates and deep nesting through."""
    return yaml.load(Path(path).read_text(encoding="utf-8"), Loader)


def read_yaml(path: Path) -> dict[str, Any]:
    """A mapping out of a file. Raises UserError, naming the file."""
    try:
        return dict(load_yaml(path))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or type(error).__name__})") from error
    except Exception as error:
        raise UserError(f"{path} cannot be read ({type(error).__name__})") from error
