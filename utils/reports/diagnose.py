"""Why synthetic replay fails and what ABD mends, the paper's question, put to runs that have finished two tasks or more.

    python -m utils.reports.diagnose RUN [RUN ...]        a table, and a figure at --figure

A line is a run after a task, from the second on; its numbers are means over the repeats. "Model" is the one saved after
the task, "teacher" the one saved after the task before. Images are test images, none of which was learned from, and
dreams: what the model had replayed while it learned the task. All networks are in evaluation mode.

If replay kept the old classes' place among the features, dreams would lie with the real old images and the two be called
alike. A bias towards the domain shows where dreams lie farther from real old images than those from real new ones, and
where real old images are called new ones though dreams are not.
"""

import functools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from dataloaders.batches import Images
from dataloaders.datasets import read_data
from dataloaders.image_files import worker_failure
from dataloaders.tasks import tasks_of_repeat
from learners import REGISTRY, Learner, build_learner
from utils.arithmetic import set_precision
from utils.command_line import parse
from utils.errors import Parser, UserError
from utils.files import user_path
from utils.reports.diagnosis_measures import DIAGNOSTICS, LEFT, diagnose_model
from utils.reports.figures import save_figure
from utils.reports.forms import add_forms, show_rows, show_value
from utils.reports.histories import read_history
from utils.reports.runs import run_names
from utils.settings import Settings
from utils.startup import finish, run_command
from utils.streams import Streams, seed_of
from utils.training.device import choose_device, device_failure, probe
from utils.training.networks import read_network

CPU = torch.device("cpu")


# A run


@dataclass
class Diagnosis:
    """A run's numbers.

    Attributes:
        name: of the run.
        repeats: {number of the task, from 2: how many repeats have finished it}.
        values: {number of the task: {measure: mean over those repeats}}.
    """

    name: str
    repeats: dict[int, int]
    values: dict[int, dict[str, float]]


def finished_tasks(run: Path, repeat: int) -> int:
    """How many tasks of a repeat, counted from 0, have left their model."""
    folder, count = run / "models" / f"repeat-{repeat + 1}", 0
    while (folder / f"task-{count + 1}" / "class.pth").is_file():
        count += 1
    return count


def load(network: torch.nn.Module, path: Path) -> None:
    """A saved state into a network. Raises UserError, naming the file."""
    try:
        network.load_state_dict(read_network(path, network)[0])
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; was the run left whole?") from error
    except Exception as error:
        raise UserError(f"{path} cannot be read as a network of this run ({type(error).__name__})") from error


def load_after(learner: Learner, task: int, models: Path) -> None:
    """The networks as they were when a task, counted from 0, had been learned: the model, its teacher, and what it replayed."""
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


def measured(run: Path, repeat: int, task: int) -> dict[str, float]:
    """Those of the DIAGNOSTICS that a run has LEFT itself; NaN of one from before they were measured. Raises UserError."""
    paths = {name: run / "results-acc" / f"{name}.yaml" for name in LEFT}
    histories = {name: read_history(path) for name, path in paths.items() if path.exists()}
    known = {name: history for name, history in histories.items() if task < history.shape[0] and repeat < history.shape[1]}
    return {name: float(known[name][task, repeat]) if name in known else np.nan for name in paths}


def read_settings(run: Path) -> Settings:
    """A run's. Raises UserError where it is none, or has not finished two tasks."""
    if not (run / "args.yaml").is_file():
        raise UserError(f"{run}: is no run, it has no args.yaml; name the log_dir of one")
    try:
        settings = parse(REGISTRY, ["--config", str(run / "args.yaml")])
    except UserError as error:
        raise UserError(f"{run}: {error}") from error
    if (most := max(finished_tasks(run, repeat) for repeat in range(settings.repeat))) < 2:
        raise UserError(f"{run}: has not left the models of two tasks ({run / 'models' / 'repeat-1' / f'task-{most + 1}' / 'class.pth'} is missing)")
    return settings


