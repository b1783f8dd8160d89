"""Why synthetic replay fails and what ABD fixes, measured on runs that have finished two tasks or more.

    python -m utils.reports.diagnose RUN [RUN ...]        a table, and a figure at --figure

One row per run and task, from the second on; numbers are means over repeats. Features are those of the model
saved after the task, the teacher is the model saved after the task before. Images are the run's test images;
dreams are what the model replayed while it learned the task. All networks are in evaluation mode.

If replay preserved old features, dreams would lie near real old images and be classified like them. A domain
bias shows if dreams lie farther from real old images than those from real new ones, and if real old images
are called new while dreams are not.
"""

import functools
import sys
from collections.abc import Sequence
from itertools import groupby
from math import nan
from pathlib import Path

import numpy as np
import torch
from matplotlib import color_sequences
from matplotlib.figure import Figure
from torch import Tensor

from dataloaders.batches import Images
from dataloaders.datasets import read_data
from dataloaders.tasks import Task, tasks_of_repeat
from learners import Learner
from utils.device import choose_device, probe, set_precision
from utils.errors import Parser, UserError, run_main
from utils.files import user_path
from utils.load import load_run
from utils.reports.figures import save_figure
from utils.reports.runs import Run, read_runs
from utils.reports.tables import add_forms, show_rows
from utils.streams import seed_of
from utils.training.folder import is_run

NAME = "experiments/diagnose.sh"
CPU = torch.device("cpu")
# {measure: (column of the table, row of the figure, panel of the row)}
MEASURES = {
    "mmd_new": ("MMD² old:new", "squared MMD", "from real old to real new images"),
    "mmd_dreams": ("MMD² old:dreams", "squared MMD", "from real old images to dreams"),
    "cka_old": ("CKA old", "linear CKA with the teacher", "on real old images"),
    "cka_dreams": ("CKA dreams", "linear CKA with the teacher", "on dreams"),
    "cka_new": ("CKA new", "linear CKA with the teacher", "on real new images"),
    "old_as_new": ("old as new %", "share (%)", "real old images called new"),
    "dreams_as_new": ("dreams as new %", "share (%)", "dreams called new"),
    "new_as_old": ("new as old %", "share (%)", "real new images called old"),
    "top1": ("top-1 %", "top-1 accuracy (%)", "by the classifier"),
    "ncm": ("NCM top-1 %", "top-1 accuracy (%)", "by the nearest class mean"),
    "norm_old": ("|w| old", "mean length", "classifier's rows, old classes"),
    "norm_new": ("|w| new", "mean length", "classifier's rows, the task's classes"),
}
MEASURED = {"top1", "ncm"}  # by the run itself
COLOURS = color_sequences["petroff10"]  # which the colour-blind tell apart (Petroff 2021)

Diagnosis = dict[int, dict[str, float]]  # {task, from 2: {measure: mean over repeats; "repeats": how many}}


def squared_mmd(x: Tensor, y: Tensor, bandwidth: float) -> float:
    """Unbiased estimate of the squared maximum mean discrepancy (Gretton et al. 2012, lemma 6) of samples [N,
    D] and [M, D] with the kernel exp(-|a - b|^2 / (2 bandwidth^2)): 0 on average for samples of one
    distribution, at most 2."""

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return torch.exp(-torch.cdist(a.double(), b.double()).square() / (2 * bandwidth**2))

    def within(a: Tensor) -> Tensor:
        pairs = kernel(a, a)
        return (pairs.sum() - pairs.diagonal().sum()) / (len(a) * (len(a) - 1))

    return (within(x) + within(y) - 2 * kernel(x, y).mean()).item()


def linear_cka(x: Tensor, y: Tensor) -> float:
    """Linear centred kernel alignment (Kornblith et al. 2019) of representations [N, D] and [N, E] of the
    same images: |Yc' Xc|^2 / (|Xc' Xc| |Yc' Yc|), in [0, 1], and 1 if they differ only by rotation and scale;
    NaN if one is constant."""
    x, y = (z.double() - z.double().mean(0) for z in (x, y))
    return ((y.T @ x).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm())).item()


