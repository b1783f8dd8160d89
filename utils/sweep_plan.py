"""The runs of scripts, found by running a script with a $PYTHON that only notes how it is called."""

import dataclasses
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from learners import REGISTRY
from utils.command_line import parse
from utils.errors import UserError
from utils.settings import Settings

# In place of Python: writes down the number of its arguments and the arguments.
RECORDER = '#!/bin/sh\nprintf "%s\\0" "$#" "$@" >> "$SWEEP_CALLS"\n'


@dataclasses.dataclass(eq=False)
class Run:
    """One run of run.py, named by its --log_dir.

    Attributes:
        after: the run whose first task this one takes over.
        state: waiting, started, done or failed.
        begun: size of the console file in bytes when the latest attempt began.
    """

    name: str
    arguments: list[str]
    settings: Settings
    after: "Run | None" = None
    state: str = "waiting"
    attempts: int = 0
    begun: int = 0

    def printed(self) -> bytes:
        console = Path(self.name, "console.log")
        return console.read_bytes() if console.exists() else b""

    def last_line(self) -> str:
        """Return the last line of the latest attempt, or "" if it has printed nothing yet."""
        return self.printed()[self.begun :].decode(errors="replace").rstrip().rpartition("\n")[2]


def recorded_calls(script: Path) -> list[list[str]]:
    """Run a script with a recorder as $PYTHON and return the arguments of its calls. Raises UserError."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder, "calls")
        record.touch()
        for name in ("recorder", "python", "python3"):
            Path(folder, name).write_text(RECORDER, encoding="utf-8")
            Path(folder, name).chmod(0o755)
        # Found by name on PATH: a script may write $PYTHON without quotes, and the folder may contain spaces.
        path = f"{folder}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PYTHON": "recorder", "PATH": path, "SWEEP_CALLS": str(record)}
        done = subprocess.run(["sh", script], env=environment, stdin=subprocess.DEVNULL, capture_output=True)
        words = iter(os.fsdecode(record.read_bytes()).split("\0")[:-1])
    if done.returncode:
        message = done.stderr.decode(errors="replace").rstrip().rpartition("\n")[2]
        raise UserError(f"{script}: ends with status {done.returncode}: {message}")
    return [[next(words) for _ in range(int(count))] for count in words]


def planned(scripts: list[Path]) -> tuple[list[Run], list[list[str]]]:
    """Return the scripts' runs, those that take over a first task last, and their other calls of Python.
    Raises UserError if a script fails, starts no run or has a wrong flag."""
    runs: dict[Path, Run] = {}
    other_calls: list[list[str]] = []
    for script in scripts:
        calls = recorded_calls(script)
        if ["run.py"] not in [call[:1] for call in calls]:
            raise UserError(f'{script}: starts no run; a script starts runs with "$PYTHON" run.py')
        for call in calls:
            if call[0] == "run.py":
                add_runs(call[1:], runs)
            elif call not in other_calls:
                other_calls.append(call)
    return sorted(runs.values(), key=lambda run: run.after is not None), other_calls


def add_runs(arguments: list[str], runs: dict[Path, Run]) -> None:
    """Add the runs of a call of run.py, one per seed, to those of the calls before it. Raises UserError."""
    settings = dataclasses.replace(parse(REGISTRY, arguments), gpuid=[0])
    folder, source = settings.log_dir, settings.load_model_dir
    if settings.overwrite:
        raise UserError(f"--log_dir {folder}: --overwrite 1 would delete what a retry resumes; use 0")
    seeds = range(settings.seed, settings.seed + settings.repeat)
    sources = {seed: f"{source}/seed-{seed}" for seed in seeds if source}
    split_source = all(Path(path).resolve() in runs or os.path.isdir(path) for path in sources.values())
    # A run begun with all repeats in one folder continues there; so does one that takes first tasks from it.
    split = settings.repeat > 1 and split_source and not Path(folder, "args.yaml").exists()
    one = settings.repeat == 1
    for seed in seeds if split else seeds[:1]:
        changes: dict[str, Any] = {}
        if split:
            changes = {"seed": seed, "repeat": 1, "log_dir": f"{folder}/seed-{seed}"}
        if source and split_source and (split or one):
            changes["load_model_dir"] = sources[seed]
        flags = [str(word) for name, value in changes.items() for word in (f"--{name}", value)]
        settings = dataclasses.replace(settings, **changes)
        run = Run(settings.log_dir, [*arguments, *flags], settings)
        run.after = runs.get(Path(settings.load_model_dir).resolve()) if source else None
        if runs.setdefault(Path(run.name).resolve(), run).settings != settings:
            raise UserError(f"--log_dir {run.name}: another run of this sweep has it, with other settings")
