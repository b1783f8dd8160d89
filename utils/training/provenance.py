"""The code, packages and device that a run was computed with, recorded in its folder."""

import hashlib
import inspect
import platform
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from learners import Learner

ROOT = Path(__file__).resolve().parents[2]
PROVENANCE = "provenance.yaml"  # in the run's folder


def git(*words: str) -> str:
    """What git prints about this repository, or "" if it fails. It takes no lock that a commit waits for."""
    command = ["git", "--no-optional-locks", "-C", str(ROOT), *words]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def digest(paths: Iterable[Path]) -> str:
    """A short fingerprint of files' contents."""
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()[:12]


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return model[1] if model else platform.processor() or platform.machine()


def provenance(learner: type[Learner], device: torch.device) -> dict[str, str]:
    """The commit, code, packages and device that compute a run from here on."""
    folders = [ROOT / name for name in ("learners", "models", "dataloaders", "utils")]
    code = [ROOT / "run.py", *sorted(path for folder in folders for path in folder.rglob("*.py"))]
    own = {Path(inspect.getfile(kind)): None for kind in learner.__mro__ if issubclass(kind, Learner)}
    commit = git("rev-parse", "HEAD")
    changed = "yes" if git("status", "--porcelain", "--", *map(str, code)) else "no"
    return {
        "commit": commit or "unknown", "uncommitted_changes": changed if commit else "unknown",
        "code": digest(code), "learner": digest(own), "python": platform.python_version(),
        "torch": str(torch.__version__), "numpy": np.__version__, "device": device.type,
        "device_name": device_name(device)}


def changes(before: dict[str, str], now: dict[str, str]) -> str:
    """How the provenance of a run has changed, in one phrase; "" if it has not."""
    changed = [name for name in now if name != "uncommitted_changes" and before.get(name) != now[name]]
    return ", ".join(
        f"the {name} has changed" if name in ("code", "learner") else
        f"{name} {before.get(name)} before, {now[name]} now" for name in changed)
