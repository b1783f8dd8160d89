"""Why synthetic replay fails and what ABD mends, measured on runs that have finished two tasks or more.

    python -m utils.reports.diagnose RUN [RUN ...]        a table, and a figure at --figure

One row per run and task, from the second on; numbers are means over repeats. "Model" is the one saved after the task,
"teacher" the one saved after the task before. Images are test images (with --validation, images held out of training);
dreams are what the model replayed while it learned the task. All networks are in evaluation mode.

If replay kept the old classes' place among the features, dreams would lie with real old images and both would be called
alike. A domain bias shows if dreams lie farther from real old images than those from real new ones, and if real old
images are called new while dreams are not.
"""

import functools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from dataloaders.batches import Images
from dataloaders.datasets import read_data
from dataloaders.image_files import worker_failure
from dataloaders.tasks import Task, tasks_of_repeat
from learners import REGISTRY, Learner, build_learner
from utils.command_line import parse
from utils.device import choose_device, device_failure, probe, set_precision
from utils.errors import Parser, RunError, UserError, run_main
from utils.files import read_tensors, user_path
from utils.reports.figures import save_figure
from utils.reports.runs import Run, is_run, merged, read_history, read_run, run_names
from utils.reports.tables import add_forms, show_rows, show_value
from utils.settings import Settings
from utils.streams import Streams, seed_of

NAME = "utils.reports.diagnose"
CPU = torch.device("cpu")
MEASURED = ("top1", "ncm")  # by the run itself, in its results-acc
# {measure: (heading, format, what the number says)}
DIAGNOSTICS = {
    "mmd_new": ("MMD² old:new", ".3f", "squared maximum mean discrepancy between the model's features of real old and new images"),
    "mmd_dreams": ("MMD² old:dreams", ".3f", "the same between real old images and dreams: how far replay is from what it replaces"),
    "cka_old": ("CKA old", ".3f", "linear CKA of model and teacher on real old images: 1 if they differ by rotation and scale alone"),
    "cka_dreams": ("CKA dreams", ".3f", "the same on dreams"),
    "cka_new": ("CKA new", ".3f", "the same on real new images"),
    "old_as_new": ("old as new %", ".1f", "real old images that the model, among all classes seen, calls one of the task's"),
    "dreams_as_new": ("dreams as new %", ".1f", "dreams that it calls one of the task's"),
    "new_as_old": ("new as old %", ".1f", "real new images that it calls an old class"),
    "norm_old": ("|w| old", ".3f", "mean length of the classifier's rows of the old classes"),
    "norm_new": ("|w| new", ".3f", "mean length of its rows of the task's classes"),
    "top1": ("top-1 %", ".1f", "top-1 accuracy on all classes seen, by the classifier, as the run measured it"),
    "ncm": ("NCM top-1 %", ".1f", "the same by the nearest class mean of the features, without the classifier"),
}


def squared_mmd(x: Tensor, y: Tensor, bandwidth: float) -> float:
    """Unbiased estimate of the squared maximum mean discrepancy (Gretton et al. 2012, lemma 6) of samples [N, D] and
    [M, D] with the kernel exp(-|a - b|^2 / (2 bandwidth^2)): 0 on average for samples of one distribution, at most 2."""

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return torch.exp(-torch.cdist(a.double(), b.double()).square() / (2 * bandwidth**2))

    def among(a: Tensor) -> Tensor:
        pairs = kernel(a, a)
        return (pairs.sum() - pairs.diagonal().sum()) / (len(a) * (len(a) - 1))

    return (among(x) + among(y) - 2 * kernel(x, y).mean()).item()


def median_distance(x: Tensor) -> float:
    """Median of the distances between all pairs of a sample [N, D], a bandwidth; never 0."""
    return max(torch.pdist(x.double()).median().item(), 1e-30)


def linear_cka(x: Tensor, y: Tensor) -> float:
    """Linear centred kernel alignment (Kornblith et al. 2019) of representations [N, D] and [N, E] of the same images:
    |Yc' Xc|^2 / (|Xc' Xc| |Yc' Yc|), in [0, 1]; NaN if one is constant."""
    x, y = (z.double() - z.double().mean(0) for z in (x, y))
    return ((y.T @ x).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm())).item()


