"""Why synthetic replay fails and what ABD mends, measured on runs that have finished two tasks or more.

    python -m utils.reports.diagnose RUN [RUN ...]        a table, and a figure at --figure

One row per run and task, from the second on; numbers are means over repeats. "Model" is the one saved after
the task, "teacher" the one saved after the task before. Images are test images (with --validation, images
held out of training); dreams are what the model replayed while it learned the task. All networks are in
evaluation mode.

If replay kept the old classes' place among the features, dreams would lie with real old images and both would
be called alike. A domain bias shows if dreams lie farther from real old images than those from real new ones,
and if real old images are called new while dreams are not.
"""

import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dataloaders.batches import Images
from dataloaders.datasets import read_data
from dataloaders.image_files import worker_failure
from dataloaders.tasks import tasks_of_repeat
from learners import REGISTRY, Learner, build_learner
from utils.command_line import parse
from utils.device import choose_device, device_failure, probe, set_precision
from utils.errors import Parser, RunError, UserError, run_main
from utils.files import read_tensors, read_yaml, user_path
from utils.reports.diagnosis import DIAGNOSTICS, MEASURED, Diagnosis, diagnose_model, diagnosis_figure
from utils.reports.figures import save_figure
from utils.reports.forms import add_forms, show_rows, show_value
from utils.reports.runs import Run, names_of, read_runs
from utils.settings import Settings
from utils.streams import Streams, seed_of
from utils.training.folder import is_run

NAME = "utils.reports.diagnose"
CPU = torch.device("cpu")


# A run


def finished_tasks(folder: Path, repeat: int) -> int:
    """The number of tasks whose models a repeat, counted from 0, has saved."""
    models, count = folder / "models" / f"repeat-{repeat + 1}", 0
    while (models / f"task-{count + 1}" / "class.pth").is_file():
        count += 1
    return count


def load(network: torch.nn.Module, path: Path) -> None:
    """Load a saved network. Raises UserError, naming the file."""
    try:
        network.load_state_dict(read_tensors(path))
    except Exception as error:
        missing = isinstance(error, FileNotFoundError)
        reason = "is missing" if missing else "cannot be read as a network of this run"
        raise UserError(f"{path} {reason} ({type(error).__name__})") from error


def load_after(learner: Learner, task: int, models: Path) -> None:
    """Load the model after a task, counted from 0, its teacher, and what it replayed."""
    after, before = models / f"task-{task + 1}", models / f"task-{task}"
    load(learner.teacher, before / "class.pth")
    for name, network in learner.networks().items():
        load(network, after / f"{name}.pth")
    if learner.generator_type:
        load(learner.replayed, before / "generator.pth")


def sample(images: Sequence[Images], count: int, seed: int) -> list[Tensor]:
    """Batches of at most ``count`` of the images, at random and without replacement."""
    whole = functools.reduce(Images.__add__, images)
    chosen = torch.randperm(len(whole), generator=torch.Generator().manual_seed(seed))[:count]
    return [x for x, _ in whole[chosen.to(whole.rows.device)].in_order()]


def measured(folder: Path, repeat: int, task: int) -> dict[str, float]:
    histories = {name: read_yaml(folder / "results-acc" / f"{name}.yaml")["history"] for name in MEASURED}
    return {name: float(history[task][repeat]) for name, history in histories.items()}


def settings_of(folder: Path) -> Settings:
    """A run's settings. Raises UserError if it is no run or has not finished two tasks."""
    if not is_run(folder):
        raise UserError(f"{folder}: is no run, it has no args.yaml; name the log_dir of one")
    try:
        settings = parse(REGISTRY, ["--config", str(folder / "args.yaml")])
    except UserError as error:
        raise UserError(f"{folder}: {error}") from error
    if (most := max(finished_tasks(folder, repeat) for repeat in range(settings.repeat))) < 2:
        missing = folder / "models" / "repeat-1" / f"task-{most + 1}" / "class.pth"
        raise UserError(f"{folder}: has not left the models of two tasks ({missing} is missing)")
    return settings