def diagnose(
    run: Path, dataroot: Path | None = None, count: int = 2000, seed: int = 0, device: torch.device = CPU, workers: int | None = None,
) -> Diagnosis:
    """Measure a run after every task from the second on.

    Args:
        dataroot: where its data set is now; None: where its settings say.
        count: images of each kind at most.
        seed: of the choice of images and of the dreams' noise.
        workers: processes that decode images; None: as many as the run had.

    Raises UserError where the run has not finished two tasks, or its files or data cannot be read.
    """
    settings = read_settings(run)
    settings.dataroot = str(dataroot or settings.dataroot)
    settings.workers = settings.workers if workers is None else workers
    settings.precision = "fp32"  # of what is measured, whatever the run was trained with
    data = read_data(settings)
    streams = Streams(device)
    learner = build_learner(settings, streams, device, 0).eval()

    found: dict[int, list[dict[str, float]]] = {}
    for repeat in range(settings.repeat):
        tasks = tasks_of_repeat(settings, data, repeat, learner.normalised, device)
        for task in tasks[1 : finished_tasks(run, repeat)]:
            load_after(learner, task.index, run / "models" / f"repeat-{repeat + 1}")
            learner.start_task(task)
            place = (seed, repeat, task.index)
            old = sample([past.test for past in tasks[: task.index]], count, seed_of(*place, "old"))
            new = sample([task.test], count, seed_of(*place, "new"))
            streams.noise.manual_seed(seed_of(*place, "dreams"))
            dreams = [learner.dream(len(x)) for x in old] if learner.generator_type else []
            found.setdefault(task.index + 1, []).append({**diagnose_model(learner, task, old, new, dreams), **measured(run, repeat, task.index)})
    values = {task: {measure: float(np.mean([one[measure] for one in each])) for measure in DIAGNOSTICS} for task, each in sorted(found.items())}
    return Diagnosis(run.resolve().name, {task: len(found[task]) for task in values}, values)


# What is shown


def table(diagnoses: Sequence[Diagnosis], form: str = "text") -> str:
    """A line a run and task; below it, but in CSV, what each number says."""
    rows = [["run", "task", "repeats", *(DIAGNOSTICS if form == "csv" else (heading for heading, *_ in DIAGNOSTICS.values()))]]
    for diagnosis in diagnoses:
        for task, values in diagnosis.values.items():
            numbers = [show_value(values[name], ".6f" if form == "csv" else shown) for name, (_, shown, _) in DIAGNOSTICS.items()]
            rows.append([diagnosis.name, str(task), str(diagnosis.repeats[task]), *numbers])
    if form == "csv":
        return show_rows(rows, form)
    explained = [["number", "what it says"], *([heading, text] for heading, _, text in DIAGNOSTICS.values())]
    if form == "text":
        width = max(len(heading) for heading, _ in explained)
        return "\n".join([show_rows(rows, form), "", *(f"{heading.ljust(width)}  {text}" for heading, text in explained[1:])])
    return f"{show_rows(rows, form)}\n\n{show_rows(explained, form)}"


# {what the panels of a row share: {title of a panel: measure}}
PANELS = {
    "squared MMD": {"from real old to real new images": "mmd_new", "from real old images to dreams": "mmd_dreams"},
    "linear CKA with the teacher": {"on real old images": "cka_old", "on dreams": "cka_dreams", "on real new images": "cka_new"},
    "share (%)": {"real old images called new": "old_as_new", "dreams called new": "dreams_as_new", "real new images called old": "new_as_old"},
    "accuracy (%)": {"all classes seen, by the classifier": "top1", "all classes seen, by the nearest class mean": "ncm"},
    "mean length": {"classifier's rows, old classes": "norm_old", "classifier's rows, the task's classes": "norm_new"},
}
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#000000", "#7F7F7F")  # Okabe and Ito 2008
MARKERS = "os^vD<>PX*hp"


