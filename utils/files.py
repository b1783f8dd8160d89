"""Files that are complete or absent: written beside their place, then renamed."""

import copy
import hashlib
import io
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from utils.errors import UserError

DIGEST = hashlib.sha256().digest_size
# Of a zip archive, the last record; of what torch wrote before 1.6, the first bytes: a pickled number.
ZIP_END, ZIP_END_SIZE = b"PK\x05\x06", 22
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


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
    """The path that a command line names."""
    return Path(expand_home(text))


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


def read_yaml(path: Path) -> dict[str, Any]:
    """A mapping out of a file. Raises UserError, naming the file."""
    try:
        return dict(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or type(error).__name__})") from error
    except Exception as error:  # beside its own errors, PyYAML lets those of int(), dates and deep nesting through
        raise UserError(f"{path} cannot be read ({type(error).__name__})") from error


def on_cpu(content: Any) -> Any:
    """The same with every tensor in the CPU's memory, in dicts, lists and tuples of any depth. What lies there already stays as it is;
    a GPU is waited for once, whatever the number of tensors."""
    left: set[torch.device] = set()
    moved = _copied(content, left)
    for device in left:
        torch.cuda.current_stream(device).synchronize()
    return moved


def _copied(content: Any, left: set[torch.device]) -> Any:
    """What ``on_cpu`` gives, with copies under way from the devices that ``left`` then names."""
    if isinstance(content, torch.Tensor):
        if content.device.type == "cpu":
            return content
        left.add(content.device)
        return content.detach().to("cpu", non_blocking=True)  # torch takes pinned memory for it, so that nothing waits
    if isinstance(content, dict):
        moved = {name: _copied(value, left) for name, value in content.items()}
        if all(moved[name] is content[name] for name in content):
            return content
        other = copy.copy(content)  # with what a state_dict has beside its items
        other.update(moved)
        return other
    if isinstance(content, (list, tuple)):
        parts = [_copied(value, left) for value in content]
        if all(part is value for part, value in zip(parts, content)):
            return content
        return type(content)(*parts) if hasattr(content, "_fields") else type(content)(parts)
    return content


def write_tensors(path: Path, content: Any, keeping: Path | None = None) -> None:
    """``torch.save`` and, after it, the SHA-256 of its bytes; ``torch.load`` reads the file all the same.
    By way of memory: a full disk is an OSError then, and the bytes don't depend on the file's name. All tensors are written as the CPU's,
    so that a machine without that GPU loads them, too."""
    buffer = io.BytesIO()
    torch.save(on_cpu(content), buffer)
    buffer.write(hashlib.sha256(buffer.getbuffer()).digest())
    with replacing(path, keeping) as partial:
        partial.write_bytes(buffer.getbuffer())


def read_tensors(path: Path) -> Any:
    """What ``write_tensors`` wrote, on the CPU: tensors and plain values, never code.
    Raises an exception of some kind where the file is anything else or a bit of it has changed."""
    written = path.read_bytes()
    content, digest = written[:-DIGEST], written[-DIGEST:]
    if hashlib.sha256(content).digest() != digest:
        raise ValueError("its checksum is another")
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def has_checksum(path: Path) -> bool:
    """Whether ``write_tensors`` wrote the file, rather than ``torch.save`` alone: that one's files end as zip archives do or,
    of torch before 1.6, begin with its own mark."""
    with path.open("rb") as file:
        begin = file.read(len(LEGACY))
        file.seek(max(0, file.seek(0, os.SEEK_END) - ZIP_END_SIZE))
        return begin != LEGACY and not (begin.startswith(b"PK") and file.read(4) == ZIP_END)


def read_plain_tensors(path: Path) -> Any:
    """What ``torch.save`` wrote, on whatever device, on the CPU: tensors and plain values, never code.
    Raises an exception of some kind where the file is anything else; an archive's own check sums are looked at."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise ValueError(f"{damaged} in it is damaged")
    return torch.load(path, map_location="cpu", weights_only=True)
