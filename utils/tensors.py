"""Tensors in files: on the CPU, with a checksum, and read without running code."""

import copy
import hashlib
import io
import os
import zipfile
from pathlib import Path
from typing import Any

import torch

from utils.files import replacing

DIGEST = hashlib.sha256().digest_size
# Of a zip archive, the last record; of what torch wrote before 1.6, the first bytes: a pickled number.
ZIP_END, ZIP_END_SIZE = b"PK\x05\x06", 22
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


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