def diagnosis_figure(diagnoses: Sequence[Diagnosis]) -> Figure:
    """A panel a measure, those to compare in a row, a line a run; task by task."""
    figure = Figure(figsize=(10.5, 11.9), layout="constrained")
    grid = figure.subplots(len(PANELS), 3, sharey="row")
    last = max(task for diagnosis in diagnoses for task in diagnosis.values)
    for row, (shared, panels) in zip(grid, PANELS.items()):
        for axes, (title, name) in zip(row, panels.items()):
            for place, diagnosis in enumerate(diagnoses):
                axes.plot(
                    list(diagnosis.values), [values[name] for values in diagnosis.values.values()], label=diagnosis.name,
                    color=COLOURS[place % len(COLOURS)], marker=MARKERS[place % len(MARKERS)], markersize=5, linewidth=1.5)
            if name.startswith("mmd"):
                axes.set_yscale("symlog", linthresh=0.01)  # between real images it is small, and at times a little below 0
                axes.set_yticks([0, 0.01, 0.1, 1], ["0", "0.01", "0.1", "1"])
                axes.set_ylim(top=2)
            if shared.endswith("(%)"):
                axes.set_ylim(-4, 104)
            axes.set_title(title, fontsize=10)
            axes.set_xlabel("after task", fontsize=9)
            axes.set_xticks(range(2, last + 1) if last <= 10 else range(2, last + 1, 2))
            axes.set_xlim(1.7, last + 0.3)
            axes.tick_params(labelsize=8)
            axes.grid(axis="y", color="#E5E5E5", linewidth=0.7)
            axes.spines[["top", "right"]].set_visible(False)
        row[0].set_ylabel(shared, fontsize=9)
        for axes in row[len(panels) :]:
            axes.set_axis_off()
    lines = grid[0, 0].get_lines()
    names = [name if len(name) <= 40 else f"…{name[-39:]}" for name in (diagnosis.name for diagnosis in diagnoses)]
    grid[0, 2].legend(lines, names, loc="center left", fontsize=9 if len(names) <= 8 else 7, frameon=False)
    return figure


def check_figure(path: Path) -> None:
    """Raises UserError where no picture can be written: before all is measured for it."""
    if path.suffix.lower() != ".png" or path.is_dir():
        raise UserError(f"--figure {path}: is no PNG file; name one that ends in .png")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise UserError(f"--figure {path}: cannot be written ({error.strerror}); name another file") from error


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser(
        prog="utils.reports.diagnose", allow_abbrev=False,
        description="Why synthetic replay fails and what ABD mends: features, task confusion and classifier of finished runs.")
    parser.add_argument("runs", nargs="+", type=user_path, metavar="RUN", help="log_dir of a run that has finished two tasks or more")
    parser.add_argument("--dataroot", type=user_path, metavar="DIR", help="folder of the data sets, where the runs' own setting no longer holds")
    parser.add_argument(
        "--figure", type=user_path, default=Path("outputs/diagnosis.png"), metavar="FILE", help="the figure, PNG; default: outputs/diagnosis.png")
    parser.add_argument(
        "--images", type=int, default=2000, metavar="N", help="images of each kind at most: real old, real new, dreams; default: 2000")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the choice of images and of the dreams; default: 0")
    parser.add_argument("--workers", type=int, metavar="N", help="processes that decode ImageNet; default: as many as each run had")
    parser.add_argument("--gpuid", type=int, default=0, metavar="N", help="GPU to compute on; negative, or no GPU here: CPU; default: 0")
    add_forms(parser)
    try:
        given: Any = parser.parse_args(arguments)
        if given.images < 2:
            raise UserError(f"--images {given.images}: a distance needs two at least")
        if given.workers is not None and given.workers < 0:
            raise UserError(f"--workers {given.workers}: is below 0")
        device = choose_device([given.gpuid])
        probe(device)
        set_precision("fp32")
        most = max(read_settings(run).workers for run in given.runs)  # and all are runs, before any is measured
        workers = most if given.workers is None else given.workers
        check_figure(given.figure)
        diagnoses: list[Diagnosis] = []
        try:
            for run, name in zip(given.runs, run_names(given.runs)):
                diagnoses.append(diagnose(run, given.dataroot, given.images, given.seed, device, given.workers))
                diagnoses[-1].name = name
        finally:  # what there is
            if diagnoses:
                print(table(diagnoses, given.form))
        try:
            save_figure(given.figure, diagnosis_figure(diagnoses))
        except OSError as error:
            raise UserError(f"--figure {given.figure}: cannot be written ({error.strerror}); name another file") from error
        print(f"utils.reports.diagnose: drawn: {given.figure.absolute()}", file=sys.stderr)
    except UserError as error:
        print(f"utils.reports.diagnose: {error}", file=sys.stderr)
        return 2
    except (RuntimeError, MemoryError) as error:
        if not (reason := device_failure(error, device) or worker_failure(error, workers)):
            raise
        print(f"utils.reports.diagnose: {reason}", file=sys.stderr)
        return 1
    return finish("utils.reports.diagnose")


if __name__ == "__main__":
    sys.exit(run_command("utils.reports.diagnose", main))