def diagnose(
    run: Run, dataroot: Path | None = None, count: int = 2000, seed: int = 0, device: torch.device = CPU,
    workers: int | None = None,
) -> Diagnosis:
    """Measure a run and its repeats in other folders after each task from the second on.

    Args:
        dataroot: where the data set is now; None: where the run's settings say.
        count: images of each kind at most.
        seed: of the choice of images and of the dreams' noise.
        workers: processes that decode images; None: as many as the run had.

    Raises UserError if the run has not finished two tasks, or its files or data cannot be read.
    """
    found: dict[int, list[dict[str, float]]] = {}
    seeds: set[int] = set()
    for folder in run.folders:
        settings = settings_of(folder)
        settings.dataroot = str(dataroot or settings.dataroot)
        settings.workers = settings.workers if workers is None else workers
        settings.precision = "fp32"  # evaluation is, whatever the run was trained with
        data, streams = read_data(settings), Streams(device)
        learner = build_learner(settings, streams, device, 0).eval()
        for repeat in (repeat for repeat in range(settings.repeat) if settings.seed + repeat not in seeds):
            tasks = tasks_of_repeat(settings, data, repeat, learner.normalised, device)
            for task in tasks[1 : finished_tasks(folder, repeat)]:
                seeds.add(settings.seed + repeat)
                load_after(learner, task.index, folder / "models" / f"repeat-{repeat + 1}")
                learner.start_task(task)
                drawn = (seed, settings.seed + repeat, task.index)
                old = sample([past.test for past in tasks[: task.index]], count, seed_of(*drawn, "old"))
                new = sample([task.test], count, seed_of(*drawn, "new"))
                streams.noise.manual_seed(seed_of(*drawn, "dreams"))
                dreams = [learner.dream(len(x)) for x in old] if learner.generator_type else []
                numbers = diagnose_model(learner, task, old, new, dreams)
                found.setdefault(task.index + 1, []).append(numbers | measured(folder, repeat, task.index))
    values = {
        task: {name: float(np.mean([numbers[name] for numbers in each])) for name in DIAGNOSTICS}
        for task, each in sorted(found.items())}
    images = "validation" if run.settings["validation"] else "test"
    return Diagnosis(run.name, {task: len(found[task]) for task in values}, values, images)


# What is shown


def table(diagnoses: Sequence[Diagnosis], form: str = "text") -> str:
    """One row per run and task; below it, except in CSV, what each number says."""
    measured_on = f"top-1 {' and '.join(dict.fromkeys(diagnosis.images for diagnosis in diagnoses))} accuracy"
    explained = [[heading.replace("top-1", measured_on), text] for heading, _, text in DIAGNOSTICS.values()]
    headings = [*DIAGNOSTICS] if form == "csv" else [heading for heading, _ in explained]
    rows = [["run", "images", "task", "repeats", *headings]]
    for diagnosis in diagnoses:
        for task, values in diagnosis.values.items():
            start = [diagnosis.name, diagnosis.images, str(task), str(diagnosis.repeats[task])]
            forms = {name: ".6f" if form == "csv" else shown for name, (_, shown, _) in DIAGNOSTICS.items()}
            rows.append([*start, *(show_value(values[name], shown) for name, shown in forms.items())])
    if form == "csv":
        return show_rows(rows, form)
    if form == "markdown":
        return f"{show_rows(rows, form)}\n\n{show_rows([['number', 'what it says'], *explained], form)}"
    width = max(len(heading) for heading, _ in explained)
    legend = [f"{heading:{width}}  {text}" for heading, text in explained]
    return "\n".join([show_rows(rows, form), "", *legend])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = Parser(
        prog=NAME, allow_abbrev=False,
        description="Why synthetic replay fails and what ABD mends, measured on finished runs.")
    parser.add_argument(
        "runs", nargs="+", type=user_path, metavar="RUN",
        help="log_dir of a run that has finished two tasks or more")
    parser.add_argument(
        "--dataroot", type=user_path, metavar="DIR",
        help="folder of the data sets; default: the runs' own setting")
    parser.add_argument(
        "--figure", type=user_path, default=Path("outputs/diagnosis.png"), metavar="FILE",
        help="PNG; default: outputs/diagnosis.png")
    parser.add_argument(
        "--images", type=int, default=2000, metavar="N",
        help="images of each kind at most: old, new, dreams; default: 2000")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N",
        help="of the choice of images and of the dreams; default: 0")
    parser.add_argument(
        "--workers", type=int, metavar="N",
        help="processes that decode ImageNet; default: as many as each run had")
    parser.add_argument(
        "--gpuid", type=int, default=0, metavar="N",
        help="GPU to compute on; negative, or no GPU here: CPU; default: 0")
    add_forms(parser)
    given: Any = parser.parse_args(arguments)
    if given.images < 2:
        raise UserError(f"--images {given.images}: a distance needs two at least")
    if given.figure.suffix.lower() != ".png":
        raise UserError(f"--figure {given.figure}: is no PNG file; name one that ends in .png")
    device = choose_device([given.gpuid])
    probe(device)
    set_precision("fp32")
    most = max(settings_of(folder).workers for folder in given.runs)  # all are runs, before one is measured
    warnings: list[str] = []
    runs = read_runs(given.runs, names_of(given.runs), warnings)
    for line in warnings:
        print(f"{NAME}: {line}", file=sys.stderr)
    diagnoses: list[Diagnosis] = []
    try:
        for run in runs:
            diagnoses.append(diagnose(run, given.dataroot, given.images, given.seed, device, given.workers))
    except (RuntimeError, MemoryError) as error:
        workers = most if given.workers is None else given.workers
        reason = device_failure(error) or worker_failure(error, workers)
        if not reason:
            raise
        raise RunError(reason) from error
    finally:  # what has been measured
        if diagnoses:
            print(table(diagnoses, given.form))
    try:
        save_figure(given.figure, diagnosis_figure(diagnoses))
    except OSError as error:
        raise UserError(
            f"--figure {given.figure}: cannot be written ({error.strerror}); name another file") from error
    print(f"{NAME}: drawn: {given.figure.absolute()}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(run_main(NAME, main))
