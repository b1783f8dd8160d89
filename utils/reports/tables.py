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
from utils.reports.runs import run_names, runs_under
from utils.settings import completed
from utils.startup import finish, run_command
from utils.training.metrics import mean_std

# Runs side by side


def data_remarks(run: Path) -> list[str]:
    """Where a run's data are not those that its data set's name stands for. Raises UserError where its args.yaml cannot be read."""
    path = run / "args.yaml"
    settings = completed(read_yaml(path) if path.is_file() else {})
    own = settings["imagenet_classes"]
    named = len(own) if isinstance(own, list) else 0
    return ["incomplete data"] * bool(settings["incomplete_data"]) + [f"{named} named classes"] * bool(named)


def accuracy_table(runs: list[Path], form: str, warnings: list[str]) -> str:
    """A line a run: mean accuracy after each task over its repeats, then over finished ones the final and the average incremental accuracy,
    mean ± population std. Accuracies are means over tasks; those over images stand beside them where they differ, and in CSV.

    What a run lacks, or what cannot be read, is a line in ``warnings`` and empty here. Raises UserError where a folder is no run.
    """
    lines: list[tuple[str, np.ndarray, np.ndarray]] = []
    for run, name in zip(runs, run_names(runs)):
        if not is_run(run):
            raise UserError(f"{run}: is no run, it has no args.yaml; name runs, or one folder alone that holds them")
        history = images = np.empty((1, 0))
        path, over_images = (run / "results-acc" / f"{part}.yaml" for part in ("global", "over-images"))
        try:
            if not path.exists():
                raise UserError(f"{run}: has not finished its first task")
            history = read_history(path)
            if over_images.exists():  # of runs from before it was measured there is none
                images = read_history(over_images)
            name = ", ".join([name, *data_remarks(run)])
        except UserError as error:
            warnings.append(str(error))
        lines.append((name, history, images))
    tasks = max(len(history) for _, history, _ in lines)
    shown = form == "csv" or any(differ(history, images) for _, history, images in lines)
    rows = [["accuracy (%) after task", *(str(task + 1) for task in range(tasks)), "final", "average", *(OVER_IMAGES * shown), "repeats"]]
    for name, history, images in lines:
        after = [show_value(mean_std([value for value in row if not math.isnan(value)])[0], ".1f") for row in history.tolist()]
        each = [history[-1], history.mean(0), *([images[-1], images.mean(0)] if shown else [])]
        ends = [show_number(*mean_std(known), len(known)) for known in ([value for value in row.tolist() if not math.isnan(value)] for row in each)]
        repeats = show_repeats(finished(history), unfinished(history)) if history.size else ""
        rows.append([name, *after, *[""] * (tasks - len(after)), *ends, repeats])
    return show_rows(rows, form)


def is_run(folder: Path) -> bool:
    return (folder / "args.yaml").is_file() or (folder / "results-acc").is_dir()


def say(*lines: str) -> None:
    for line in lines:
        print(f"utils.reports.tables: {line}", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser(
        prog="utils.reports.tables", description="The paper's tables with what has been measured, or runs side by side.", allow_abbrev=False)
    parser.add_argument(
        "folders", nargs="*", type=user_path, default=[Path("outputs")], metavar="FOLDER",
        help="one folder that holds runs, at any depth: the published tables with them; runs themselves: accuracy after each task, side by side; "
             "default: outputs")
    add_forms(parser)
    parser.add_argument(
        "--figures", type=user_path, metavar="DIR",
        help="draw accuracy after each task, final accuracy against the paper's, forgetting and accuracy against memory into a folder")
    try:
        given = parser.parse_args(arguments)
        first, *others = given.folders
        if others or is_run(first):
            below = [] if others else [str(run) for run in runs_under(first) if run != first]
            if below:
                say(f"{first}: is itself a run and shown alone, without the runs in it ({', '.join(below[:3])}{', …' * (len(below) > 3)}); "
                    "for the tables of all move it into a folder of its own")
            if given.figures:
                raise UserError(f"--figures {given.figures}: they go with the paper's tables; name one folder that holds runs")
            warnings: list[str] = []
            table = accuracy_table(given.folders, given.form, warnings)
            say(*warnings)
            print(table)
        else:
            tables = PaperTables(first)
            say(*tables.warnings)
            print(tables.show(given.form))
            if given.figures:
                from utils.reports.comparison_figures import draw_comparison  # and matplotlib, for which tables need not wait

                for path in draw_comparison(tables, given.figures):
                    say(f"drawn: {path.absolute()}")
    except UserError as error:
        say(str(error))
        return 2
    return finish("utils.reports.tables")


if __name__ == "__main__":
    sys.exit(run_command("utils.reports.tables", main))
