"""Accuracy after each task of some runs, side by side.

    python -m utils.tables outputs/demo/base outputs/demo/abd
"""

import math
import sys
from pathlib import Path

import yaml

from utils.errors import UserError
from utils.metrics import mean_std


def read_history(run: Path) -> list[list[float]]:
    """[after task][repeat] accuracy in percent of a run; NaN where it has not come so far. Raises UserError."""
    path = run / "results-acc" / "global.yaml"
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))["history"]
    except (OSError, yaml.YAMLError, TypeError, KeyError) as error:
        raise UserError(f"{run}: {path} cannot be read ({type(error).__name__}); has the run finished a task?") from error


def accuracy_table(runs: list[Path]) -> str:
    """A line a run: mean accuracy after each task over its repeats, and the final mean ± population std."""
    histories = {run: read_history(run) for run in runs}
    tasks = max(len(history) for history in histories.values())
    width = max(len("accuracy (%) after task"), *(len(run.name) for run in runs))
    lines = [f"{'accuracy (%) after task':{width}}" + "".join(f"{task + 1:7}" for task in range(tasks)) + "   final       repeats"]
    for run, history in histories.items():
        known = [[value for value in row if not math.isnan(value)] for row in history]
        cells = "".join(f"{mean_std(row)[0]:7.1f}" if row else " " * 7 for row in known)
        mean, std = mean_std(known[-1])
        final = f"{mean:.1f} ± {std:.1f}" if known[-1] else ""
        lines.append(f"{run.name:{width}}{cells}{' ' * 7 * (tasks - len(history))}   {final:12}{len(known[-1]):7}")
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        print(accuracy_table([Path(argument) for argument in sys.argv[1:]]))
    except UserError as error:
        sys.exit(f"utils.tables: {error}")
