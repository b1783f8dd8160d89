"""Real processes of run.py that kill themselves at a chosen moment, for tests/test_kill.py."""

import functools
import json
import multiprocessing
import os
import signal
import sys
from pathlib import Path
from typing import Any

from conftest import lasting_files

# Killed processes leave semaphores of tqdm's to multiprocessing's tracker, which would say so.
QUIET = "ignore::UserWarning:multiprocessing.resource_tracker"


def command(flags: list[str], output: Path, moment: str) -> None:
    """Run ``run.py`` with these flags, in a process of its own, up to a moment (see ``die_at``)."""
    import run
    from utils.errors import run_main

    die_at(moment)
    terminal = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(terminal, 1)
    os.dup2(terminal, 2)
    sys.exit(run_main("run.py", lambda: run.main(flags)))


def die_at(moment: str) -> None:
    """Let a run save after every epoch, dream in rounds of two steps and kill itself at a moment: what it has
    just done (a listener's moment, or "saved") and the place, such as "step_taken 0 1 0 2"."""
    from learners import dreaming
    from utils.training import folder
    from utils.training.trainer import Trainer

    folder.SAVING_SHARE = 1e9
    dreaming.Iterations = functools.partial(dreaming.Iterations, round=2)
    tell, save = Trainer.tell, Trainer.save

    def reached(what: str, trainer: Trainer) -> None:
        if " ".join([what, *map(str, vars(trainer.state.place).values())]) == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    def telling(self: Trainer, what: Any, *more: Any) -> None:
        tell(self, what, *more)
        reached(what.__name__, self)

    def saving(self: Trainer) -> None:
        save(self)
        reached("saved", self)

    Trainer.tell, Trainer.save = telling, saving


def start(flags: list[str], output: Path, moment: str) -> int:
    """Run in a process that has imported everything already; returns its exit status, -9 if it reached the
    moment."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["run", "sklearn.datasets", "torch._inductor"])
    process = context.Process(target=command, args=(flags, output, moment))
    process.start()
    process.join()
    return process.exitcode


def ending(folder: Path) -> dict[str, object]:
    """What must be the same: results and weights byte by byte, all records and the log's accuracies without
    times, and which files there are."""
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for record in records:
        record.pop("seconds", None)
    lines = (folder / "output.log").read_text().splitlines()
    return {
        **lasting_files(folder),
        "metrics.jsonl": records,
        "output.log": [line.partition("  trained")[0] for line in lines if "accuracy" in line],
        "files": sorted(str(path.relative_to(folder)) for path in folder.rglob("*")),
    }