@torch.no_grad()
def diagnose_model(learner: Learner, task: Task, old: list[Tensor], new: list[Tensor], dreams: list[Tensor]) -> dict[str, float]:
    """The DIAGNOSTICS after a task except MEASURED; NaN for dreams if there are none.

    Args:
        old, new, dreams: batches of images [B, 3, S, S], as networks see them.
    """
    sets = {kind: batches for kind, batches in (("old", old), ("new", new), ("dreams", dreams)) if batches}
    features = {kind: torch.cat([learner.model.features(x) for x in batches]) for kind, batches in sets.items()}
    before = {kind: torch.cat([learner.teacher.features(x) for x in batches]) for kind, batches in sets.items()}
    called = {kind: torch.cat([learner.predict(x)[:, : task.seen].argmax(1) for x in batches]) for kind, batches in sets.items()}
    bandwidth = median_distance(torch.cat([features["old"], features["new"]]))
    rows = learner.model.last.weight.norm(dim=1)
    found = {
        "new_as_old": 100 * (called["new"] < task.old).double().mean().item(),
        "norm_old": rows[: task.old].mean().item(), "norm_new": rows[task.old : task.seen].mean().item(),
        **{f"mmd_{kind}": squared_mmd(features["old"], features[kind], bandwidth) for kind in features if kind != "old"},
        **{f"cka_{kind}": linear_cka(features[kind], before[kind]) for kind in features},
        **{f"{kind}_as_new": 100 * (called[kind] >= task.old).double().mean().item() for kind in called if kind != "new"},
    }
    return {name: found.get(name, np.nan) for name in DIAGNOSTICS if name not in MEASURED}


# A run


@dataclass
class Diagnosis:
    """The numbers of a run.

    Attributes:
        repeats: {task, from 2: repeats that have finished it}.
        values: {task: {measure: mean over those repeats}}.
        images: "test" or "validation".
    """

    name: str
    repeats: dict[int, int]
    values: dict[int, dict[str, float]]
    images: str = "test"


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
        reason = "is missing" if isinstance(error, FileNotFoundError) else "cannot be read as a network of this run"
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
    histories = {name: read_history(folder / "results-acc" / f"{name}.yaml", 2)[0] for name in MEASURED}
    return {name: float(history[task, repeat]) for name, history in histories.items()}


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
    run: Run, dataroot: Path | None = None, count: int = 2000, seed: int = 0, device: torch.device = CPU, workers: int | None = None,
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
                numbers = {**diagnose_model(learner, task, old, new, dreams), **measured(folder, repeat, task.index)}
                found.setdefault(task.index + 1, []).append(numbers)
    values = {
        task: {name: float(np.mean([numbers[name] for numbers in each])) for name in DIAGNOSTICS} for task, each in sorted(found.items())}
    images = "validation" if run.settings["validation"] else "test"
    return Diagnosis(run.name, {task: len(found[task]) for task in values}, values, images)


# What is shown


def table(diagnoses: Sequence[Diagnosis], form: str = "text") -> str:
    """One row per run and task; below it, except in CSV, what each number says."""
    kinds = list(dict.fromkeys(diagnosis.images for diagnosis in diagnoses))
    explained = {
        name: (heading.replace("top-1", f"top-1 {' and '.join(kinds)} accuracy"), *rest) for name, (heading, *rest) in DIAGNOSTICS.items()}
    rows = [["run", "images", "task", "repeats", *(DIAGNOSTICS if form == "csv" else (heading for heading, *_ in explained.values()))]]
    for diagnosis in diagnoses:
        for task, values in diagnosis.values.items():
            numbers = [show_value(values[name], ".6f" if form == "csv" else shown) for name, (_, shown, _) in DIAGNOSTICS.items()]
            rows.append([diagnosis.name, diagnosis.images, str(task), str(diagnosis.repeats[task]), *numbers])
    if form == "csv":
        return show_rows(rows, form)
    return f"{show_rows(rows, form)}\n\n{show_rows([['number', 'what it says'], *([heading, text] for heading, _, text in explained.values())], form)}"


