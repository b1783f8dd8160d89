"""What a finished run ends with, on one screen."""

import os
import sys
from pathlib import Path
from shlex import quote

import numpy as np

from dataloaders.datasets import DATASETS
from utils.reports.forms import show_number, show_rows
from utils.reports.runs import place_in_tables
from utils.settings import Settings
from utils.training.first_task import origin
from utils.training.listeners import Listener
from utils.training.metrics import Results, mean_std
from utils.training.progress import duration
from utils.training.run_state import RunState

ROOT = Path(__file__).resolve().parents[2]


def command(script: str, folder: Path) -> str:
    """A line for a shell in any folder, with the Python of this run: ``script`` of experiments/ on a folder."""
    own = Path(sys.executable) == ROOT / ".venv" / "bin" / "python"  # what scripts take by themselves
    words = ["sh", str(ROOT / "experiments" / script), os.path.abspath(folder)]
    return " ".join([*([] if own else [f"PYTHON={quote(sys.executable)}"]), *map(quote, words)])


def final_screen(settings: Settings, results: Results, percent: str) -> list[str]:
    """Accuracy on each task after each task, time, memory, where the figures are, what to do next; last, the final accuracy.

    Args:
        results: of whole repeats.
        percent: what accuracies are in.
    """
    results = results.measured()
    folder, repeats = Path(settings.log_dir), len(results.matrix)
    over = f"over {repeats} repeat{'s' * (repeats > 1)}"
    rows = [np.mean([matrix[task] for matrix in results.matrix], 0) for task in range(len(results.matrix[0]))]
    form = ".1f" if len(rows) <= 10 else ".0f"
    cells = [[str(task), *(f"{value:{form}}" for value in row), *[""] * (len(rows) - task)] for task, row in enumerate(rows, 1)]
    table = show_rows([["after task", *(f"on {task}" for task in range(1, len(rows) + 1))], *cells], "text")
    lines = ["", f"accuracy in {percent}, mean {over}", *table.splitlines(), ""]
    if source := origin(settings):
        lines.append(f"task 1:   from {source}")
    unknown = " without the first task, whose time is not known" * bool(np.isnan(results.seconds).any())
    lines.append(f"trained:  {duration(float(np.nansum(results.seconds)))}{unknown}")
    lines.append(f"stored:   {results.memory[-1][-1]:,} values: parameters of model and generator, pixels of the coreset")
    if settings.incomplete_data:
        lines.append("data:     incomplete, --incomplete_data 1; not comparable with results on the whole data set")
    if not settings.no_figures:
        lines.append(f"figures:  {folder / 'figures'}")
    in_tables = place_in_tables(vars(settings), folder / "args.yaml")
    lines.append(f"next:     {command('tables.sh', folder.parent if in_tables else folder)}")
    if len(rows) > 1:
        lines.append(f"          {command('diagnose.sh', folder)}")

    def final(accuracies: list[list[float]]) -> str:
        each = [row[-1] for row in accuracies]
        by_repeat = f" ({', '.join(f'{value:.1f}' for value in each)})" if repeats > 1 else ""
        return f"{show_number(*mean_std(each), repeats)} {percent} {over}{by_repeat}"

    if results.uneven:
        lines.append(f"final accuracy over images: {final(results.over_images())}")
    return [*lines, f"final accuracy: {final(results.accuracies())}{', mean of tasks' * results.uneven}"]


class FinalScreen(Listener):
    def run_ended(self, run: RunState) -> None:
        for line in final_screen(run.settings, run.results, DATASETS[run.settings.dataset].percent):
            run.log.line(line)
