"""Why synthetic replay fails and what ABD fixes, measured on runs that have finished two tasks or more.

    python -m utils.reports.diagnose RUN [RUN ...]        a table, and a figure at --figure

One row per run and task, from the second on; numbers are means over repeats. "Model" is the one saved after
the task, "teacher" the one saved after the task before. Images are test images (with --validation, images
held out of training); dreams are what the model replayed while it learned the task. All networks are in
evaluation mode.

If replay preserved old features, dreams would lie near real old images and be classified like them. A domain
bias shows if dreams lie farther from real old images than those from real new ones, and if real old images
are called new while dreams are not.
"""

import functools
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dataloaders.batches import Images
from dataloaders.datasets import read_data
from dataloaders.tasks import tasks_of_repeat
from learners import REGISTRY, build_learner
from utils.command_line import parse
from utils.device import choose_device, probe, set_precision
from utils.errors import Parser, UserError, run_main
from utils.files import read_yaml, user_path
from utils.load import load_after
from utils.reports.diagnosis import DIAGNOSTICS, MEASURED, Diagnosis, diagnose_model, diagnosis_figure
from utils.reports.figures import save_figure
from utils.reports.forms import add_forms, show_rows, show_value
from utils.reports.runs import Run, names_of, read_runs
from utils.settings import Settings
from utils.streams import Streams, seed_of

NAME = "experiments/diagnose.sh"
CPU = torch.device("cpu")


def finished_tasks(folder: Path, repeat: int) -> int:
    """The number of tasks whose models a repeat, counted from 0, has saved."""
    return len([*(folder / "models" / f"repeat-{repeat + 1}").glob("task-*/class.pth")])


def sample(images: Sequence[Images], count: int, seed: int) -> list[Tensor]:
    """Batches of at most ``count`` of the images, at random and without replacement."""
    whole = functools.reduce(Images.__add__, images)
    chosen = torch.randperm(len(whole), generator=torch.Generator().manual_seed(seed))[:count]
    return [x for x, _ in whole[chosen.to(whole.rows.device)].in_order()]


def settings_of(folder: Path) -> Settings:
    """A run's settings. Raises UserError if it is no run or has not finished two tasks."""
    if not (folder / "args.yaml").is_file():
        raise UserError(f"{folder}: is not a run (no args.yaml); give the log_dir of one")
    settings = parse(REGISTRY, ["--config", str(folder / "args.yaml")])
    if max(finished_tasks(folder, repeat) for repeat in range(settings.repeat)) < 2:
        raise UserError(f"{folder}: has not left the models of two tasks in {folder / 'models'}")
    return settings


def diagnose(
    run: Run, dataroot: Path | None = None, count: int = 2000, device: torch.device = CPU,
) -> Diagnosis:
    """Measure a run and its repeats in other folders after each task from the second on.

    Args:
        dataroot: where the data set is now; None: where the run's settings say.
        count: images of each kind at most.

    Raises UserError if the run has not finished two tasks, or its files or data cannot be read.
    """
    found: dict[int, list[dict[str, float]]] = {}
    seeds: set[int] = set()
    for folder in run.folders:
        settings = settings_of(folder)
        settings.dataroot = str(dataroot or settings.dataroot)
        settings.precision = "fp32"  # evaluation is, whatever the run was trained with
        data, streams = read_data(settings), Streams(device)
        student, teacher = (build_learner(settings, streams, device, 0).eval() for _ in range(2))
        measured = {name: read_yaml(folder / "results-acc" / f"{name}.yaml")["history"] for name in MEASURED}
        for repeat in (repeat for repeat in range(settings.repeat) if settings.seed + repeat not in seeds):
            tasks = tasks_of_repeat(settings, data, repeat, student.normalised, device)
            models = folder / "models" / f"repeat-{repeat + 1}"
            for task in tasks[1 : finished_tasks(folder, repeat)]:
                seeds.add(settings.seed + repeat)
                load_after(student, models / f"task-{task.index + 1}")
                load_after(teacher, models / f"task-{task.index}")
                student.teacher, dreamt = teacher.model, teacher.old
                drawn = (0, settings.seed + repeat, task.index)
                old = sample([past.test for past in tasks[: task.index]], count, seed_of(*drawn, "old"))
                new = sample([task.test], count, seed_of(*drawn, "new"))
                streams.noise.manual_seed(seed_of(*drawn, "dreams"))
                teacher.start_task(task)
                dreams = [teacher.dream(len(x)) for x in old] if dreamt else []
                numbers = diagnose_model(student, task, old, new, dreams)
                numbers |= {name: float(history[task.index][repeat]) for name, history in measured.items()}
                found.setdefault(task.index + 1, []).append(numbers)
    values = {
        task: {name: float(np.mean([numbers[name] for numbers in each])) for name in DIAGNOSTICS}
        for task, each in sorted(found.items())}
    images = "validation" if run.settings["validation"] else "test"
    return Diagnosis(run.name, {task: len(found[task]) for task in values}, values, images)


def table(diagnoses: Sequence[Diagnosis], form: str = "text") -> str:
    """One row per run and task; below it, as text, what each number says."""
    exact = form == "csv"
    headings = [*DIAGNOSTICS] if exact else [heading for heading, _, _ in DIAGNOSTICS.values()]
    rows = [["run", "images", "task", "repeats", *headings]]
    for diagnosis in diagnoses:
        for task, values in diagnosis.values.items():
            cells = [show_value(values[name], ".6f" if exact else shown)
                     for name, (_, shown, _) in DIAGNOSTICS.items()]
            rows.append([diagnosis.name, diagnosis.images, str(task), str(diagnosis.repeats[task]), *cells])
    legend = [f"{heading:17}{text}" for heading, _, text in DIAGNOSTICS.values()]
    return "\n".join([show_rows(rows, form), *(["", *legend] if form == "text" else [])])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = Parser(
        prog=NAME, allow_abbrev=False,
        description="Why synthetic replay fails and what ABD fixes, measured on finished runs.")
    parser.add_argument(
        "runs", nargs="+", type=user_path, metavar="RUN",
        help="log_dir of a run that has finished two tasks or more")
    parser.add_argument(
        "--dataroot", type=user_path, metavar="DIR",
        help="folder of the data sets; default: the runs' own setting")
    parser.add_argument(
        "--figure", type=user_path, default=Path("outputs/diagnosis.png"), metavar="FILE",
        help="PNG, SVG or PDF; default: outputs/diagnosis.png")
    parser.add_argument(
        "--images", type=int, default=2000, metavar="N",
        help="images of each kind at most: old, new, dreams; default: 2000")
    parser.add_argument(
        "--gpuid", type=int, default=0, metavar="N",
        help="GPU to compute on; negative, or no GPU here: CPU; default: 0")
    add_forms(parser)
    given = parser.parse_args(arguments)
    if given.images < 2:
        raise UserError(f"--images {given.images}: a distance needs two at least")
    device = choose_device([given.gpuid])
    probe(device)
    set_precision("fp32")
    for folder in given.runs:
        settings_of(folder)  # all are runs, before one is measured
    warnings: list[str] = []
    runs = read_runs(given.runs, names_of(given.runs), warnings)
    for line in warnings:
        print(f"{NAME}: {line}", file=sys.stderr)
    diagnoses: list[Diagnosis] = []
    try:
        for run in runs:
            diagnoses.append(diagnose(run, given.dataroot, given.images, device))
    finally:
        if diagnoses:
            print(table(diagnoses, given.form))
    save_figure(given.figure, diagnosis_figure(diagnoses))
    print(f"{NAME}: drawn {given.figure.absolute()}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(run_main(NAME, main))
