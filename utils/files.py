"""Files that are complete or absent: YAML, arrays, tensors with a checksum, and the lock of a folder."""

import copy
import errno
import fcntl
import hashlib
import io
import os
import platform
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
import yaml

from utils.errors import UserError

DIGEST = hashlib.sha256().digest_size


def expand_home(path: str, where: str = "") -> str:
    """Replace ``~`` or ``~name`` at the beginning of a path; YAML and ``--flag=~/x`` never see a shell.

    Args:
        where: the flag or file that errors name.

    Raises UserError if that home is not known, so that no folder is called ``~`` by mistake.
    """
    expanded = os.path.expanduser(path)
    if expanded.startswith("~"):
        home = path.partition("/")[0]
        prefix = f"{where}: " if where else ""
        raise UserError(f"{prefix}{path!r}: the home folder {home} is not known; write the whole path")
    return expanded


def user_path(text: str) -> Path:
    """A path from a command line. A relative one starts from the folder in which a script was started,
    which is not where the script runs programs (experiments/common.sh)."""
    return Path(os.environ.get("STARTED_IN", ""), expand_home(text))


@contextmanager
def replacing(path: Path, keeping: Path | None = None) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to, which takes its place if the block ends without an error.

    Args:
        keeping: gets what was in ``path`` before.
    """
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
    """Write YAML with keys in their order."""
    with replacing(path) as partial:
        text = yaml.safe_dump(content, sort_keys=False, default_flow_style=None)
        partial.write_text(text, encoding="utf-8")


def write_array(path: Path, content: np.ndarray) -> None:
    """Write an array that ``np.load`` reads."""
    with replacing(path) as partial, partial.open("wb") as file:
        np.save(file, content, allow_pickle=False)


def write_tensors(path: Path, content: Any, keeping: Path | None = None) -> None:
    """Write what ``torch.save`` gives and, after it, its SHA-256; ``torch.load`` reads the file all the same.

    All tensors are written as the CPU's: a machine without a GPU loads them. They pass through memory: a full
    disk is then an OSError, and the bytes do not depend on the file's name.
    """
    buffer = io.BytesIO()
    torch.save(on_cpu(content), buffer)
    buffer.write(hashlib.sha256(buffer.getbuffer()).digest())
    with replacing(path, keeping) as partial:
        partial.write_bytes(buffer.getbuffer())


def read_tensors(path: Path) -> Any:
    """Read what ``write_tensors`` wrote, onto the CPU: tensors and plain values, never code.
    Raises OSError, or ValueError if the file is anything else or a bit of it has changed."""
    written = path.read_bytes()
    content, digest = written[:-DIGEST], written[-DIGEST:]
    if hashlib.sha256(content).digest() != digest:
        raise ValueError("its checksum is wrong")
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def on_cpu(content: Any) -> Any:
    """Copy every tensor in nested dicts, lists and tuples to the CPU, unless it is there already.
    The host waits for a GPU once, whatever the number of tensors."""
    devices: set[torch.device] = set()
    moved = _copied(content, devices)
    for device in devices:
        torch.cuda.current_stream(device).synchronize()
    return moved


def _copied(content: Any, devices: set[torch.device]) -> Any:
    """Start the copies of ``on_cpu`` and add the devices they come from to ``devices``."""
    if isinstance(content, torch.Tensor) and content.device.type != "cpu":
        devices.add(content.device)
        return content.detach().to("cpu", non_blocking=True)  # into pinned memory, so that nothing waits
    if isinstance(content, dict):
        copied = copy.copy(content)  # keeps what a state_dict has besides its items
        copied.update({name: _copied(value, devices) for name, value in content.items()})
        return copied
    if isinstance(content, (list, tuple)):
        parts = [_copied(value, devices) for value in content]
        return type(content)(*parts) if hasattr(content, "_fields") else type(content)(parts)
    return content


# Numbers that YAML 1.1 or Python reads otherwise than people: 010 (8), 0x10, 1_0 (10), 1:30 (90).
ODD_NUMBER = re.compile(r"[_:]|^\s*[-+]?0[\dxb]")


class Loader(yaml.SafeLoader):
    """Refuses a key that is there twice, of which PyYAML takes the last. Odd numbers stay text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = set()
        for key, _ in node.value:
            if key.value in keys:
                problem = f"{key.value} is there twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            keys |= {key.value} if isinstance(key, yaml.ScalarNode) else set()
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> Any:
        if ODD_NUMBER.search(node.value):
            return node.value
        return self.construct_yaml_int(node) if node.tag.endswith(":int") else self.construct_yaml_float(node)


for _number in ("int", "float"):
    Loader.add_constructor(f"tag:yaml.org,2002:{_number}", Loader.construct_number)


def load_yaml(path: str | Path) -> Any:
    """Whatever a YAML file holds. Raises OSError if it cannot be read, UserError if it is not valid YAML."""
    text = Path(path).read_bytes()
    try:
        return yaml.load(text.decode(), Loader)
    except Exception as error:  # besides its own, PyYAML raises those of int(), dates and deep nesting
        raise UserError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises UserError."""
    try:
        content = load_yaml(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: must hold lines of the form 'name: value'")
    return content


def lock_folder(path: Path) -> tuple[TextIO, str]:
    """Lock a folder by its ``run.lock`` until the file is closed or the process ends.

    Returns the open file and a line for the log, which is empty unless the file system has no locks. Raises
    UserError if another process holds the lock, OSError if the folder cannot be written.
    """
    file = (path / "run.lock").open("a+", encoding="utf-8")
    note = ""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # across hosts on NFS, and not inherited by workers
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            file.seek(0)
            owner = " ".join(file.read(200).split()) or "another process"
            file.close()
            raise UserError(f"--log_dir {path}: in use by {owner}; wait, stop it or choose another") from None
        note = "the file system of --log_dir has no locks, so nothing prevents a second run in this folder"
    file.truncate(0)
    file.write(f"pid {os.getpid()} on {platform.node()} since {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
    file.flush()
    return file, note