@torch.no_grad()
def diagnose_model(
    learner: Learner, task: Task, old: list[Tensor], new: list[Tensor], dreams: list[Tensor],
) -> dict[str, float]:
    """The MEASURES of a learner after a task except MEASURED, and those of dreams if there are none.

    Args:
        old, new, dreams: batches of images [B, 3, S, S], as networks see them.
    """
    rows = learner.model.last.weight.norm(dim=1)
    values = {"norm_old": rows[: task.old].mean().item()}
    values["norm_new"] = rows[task.old : task.seen].mean().item()
    features = {}
    for kind, batches in {"old": old, "new": new, **({"dreams": dreams} if dreams else {})}.items():
        features[kind] = torch.cat([learner.model.features(x) for x in batches])
        before = torch.cat([learner.teacher.features(x) for x in batches])
        values[f"cka_{kind}"] = linear_cka(features[kind], before)
        called = torch.cat([learner.predict(x)[:, : task.seen].argmax(1) for x in batches])
        as_new = 100 * (called >= task.old).double().mean().item()
        values |= {"new_as_old": 100 - as_new} if kind == "new" else {f"{kind}_as_new": as_new}
    distances = torch.pdist(torch.cat([features["old"], features["new"]]).double())
    bandwidth = max(distances.median().item(), 1e-30)  # never 0
    for kind in features.keys() - {"old"}:
        values[f"mmd_{kind}"] = squared_mmd(features["old"], features[kind], bandwidth)
    return values


def sample(images: Sequence[Images], count: int, seed: int) -> list[Tensor]:
    """Batches of at most ``count`` of the images, at random and without replacement."""
    whole = functools.reduce(Images.__add__, images)
    chosen = torch.randperm(len(whole), generator=torch.Generator().manual_seed(seed))[:count]
    return [x for x, _ in whole[chosen.to(whole.rows.device)].in_order()]


def diagnose(
    run: Run, dataroot: Path | None = None, count: int = 2000, device: torch.device = CPU,
) -> Diagnosis:
    """Measure a run and its repeats in other folders after each task from the second on.

    Args:
        dataroot: where the data set is now; None: where the run's settings say.
        count: images of each kind at most.

    Raises UserError if the run has not finished two tasks, or its files or data cannot be read.
    """
    found: dict[int, dict[int, dict[str, float]]] = {}  # by task and seed
    for folder in run.folders:
        whole = load_run(folder)
        settings = whole.settings
        settings.dataroot = str(dataroot or settings.dataroot)
        data = read_data(settings)
        for repeat in range(settings.repeat):
            tasks = tasks_of_repeat(settings, data, repeat, whole.learner.normalised, device)
            finished = len([*(folder / "models" / f"repeat-{repeat + 1}").glob("task-*/class.pth")])
            for task in tasks[1:finished]:
                before, after = (load_run(folder, repeat + 1, task.index + k, str(device)) for k in (0, 1))
                drawn = (0, settings.seed + repeat, task.index)
                old = sample([past.test for past in tasks[: task.index]], count, seed_of(*drawn, "old"))
                new = sample([task.test], count, seed_of(*drawn, "new"))
                before.learner.streams.noise.manual_seed(seed_of(*drawn, "dreams"))
                dreamt = before.learner.old
                before.learner.start_task(task)
                dreams = [before.learner.dream(len(x)) for x in old] if dreamt else []
                after.learner.teacher = before.learner.model
                measures = diagnose_model(after.learner, task, old, new, dreams)
                for name in MEASURED & after.results.keys():
                    measures[name] = after.results[name][task.index, repeat]
                found.setdefault(task.index + 1, {})[settings.seed + repeat] = measures
    if not found:
        raise UserError(f"{run.name}: has not left the models of two tasks in its folder models")
    return {
        task: {name: float(np.mean([measures.get(name, nan) for measures in each.values()]))
               for name in MEASURES} | {"repeats": len(each)}
        for task, each in sorted(found.items())}


