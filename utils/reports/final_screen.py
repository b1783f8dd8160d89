"""The summary at the end of a run, on one screen."""

import os
import sys
from pathlib import Path
from shlex import quote

import numpy as np

from utils.reports.runs import Stat
from utils.settings import Settings
from utils.training.journal import LABELS
from utils.training.listeners import Listener
from utils.training.log import duration
from utils.training.results import Results, percent
from utils.training.state import RunState

ROOT = Path(__file__).resolve().parents[2]


def command(script: str, folder: Path) -> str:
    """A shell line that runs a script of experiments/ on a folder, with the Python of this run."""
    default = Path(sys.executable) == ROOT / ".venv" / "bin" / "python"  # the scripts' own choice
    python = "" if default else f"PYTHON={quote(sys.executable)} "
    return f"{python}sh {quote(str(ROOT / 'experiments' / script))} {quote(os.path.abspath(folder))}"


class FinalScreen(Listener):
    def run_ended(self, run: RunState) -> None:
        for line in final_screen(run.settings, run.results):
            run.log.line(line)


def final_screen(settings: Settings, results: Results) -> list[str]:
    """Measures over all tasks, time, memory, figures, what to do next and, last, the final accuracy."""
    folder, repeats, unit = Path(settings.log_dir), len(results.matrix), percent(settings)
    over = f"over {repeats} repeat{'s' * (repeats > 1)}"
    each = [tasks[-1] for tasks in results.records]
    stored, seconds = results.history("memory")[-1][-1], sum(map(np.nansum, results.history("seconds")))
    forced = " (with --load_any)" * settings.load_any
    beside = len([*folder.parent.glob("*/args.yaml")]) > 1
    facts = {f"{label}:": str(Stat.of(values[name] for values in each)) for name, label in LABELS.items()} | {
        "task 1:": f"from {settings.load_model_dir}{forced}" * bool(settings.load_model_dir),
        "data:": "incomplete (--incomplete_data), not comparable with all" * settings.incomplete_data,
        "trained:": duration(seconds),
        "stored:": f"{stored:,} parameters and pixels of the coreset",
        "figures:": f"{folder / 'figures'}" * (not settings.no_figures),
        "next:": command("tables.sh", folder.parent if beside else folder),
        "": command("diagnose.sh", folder) * (len(results.matrix[0]) > 1)}
    lines = ["", f"after the last task, in {unit}, mean {over}"]
    lines += [f"{label:22}{fact}" for label, fact in facts.items() if fact]
    kinds = {"accuracy_over_images": ("final accuracy over images", "")} if results.uneven else {}
    kinds["accuracy"] = "final accuracy", ", mean of tasks" * results.uneven
    for name, (label, note) in kinds.items():
        last = [tasks[-1] for tasks in results.history(name)]
        listed = ", ".join(f"{value:.1f}" for value in last)
        repeated = f" ({listed}; ± is the sample's deviation, n-1)" * (repeats > 1)
        lines.append(f"{label}: {Stat.of(last)} {unit} {over}{repeated}{note}")
    return lines
