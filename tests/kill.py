"""Kill real runs at random moments, start each again with the same command, and compare how it ends with a
run left alone.

    python tests/kill.py --kills 40 [--seed 0] [--learners NormalNN ...] [--flags --schedule 2 3 ...]

Every process is killed with SIGKILL: half of them after a time that is uniform over the duration of the
undisturbed run, the others at a random one of its file operations (open, rename, delete, create a folder). A
run is killed again and again until it ends before its moment; it is then compared, and the next one begins.
Exit status 1 if a run failed or ended differently.
"""

import argparse
import functools
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent
sys.path[:0] = [str(TESTS.parent), str(TESTS)]

# Two repeats of three tasks; the generator learns in two rounds.
FLAGS = "--repeat 2 --max_task 3 --schedule 1 2 --batch_size 16 --power_iters 255 --no_figures 0".split()
# Killed processes leave semaphores of tqdm's to multiprocessing's tracker, which would say so.
QUIET = "ignore::UserWarning:multiprocessing.resource_tracker"
OPERATIONS = {"open", "os.rename", "os.remove", "os.mkdir", "os.truncate"}


def command(flags: list[str], output: Path, fatal: int | str | None) -> None:
    """``run.py`` with these flags, in a process of its own, which kills itself before the ``fatal``-th
    operation on a file of its folder, or at the ``fatal`` moment (see ``die_at``). One that ends writes how
    many operations there were."""
    import run
    from utils.errors import run_main

    operations = []

    def watch(event: str, arguments: tuple) -> None:
        if event in OPERATIONS and flags[-1] in str(arguments[0]):
            operations.append(event)
            if len(operations) == fatal:
                os.kill(os.getpid(), signal.SIGKILL)

    if isinstance(fatal, str):
        die_at(fatal)
    sys.addaudithook(watch)
    terminal = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(terminal, 1)
    os.dup2(terminal, 2)
    status = run_main("run.py", lambda: run.main(flags))
    output.with_suffix(".operations").write_text(str(len(operations)))
    sys.exit(status)


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


class Runner:
    """Starts processes that have imported everything already, so that a moment is one of the run."""

    def __init__(self) -> None:
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["run", "sklearn.datasets", "torch._inductor"])

    def start(self, flags: list[str], output: Path, limit: float | None = None,
              fatal: int | str | None = None) -> int:
        """Return the exit status, -9 if killed ``limit`` seconds after its start or at ``fatal``."""
        process = self.context.Process(target=command, args=(flags, output, fatal))
        process.start()
        process.join(limit)
        if process.is_alive():
            process.kill()
            process.join()
        return process.exitcode


def ending(folder: Path) -> dict[str, object]:
    """What must be the same: results, weights and pictures byte by byte, all records and the log's accuracies
    without times, and which files there are."""
    from conftest import lasting_files

    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for record in records:
        record.pop("seconds", None)
    lines = (folder / "output.log").read_text().splitlines()
    return {
        **lasting_files(folder),
        **{path.name: path.read_bytes() for path in folder.glob("figures/**/*.png")},
        "metrics.jsonl": records,
        "output.log": [line.partition("  trained")[0] for line in lines if "accuracy" in line],
        "files": sorted(str(path.relative_to(folder)) for path in folder.rglob("*")),
    }


def campaign(folder: Path, learners: list[str], kills: int, seed: int, more: list[str]) -> bool:
    """Print one line per run and a summary. Returns whether every run ended as it should."""
    from conftest import tiny_flags

    runner, moments = Runner(), random.Random(seed)
    runner.start(["--help"], folder / "warm")
    undisturbed: dict[str, tuple[float, int, dict[str, object]]] = {}
    for learner in learners:
        alone, output, began = folder / f"{learner}-alone", folder / f"{learner}-alone.txt", time.monotonic()
        if status := runner.start(tiny_flags(learner, *FLAGS, *more, "--log_dir", alone), output):
            print(f"{learner}: status {status} undisturbed, see {output}")
            return False
        duration = time.monotonic() - began
        operations = int(output.with_suffix(".operations").read_text())
        undisturbed[learner] = duration, operations, ending(alone)
        print(f"{learner}: {duration:.1f} s and {operations} file operations undisturbed", flush=True)

    done, runs, differed = 0, 0, []
    while done < kills:
        learner = learners[runs % len(learners)]
        duration, operations, expected = undisturbed[learner]
        runs += 1
        log_dir, output, at = folder / f"{learner}-{runs}", folder / f"{learner}-{runs}.txt", []
        while True:
            timed, operation = moments.uniform(0, duration), moments.randint(1, operations)
            limit, fatal = moments.choice([(timed, None), (None, operation)])
            if done == kills:
                limit = fatal = None
            flags = tiny_flags(learner, *FLAGS, *more, "--log_dir", log_dir)
            status = runner.start(flags, output, limit, fatal)
            if status != -signal.SIGKILL:
                break
            done += 1
            at.append(f"{limit:.1f} s" if limit else f"operation {fatal}")
        wrong = [f"status {status}"] if status else []
        if not wrong:
            found = ending(log_dir)
            names = sorted(found.keys() | expected.keys())
            wrong = [name for name in names if found.get(name) != expected.get(name)]
        if wrong:
            differed.append(log_dir)
        ended = "differs in " + ", ".join(wrong) if wrong else "as undisturbed"
        print(f"{learner}: killed at {', '.join(at) or 'no moment'}: {ended}", flush=True)
    counts = f"{runs - len(differed)} resumed, {len(differed)} differed (seed {seed})"
    print(f"{done} kills over {len(learners)} learners in {runs} runs: {counts}")
    return not differed


def main() -> int:
    from learners import LEARNERS

    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--learners", nargs="+", default=sorted(LEARNERS), choices=sorted(LEARNERS))
    parser.add_argument("--folder", type=Path, help="where runs are left; default: a temporary one")
    parser.add_argument("--flags", nargs=argparse.REMAINDER, default=[], help="run.py's; must come last")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="kill-"))
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["PYTHONWARNINGS"] = QUIET
    return 0 if campaign(folder, given.learners, given.kills, given.seed, given.flags) else 1


if __name__ == "__main__":
    sys.exit(main())
