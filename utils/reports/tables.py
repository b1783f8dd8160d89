"""The published tables with what has been measured, or the accuracies of some runs side by side.

    python -m utils.reports.tables [OUTPUTS]        the published tables with all runs under OUTPUTS
    python -m utils.reports.tables RUN [RUN ...]    these runs side by side, accuracy after each task

Runs that differ in nothing but ``--seed`` and ``--repeat`` are repeats of one another and share a row.
Accuracies are in percent over the repeats that have finished. ``±`` is the sample's standard deviation (n-1)
of what was measured here.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from utils.errors import Parser, UserError, run_main
from utils.files import user_path
from utils.reports.forms import (
    HERE,
    OVER_IMAGES,
    add_forms,
    csv_columns,
    show_number,
    show_repeats,
    show_rows,
    show_value,
)
from utils.reports.paper_tables import PaperTables
from utils.reports.runs import Run, Stat, differing, is_run, names_of, read_runs, runs_under, value_of

NAME = "utils.reports.tables"


# Runs side by side


def accuracy_table(folders: Sequence[Path], form: str, warnings: list[str]) -> str:
    """One row per run: mean accuracy after each task, then over finished repeats the final and the average
    accuracy, and the settings in which runs of one learner differ.

    Results that are missing or cannot be read are lines in ``warnings``. Raises UserError if a folder is no
    run.
    """
    for folder in folders:
        if not is_run(folder):
            raise UserError(
                f"{folder}: is no run, it has no args.yaml; name runs, or one folder alone that holds them")
    runs = read_runs(folders, names_of(folders), warnings)
    warnings += [
        f"{run.name}: has not finished its first task" for run in runs
        if not (run.accuracy == run.accuracy).any()]
    varied = [name for name in differing(runs) if name != "learner_type"]  # learner_name tells
    kinds = {run.kind for run in runs}
    kind = kinds.pop() if len(kinds) == 1 and form != "csv" else ""
    tasks = max((len(run.accuracy) for run in runs), default=0)
    uneven = form == "csv" or any(run.uneven for run in runs)
    ends = {"final": "accuracy", "average": "average_incremental_accuracy"}
    if uneven:
        ends |= zip(OVER_IMAGES, ("accuracy_over_images", "average_incremental_accuracy_over_images"))
    measured = csv_columns([*ends]) if form == "csv" else [f"{name} {HERE}" for name in ends]
    heading = [f"{kind or 'accuracy'} (%) after task", *([] if kind else ["measured"]), *varied]
    rows = [[*heading, *(str(task + 1) for task in range(tasks)), *measured, "repeats"]]
    for run in runs:
        measures = run.measures()
        after = [show_value(Stat.of(row).mean) for row in run.accuracy]
        row = [", ".join([run.name, *remarks(run)]), *([] if kind else [run.kind])]
        row += [*(value_of(run, name) for name in varied), *after, *[""] * (tasks - len(after))]
        for name in ends.values():
            stat = measures[name]
            row += [show_value(value, ".6f") for value in stat] if form == "csv" else [show_number(stat)]
        rows.append([*row, show_repeats(run)])
    return show_rows(rows, form)


def remarks(run: Run) -> list[str]:
    """How a run's data differ from what the data set's name stands for, and whether it took over whatever
    first task there was."""
    named = len(run.settings["imagenet_classes"])
    incomplete = ["incomplete data"] * bool(run.settings["incomplete_data"])
    forced = run.settings["load_any"] and run.settings["load_model_dir"]
    few = [f"{count} images per class" for count in [run.settings["images_per_class"]] if count]
    return incomplete + few + [f"{named} named classes"] * bool(named) + ["load_any"] * bool(forced)


# The command


def say(*lines: str) -> None:
    for line in lines:
        print(f"{NAME}: {line}", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = Parser(
        prog=NAME, allow_abbrev=False,
        description="The published tables with what has been measured, or runs side by side.")
    parser.add_argument(
        "folders", nargs="*", type=user_path, default=[Path("outputs")], metavar="FOLDER",
        help="one folder that holds runs, at any depth, for the published tables; runs for their accuracies "
             "side by side; default: outputs")
    add_forms(parser)
    parser.add_argument(
        "--figures", type=user_path, metavar="DIR",
        help="also draw figures that compare the runs of the tables")
    given = parser.parse_args(arguments)
    first, *others = given.folders
    if others or is_run(first):
        if given.figures:
            raise UserError(
                f"--figures {given.figures}: goes with the published tables; name one folder that holds runs")
        if not others and (below := [str(run) for run in runs_under(first) if run != first]):
            hidden = ", ".join(below[:3]) + ", …" * (len(below) > 3)
            say(f"{first}: is itself a run and shown alone, without the runs in it ({hidden})")
        warnings: list[str] = []
        table = accuracy_table(given.folders, given.form, warnings)
        say(*warnings)
        print(table)
        return
    tables = PaperTables(first)
    say(*tables.warnings)
    print(tables.show(given.form))
    if given.figures:
        from utils.reports.comparison import draw_comparison  # imports matplotlib, which takes a second

        for path in draw_comparison(tables, given.figures):
            say(f"drawn: {path.absolute()}")


if __name__ == "__main__":
    sys.exit(run_main(NAME, main))