# {what the panels of a row share: {title of a panel: measure}}
PANELS = {
    "squared MMD": {"from real old to real new images": "mmd_new", "from real old images to dreams": "mmd_dreams"},
    "linear CKA with the teacher": {"on real old images": "cka_old", "on dreams": "cka_dreams", "on real new images": "cka_new"},
    "share (%)": {"real old images called new": "old_as_new", "dreams called new": "dreams_as_new", "real new images called old": "new_as_old"},
    "top-1 accuracy (%)": {"all classes seen, by the classifier": "top1", "all classes seen, by the nearest class mean": "ncm"},
    "mean length": {"classifier's rows, old classes": "norm_old", "classifier's rows, the task's classes": "norm_new"},
}
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#000000", "#7F7F7F")  # Okabe and Ito 2008
MARKERS = "os^vD<>PX*hp"


def diagnosis_figure(diagnoses: Sequence[Diagnosis]) -> Figure:
    """One panel per measure, one line per run, task by task."""
    figure = Figure(figsize=(10.5, 11.9), layout="constrained")
    grid = figure.subplots(len(PANELS), 3, sharey="row")
    last = max(task for diagnosis in diagnoses for task in diagnosis.values)
    for row, (shared, panels) in zip(grid, PANELS.items()):
        for axes, (title, name) in zip(row, panels.items()):
            for place, diagnosis in enumerate(diagnoses):
                axes.plot(
                    list(diagnosis.values), [values[name] for values in diagnosis.values.values()],
                    color=COLOURS[place % len(COLOURS)], marker=MARKERS[place % len(MARKERS)], markersize=5, linewidth=1.5)
            if name.startswith("mmd"):
                axes.set_yscale("symlog", linthresh=0.01)  # small between real images, and at times a little below 0
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
    names = [diagnosis.name + " (validation images)" * (diagnosis.images == "validation") for diagnosis in diagnoses]
    shown = [name if len(name) <= 40 else f"…{name[-39:]}" for name in names]
    grid[0, 2].legend(grid[0, 0].get_lines(), shown, loc="center left", fontsize=9 if len(names) <= 8 else 7, frameon=False)
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    parser = Parser(
        prog=NAME, allow_abbrev=False,
        description="Why synthetic replay fails and what ABD mends: features, task confusion and classifier of finished runs.")
    parser.add_argument("runs", nargs="+", type=user_path, metavar="RUN", help="log_dir of a run that has finished two tasks or more")
    parser.add_argument("--dataroot", type=user_path, metavar="DIR", help="folder of the data sets; default: the runs' own setting")
    parser.add_argument("--figure", type=user_path, default=Path("outputs/diagnosis.png"), metavar="FILE", help="PNG; default: outputs/diagnosis.png")
    parser.add_argument("--images", type=int, default=2000, metavar="N", help="images of each kind at most: old, new, dreams; default: 2000")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the choice of images and of the dreams; default: 0")
    parser.add_argument("--workers", type=int, metavar="N", help="processes that decode ImageNet; default: as many as each run had")
    parser.add_argument("--gpuid", type=int, default=0, metavar="N", help="GPU to compute on; negative, or no GPU here: CPU; default: 0")
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
    runs = merged([read_run(folder, name, warnings) for folder, name in zip(given.runs, run_names(given.runs))], warnings)
    for line in warnings:
        print(f"{NAME}: {line}", file=sys.stderr)
    diagnoses: list[Diagnosis] = []
    try:
        for run in runs:
            diagnoses.append(diagnose(run, given.dataroot, given.images, given.seed, device, given.workers))
    except (RuntimeError, MemoryError) as error:
        reason = device_failure(error, device) or worker_failure(error, most if given.workers is None else given.workers)
        if not reason:
            raise
        raise RunError(reason) from error
    finally:  # what has been measured
        if diagnoses:
            print(table(diagnoses, given.form))
    try:
        save_figure(given.figure, diagnosis_figure(diagnoses))
    except OSError as error:
        raise UserError(f"--figure {given.figure}: cannot be written ({error.strerror}); name another file") from error
    print(f"{NAME}: drawn: {given.figure.absolute()}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(run_main(NAME, main))
