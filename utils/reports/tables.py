"""The paper's two tables with what has been measured, or accuracy after each task of some runs side by side.

    python -m utils.reports.tables [OUTPUTS]        tables 1 and 2 out of all runs under OUTPUTS (sh experiments/tables.sh), and
                                            R-DFCIL's, 3 and 4, where there are runs for them; with --figures DIR figures, too
    python -m utils.reports.tables RUN [RUN ...]    these runs side by side

Accuracies are in percent, over the repeats that have finished their last task, with the population's deviation where
there is more than one. What has not been measured is an empty cell.
"""

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from utils.errors import Parser, UserError
from utils.files import read_yaml, user_path
from utils.reports.forms import add_forms, show_number, show_repeats, show_rows, show_value
from utils.reports.histories import differ, finished, read_history, unfinished
from utils.reports.paper_tables import OVER_IMAGES, PaperTables
from utils.settings import completed
from utils.startup import finish
from utils.training.metrics import mean_std

# Runs side by side


def data_remarks(run: Path) -> list[str]:
    """Where a run's data are not those that its data set's name stands for."""
    path = run / "args.yaml"
    settings = completed(read_yaml(path) if path.is_file() else {})
    own = settings["imagenet_classes"]
    return ["incomplete data"] * bool(settings["incomplete_data"]) + [f"{len(own)} named classes"] * bool(own)


def accuracy_table(runs: list[Path], form: str = "text") -> str:
    """A line a run: mean accuracy after each task over its repeats, then over finished ones the final and the average incremental accuracy,
    mean ± population std. Accuracies are means over tasks; those over images stand beside them where they differ, and in CSV. Raises UserError."""
    histories = {run: (read_history(run / "results-acc" / "global.yaml"), over_images(run)) for run in runs}
    tasks = max(len(history) for history, _ in histories.values())
    shown = form == "csv" or any(differ(*both) for both in histories.values())
    after_each = [str(task + 1) for task in range(tasks)]
    rows = [["accuracy (%) after task", *after_each, "final", "average", *(OVER_IMAGES * shown), "repeats"]]
    for run, (history, images) in histories.items():
        after = [show_value(mean_std([value for value in row if not math.isnan(value)])[0], ".1f") for row in history.tolist()]
        each = [history[-1], history.mean(0), *([images[-1], images.mean(0)] if shown else [])]
        ends = [show_number(*mean_std(known), len(known)) for known in ([value for value in row.tolist() if not math.isnan(value)] for row in each)]
        name = ", ".join([run.name, *data_remarks(run)])
        rows.append([name, *after, *[""] * (tasks - len(after)), *ends, show_repeats(finished(history), unfinished(history))])
    return show_rows(rows, form)


def over_images(run: Path) -> np.ndarray:
    """[after task, repeat] accuracy over all test images; one NaN of runs from before it was measured. Raises UserError."""
    path = run / "results-acc" / "over-images.yaml"
    return read_history(path) if path.exists() else np.full((1, 1), math.nan)


def is_run(folder: Path) -> bool:
    return (folder / "args.yaml").is_file() or (folder / "results-acc").is_dir()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser(
        prog="utils.reports.tables", description="The paper's tables with what has been measured, or runs side by side.", allow_abbrev=False)
    parser.add_argument(
        "folders", nargs="*", type=user_path, default=[Path("outputs")], metavar="FOLDER",
        help="one folder that holds runs, at any depth: tables 1 and 2 of the paper; runs themselves: accuracy after each task, side by side; "
             "default: outputs")
    add_forms(parser)
    parser.add_argument(
        "--figures", type=user_path, metavar="DIR",
        help="draw accuracy after each task, final accuracy against the paper's, forgetting and accuracy against memory into a folder")
    try:
        given = parser.parse_args(arguments)
        if len(given.folders) > 1 or is_run(given.folders[0]):
            if given.figures:
                raise UserError(f"--figures {given.figures}: they go with the paper's tables; name one folder that holds runs")
            print(accuracy_table(given.folders, given.form))
        else:
            tables = PaperTables(given.folders[0])
            for warning in tables.warnings:
                print(f"utils.reports.tables: {warning}", file=sys.stderr)
            print(tables.show(given.form))
            if given.figures:
                from utils.reports.comparison_figures import draw_comparison  # and matplotlib, for which tables need not wait

                for path in draw_comparison(tables, given.figures):
                    print(f"utils.reports.tables: drawn: {path}", file=sys.stderr)
    except UserError as error:
        print(f"utils.reports.tables: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(finish("utils.reports.tables", main()))
