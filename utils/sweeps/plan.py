"""Which runs scripts would start: they are run once with a $PYTHON that only writes down how it is called."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from learners import REGISTRY
from utils.command_line import parse
from utils.errors import UserError
from utils.settings import Settings
from utils.sweeps.engines import Run

LONG = 60.0  # seconds for a script whose runs are not done

# Stands for the interpreter: writes down how it was called, the number of words and the words.
RECORDER = '#!/bin/sh\nprintf "%s\\0" "$#" "$@" >> "$SWEEP_CALLS"\n'


def calls(script: str) -> list[list[str]]:
    """How a script calls $PYTHON or python; those calls are not done, all else in it is. Raises UserError."""
    if not Path(script).is_file():
        raise UserError(f"{script}: there is no such script")
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder, "calls")
        record.touch()
        for name in ("sweep-recorder", "python", "python3"):
            Path(folder, name).write_text(RECORDER, encoding="utf-8")
            Path(folder, name).chmod(0o755)
        if not os.access(Path(folder, "python"), os.X_OK):
            raise UserError(f"{folder}: no program may run in temporary folders here; set TMPDIR to a folder where it may")
        # By its name, found on PATH: scripts write $PYTHON without quotes, and a path may have spaces.
        there = {**os.environ, "PYTHON": "sweep-recorder", "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "SWEEP_CALLS": str(record)}
        nowhere = subprocess.DEVNULL
        with subprocess.Popen(["sh", script], env=there, stdin=nowhere, stdout=nowhere, stderr=subprocess.PIPE, start_new_session=True) as shell:
            try:
                _, errors = shell.communicate(timeout=LONG)
            except BaseException as error:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(shell.pid, signal.SIGKILL)  # and what it has started
                if isinstance(error, subprocess.TimeoutExpired):
                    raise UserError(f"{script}: does something of its own that takes long; it must call run.py by $PYTHON") from None
                raise
        words = iter(os.fsdecode(record.read_bytes()).split("\0")[:-1])
    if shell.returncode:
        lines = errors.decode(errors="replace").splitlines() or ["without a message"]
        raise UserError(f"{script}: ends with status {shell.returncode}: {lines[-1]}")
    return [[next(words) for _ in range(int(count))] for count in words]


class Plan:
    """The runs of scripts. Raises UserError where one is wrong.

    Attributes:
        runs: each once, in the order of the scripts.
        afterwards: what else the scripts do with Python, the tables; (call, the runs of its script).
    """

    def __init__(self, scripts: Sequence[str]):
        self.afterwards: list[tuple[list[str], list[Run]]] = []
        known: dict[Path, tuple[Run, Settings]] = {}
        for script in scripts:
            own: list[Run] = []
            for call in calls(script):
                if [Path(word).name for word in call[:1]] != ["run.py"]:
                    self.afterwards.append((call, own))
                    continue
                try:
                    settings = dataclasses.replace(parse(REGISTRY, call[1:]), gpuid=[0])
                except UserError as error:
                    raise UserError(f"{script}: {error}") from error
                if settings.overwrite:
                    raise UserError(f"{script}: --log_dir {settings.log_dir}: --overwrite 1 would start each attempt from scratch; use --overwrite 0")
                place = Path(settings.log_dir).resolve()
                side_by_side = min(settings.parallel, settings.repeat)
                new = Run(settings.log_dir, call[1:], Path(settings.log_dir), settings.threads, side_by_side)
                run, other = known.setdefault(place, (new, settings))
                differ = [name for name, value in vars(settings).items() if name != "log_dir" and value != getattr(other, name, None)]
                if differ:
                    raise UserError(f"{script}: --log_dir {settings.log_dir} is there twice, with another --{differ[0]}")
                own.append(run)
            if not own:
                raise UserError(f"{script}: calls no run.py by $PYTHON")
        self.runs = [run for run, _ in known.values()]
        for run, settings in known.values():
            if settings.load_model_dir:
                run.after = known.get(Path(settings.load_model_dir).resolve(), (None,))[0]
        for run in self.runs:
            chain = [run]
            while (before := chain[-1].after) and len(chain) <= len(self.runs):
                chain.append(before)
            if before:
                raise UserError(f"--load_model_dir: {run.name} waits for itself, by way of {chain[1].name}")