def diagnosis_figure(diagnoses: dict[str, Diagnosis]) -> Figure:
    """One panel per measure, one line per run, task by task."""
    figure = Figure(figsize=(10.5, 11.9), layout="constrained")
    rows = [[*row] for _, row in groupby(MEASURES, key=lambda name: MEASURES[name][1])]
    grid = figure.subplots(len(rows), 3, sharey="row")
    for cells, row in zip(grid, rows):
        cells[0].set_ylabel(shared := MEASURES[row[0]][1], fontsize=9)
        for axes in cells[len(row) :]:
            axes.set_axis_off()
        for axes, name in zip(cells, row):
            for place, (run, tasks) in enumerate(diagnoses.items()):
                axes.plot(
                    [*tasks], [measures[name] for measures in tasks.values()], label=run, markersize=5,
                    color=COLOURS[place % len(COLOURS)], marker="os^vD<>PX*hp"[place % 12])
            if name.startswith("mmd"):
                axes.set_yscale("symlog", linthresh=0.01)  # small between real images, at times below 0
                axes.set_yticks([0, 0.01, 0.1, 1], ["0", "0.01", "0.1", "1"])
            if shared.endswith("(%)"):
                axes.set_ylim(-4, 104)
            axes.set_title(MEASURES[name][2], fontsize=10)
            axes.set_xlabel("after task", fontsize=9)
            axes.set_xticks(sorted({task for tasks in diagnoses.values() for task in tasks}))
            axes.grid(axis="y", color="#E5E5E5", linewidth=0.7)
            axes.spines[["top", "right"]].set_visible(False)
    grid[0, 2].legend(*grid[0, 0].get_legend_handles_labels(), loc="center left", fontsize=9, frameon=False)
    return figure


def table(diagnoses: dict[str, Diagnosis], form: str = "text") -> str:
    """One row per run and task; below it, as text, what each number says."""
    exact = form == "csv"
    rows = [["run", "task", "repeats", *(name if exact else MEASURES[name][0] for name in MEASURES)]]
    for run, tasks in diagnoses.items():
        for task, measures in tasks.items():
            cells = [f"{measures[name]:.{6 if exact else 1 if '%' in heading else 3}f}".replace("nan", "")
                     for name, (heading, *_) in MEASURES.items()]
            rows.append([run, str(task), f"{measures['repeats']:.0f}", *cells])
    legend = [f"{heading:17}{shared}, {title}" for heading, shared, title in MEASURES.values()]
    return "\n".join([show_rows(rows, form), *(["", *legend] if form == "text" else [])])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = Parser(
        prog=NAME, allow_abbrev=False,
        description="Why synthetic replay fails and what ABD fixes, measured on finished runs.")
    add = parser.add_argument
    add("runs", nargs="+", type=user_path, metavar="RUN",
        help="log_dir of a run that has finished two tasks or more")
    add("--dataroot", type=user_path, help="folder of the data sets; default: the runs' own setting")
    add("--figure", type=user_path, default=Path("outputs/diagnosis.png"),
        help="PNG, SVG or PDF; default: outputs/diagnosis.png")
    add("--images", type=int, default=2000,
        help="images of each kind at most: old, new, dreams; default: 2000")
    add("--gpuid", type=int, default=0,
        help="GPU to compute on; negative, or no GPU here: CPU; default: 0")
    add_forms(parser)
    given = parser.parse_args(arguments)
    if given.images < 2:
        raise UserError(f"--images {given.images}: a distance needs two at least")
    for folder in given.runs:
        if not is_run(folder):
            raise UserError(f"{folder}: is not a run; give the log_dir of one")
    device = choose_device([given.gpuid])
    probe(device)
    set_precision("fp32")
    diagnoses: dict[str, Diagnosis] = {}
    try:
        for run in read_runs(given.runs, NAME):
            name = f"{run.name} (validation images)" if run.settings["validation"] else run.name
            diagnoses[name] = diagnose(run, given.dataroot, given.images, device)
    finally:
        if diagnoses:
            print(table(diagnoses, given.form))
    save_figure(given.figure, diagnosis_figure(diagnoses))
    print(f"{NAME}: drawn {given.figure.absolute()}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(run_main(NAME, main))
