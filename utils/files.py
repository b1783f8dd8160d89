"""Files that are complete or absent: YAML, arrays, tensors with a checksum, and the lock of a folder."""

import errno
import fcntl
import hashlib
import io
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
import yaml
from torch.utils._pytree import tree_leaves, tree_map_only

from utils.errors import UserError

NO_SYNC = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)  # the answers of file systems without fsync


def expand(path: str, where: str = "") -> str:
    """Replace ``~`` and ``$VARIABLE`` in a path, since YAML never sees a shell. Raises UserError, beginning
    with ``where``, if one is not known."""
    expanded = os.path.expanduser(os.path.expandvars(path))
    if expanded.startswith("~") or "$" in expanded:
        raise UserError(f"{where}: {path!r} names a user or variable that does not exist here")
    return expanded


def user_path(text: str) -> Path:
    """A path from a command line. A relative one starts from the folder in which a script was started,
    which is not where the script runs programs (experiments/common.sh)."""
    return Path(os.environ.get("STARTED_IN", ""), os.path.expanduser(text))


@contextmanager
def replacing(path: Path, keeping: Path | None = None) -> Iterator[Path]:
    """Yield a path to write to, which takes the place of ``path`` if the block ends without an error. What
    was there before becomes ``keeping``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        try:
            with partial.open("r+b") as written:
                os.fsync(written.fileno())
        except OSError as error:
            if error.errno not in NO_SYNC:
                raise
        if keeping and path.exists():
            os.replace(path, keeping)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_yaml(path: Path, content: Any) -> None:
    with replacing(path) as partial:
        text = yaml.safe_dump(content, sort_keys=False, default_flow_style=None)
        partial.write_text(text, encoding="utf-8")


def write_array(path: Path, content: np.ndarray) -> None:
    with replacing(path) as partial, partial.open("wb") as file:
        np.save(file, content, allow_pickle=False)


def write_tensors(path: Path, content: Any, keeping: Path | None = None) -> None:
    """Write what ``torch.save`` gives and, after it, its SHA-256, which ``torch.load`` ignores. Tensors are
    written as the CPU's, so that a machine without a GPU loads them."""
    buffer = io.BytesIO()  # a full disk is then an OSError, and the bytes do not depend on the file's name
    torch.save(on_cpu(content), buffer)
    buffer.write(hashlib.sha256(buffer.getbuffer()).digest())
    with replacing(path, keeping) as partial:
        partial.write_bytes(buffer.getbuffer())


def read_tensors(path: Path) -> Any:
    """Read what ``write_tensors`` wrote, onto the CPU: tensors and plain values, never code.
    Raises OSError, or ValueError if the file is anything else or a bit of it has changed."""
    written = path.read_bytes()
    content, digest = written[:-32], written[-32:]
    if hashlib.sha256(content).digest() != digest:
        raise ValueError("its checksum is wrong")
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def on_cpu(content: Any) -> Any:
    """Copy every tensor in nested dicts, lists and tuples to the CPU. The host waits for a GPU once, whatever
    the number of tensors; what is on the CPU already is returned itself."""
    on_gpu = next((leaf for leaf in tree_leaves(content) if getattr(leaf, "is_cuda", False)), None)
    if on_gpu is None:
        return content
    moved = tree_map_only(torch.Tensor, lambda tensor: tensor.to("cpu", non_blocking=True), content)
    torch.cuda.current_stream(on_gpu.device).synchronize()
    return moved


def load_yaml(path: str | Path) -> Any:
    """Whatever a YAML file holds. Raises UserError if it cannot be read or is not valid YAML."""
    try:
        return yaml.safe_load(Path(path).read_bytes().decode())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # besides its own, PyYAML raises those of int(), dates and deep nesting
        raise UserError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises UserError."""
    content = load_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: must hold lines of the form 'name: value'")
    return content


def lock_folder(path: Path) -> tuple[TextIO, str]:
    """Lock a folder until the file that is returned is closed or the process ends; the text is a line for the
    log if the file system has no locks. Raises UserError if another process holds the lock, or OSError."""
    file, note = (path / "run.lock").open("a+", encoding="utf-8"), ""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # across hosts on NFS, and not inherited by workers
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            file.seek(0)
            owner = file.read().strip() or "another process"
            raise UserError(f"--log_dir {path}: in use by {owner}; wait, stop it or choose another") from None
        note = "the file system of --log_dir has no locks, so nothing prevents a second run in this folder"
    file.truncate(0)
    file.write(f"pid {os.getpid()} on {platform.node()} since {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
    file.flush()
    return file, note
