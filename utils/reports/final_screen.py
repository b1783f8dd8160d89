"""The summary at the end of a run, on one screen."""

import os
import sys
import textwrap
from pathlib import Path
from shlex import quote

import numpy as np

from utils.reports.forms import show_number, show_rows
from utils.reports.runs import Stat
from utils.settings import Settings
from utils.training.journal import LABELS
from utils.training.listeners import Listener
from utils.training.log import duration
from utils.training.results import Results, percent
from utils.training.state import RunState

ROOT = Path(__file__).resolve().parents[2]
WIDEST = 10  # tasks whose accuracies fit side by side into 80 columns


def command(script: str, folder: Path) -> str:
    """A shell line that runs a script of experiments/ on a folder, with the Python of this run."""
    default = Path(sys.executable) == ROOT / ".venv" / "bin" / "python"  # the scripts' own choice
    words = ["sh", str(ROOT / "experiments" / script), os.path.abspath(folder)]
    return " ".join([*([] if default else [f"PYTHON={quote(sys.executable)}"]), *map(quote, words)])


def accuracies(results: Results) -> list[str]:
    """The mean accuracy on each task after each task or, if there are many tasks, after the last."""
    rows = [np.mean([matrix[task] for matrix in results.matrix], 0) for task in range(len(results.matrix[0]))]
    if len(rows) > WIDEST:
        values = " ".join(f"{task}: {value:.0f}" for task, value in enumerate(rows[-1], 1))
        return textwrap.wrap(f"on each task after the last: {values}", 80)
    heading = ["after task", *(f"on {task}" for task in range(1, len(rows) + 1))]
    cells = [[str(task), *(f"{value:.1f}" for value in row), *[""] * (len(rows) - task)]
             for task, row in enumerate(rows, 1)]
    return show_rows([heading, *cells], "text").splitlines()


def final_screen(settings: Settings, results: Results) -> list[str]:
    """Accuracy on each task, measures over all tasks, time, memory, figures, what to do next and, last, the
    final accuracy."""
    folder, repeats, unit = Path(settings.log_dir), len(results.matrix), percent(settings)
    over = f"over {repeats} repeat{'s' * (repeats > 1)}"
    lines = ["", f"accuracy in {unit}, mean {over}", *accuracies(results), ""]
    each = [tasks[-1] for tasks in results.records]
    for name, label in LABELS.items():
        if shown := show_number(Stat.of(values[name] for values in each)):
            lines.append(f"{label + ':':22}{shown}")
    if settings.load_model_dir:
        forced = " (with --load_any)" * settings.load_any
        lines.append(f"{'task 1:':22}from {settings.load_model_dir}{forced}")
    if settings.incomplete_data:
        lines.append(f"{'data:':22}incomplete (--incomplete_data), not comparable with the whole set's")
    stored = results.history("memory")[-1][-1]
    lines.append(f"{'trained:':22}{duration(float(np.nansum(results.history('seconds'))))}")
    lines.append(f"{'stored:':22}{stored:,} parameters and pixels of the coreset")
    if not settings.no_figures:
        lines.append(f"{'figures:':22}{folder / 'figures'}")
    beside = len([*folder.parent.glob("*/args.yaml")]) > 1
    lines.append(f"{'next:':22}{command('tables.sh', folder.parent if beside else folder)}")
    if len(results.matrix[0]) > 1:
        lines.append(f"{'':22}{command('diagnose.sh', folder)}")

    def final(name: str) -> str:
        last = [tasks[-1] for tasks in results.history(name)]
        listed = ", ".join(f"{value:.1f}" for value in last)
        note = f" ({listed}; ± is the sample's deviation, n-1)" * (repeats > 1)
        return f"{show_number(Stat.of(last))} {unit} {over}{note}"

    if results.uneven:
        lines.append(f"final accuracy over images: {final('accuracy_over_images')}")
    return [*lines, f"final accuracy: {final('accuracy')}{', mean of tasks' * results.uneven}"]


class FinalScreen(Listener):
    def run_ended(self, run: RunState) -> None:
        for line in final_screen(run.settings, run.results):
            run.log.line(line)
