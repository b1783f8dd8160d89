"""What a run ends with, on one screen."""

import os
import sys
from pathlib import Path
from shlex import quote

import numpy as np

from utils.reports.forms import show_number, show_rows
from utils.reports.places import place
from utils.reports.runs import Stat
from utils.settings import Settings
from utils.training.listeners import Listener
from utils.training.log import duration
from utils.training.results import Results, percent
from utils.training.state import RunState

ROOT = Path(__file__).resolve().parents[2]


def command(script: str, folder: Path) -> str:
    """A shell line that runs a script of experiments/ on a folder from anywhere, with the Python of this
    run."""
    default = Path(sys.executable) == ROOT / ".venv" / "bin" / "python"  # the scripts' own choice
    words = ["sh", str(ROOT / "experiments" / script), os.path.abspath(folder)]
    return " ".join([*([] if default else [f"PYTHON={quote(sys.executable)}"]), *map(quote, words)])


def final_screen(settings: Settings, results: Results) -> list[str]:
    """Accuracy on each task after each task, time, memory, figures, what to do next and, last, the final
    accuracy."""
    folder, repeats = Path(settings.log_dir), len(results.matrix)
    over = f"over {repeats} repeat{'s' * (repeats > 1)}"
    unit = percent(settings)
    rows = [np.mean([matrix[task] for matrix in results.matrix], 0) for task in range(len(results.matrix[0]))]
    form = ".1f" if len(rows) <= 10 else ".0f"
    cells = [
        [str(task), *(f"{value:{form}}" for value in row), *[""] * (len(rows) - task)]
        for task, row in enumerate(rows, 1)]
    table = show_rows([["after task", *(f"on {task}" for task in range(1, len(rows) + 1))], *cells], "text")
    lines = ["", f"accuracy in {unit}, mean {over}", *table.splitlines(), ""]
    if settings.load_model_dir:
        lines.append(f"task 1:   from {settings.load_model_dir}{' (with --load_any)' * settings.load_any}")
    seconds = float(np.nansum(results.history("seconds")))
    lines.append(f"trained:  {duration(seconds)}")
    stored = results.history("memory")[-1][-1]
    lines.append(f"stored:   {stored:,} values: parameters of model and generator, pixels of the coreset")
    if settings.incomplete_data:
        lines.append(
            "data:     incomplete, --incomplete_data 1; not comparable with results on the whole data set")
    if not settings.no_figures:
        lines.append(f"figures:  {folder / 'figures'}")
    lines.append(f"next:     {command('tables.sh', folder.parent if place(vars(settings)) else folder)}")
    if len(rows) > 1:
        lines.append(f"          {command('diagnose.sh', folder)}")

    def final(name: str) -> str:
        each = [tasks[-1] for tasks in results.history(name)]
        by_repeat = ", ".join(f"{value:.1f}" for value in each)
        note = f" ({by_repeat}; ± is the sample's deviation, n-1)" * (repeats > 1)
        return f"{show_number(Stat.of(each))} {unit} {over}{note}"

    if results.uneven:
        lines.append(f"final accuracy over images: {final('accuracy_over_images')}")
    return [*lines, f"final accuracy: {final('accuracy')}{', mean of tasks' * results.uneven}"]


class FinalScreen(Listener):
    def run_ended(self, run: RunState) -> None:
        for line in final_screen(run.settings, run.results):
            run.log.line(line)
