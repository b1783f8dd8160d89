"""Which runs are repeats of one another, and in which settings others differ."""

import json
from collections.abc import Sequence

import numpy as np

from utils.reports.places import show_setting
from utils.reports.runs import PARTS, Run


def merged(runs: Sequence[Run], warnings: list[str]) -> list[Run]:
    """Join the runs that are repeats of one another.

    A seed that is there twice counts once, in the run that has come furthest, and is a line in ``warnings``.
    Runs that differ in nothing but their threads are repeats only if their seeds differ.
    """

    def alike(runs: Sequence[Run]) -> list[list[Run]]:
        groups: dict[str, list[Run]] = {}
        for run in runs:
            key = json.dumps([run.compared, run.top_k], sort_keys=True, default=str)
            groups.setdefault(key, []).append(run)
        return list(groups.values())

    groups = []
    for group in alike(runs):
        seeds = [seed for run in group for seed in run.seeds]
        if len(set(seeds)) < len(seeds):
            for run in group:
                run.compared["threads"] = run.settings["threads"]
        groups += alike(group)
    return [joined(group, warnings) if len(group) > 1 else group[0] for group in groups]


def joined(runs: Sequence[Run], warnings: list[str]) -> Run:
    """Repeats in several folders as one run."""
    chosen: dict[int, tuple[int, Run, int]] = {}  # {seed: (finished tasks, run, its repeat)}
    for run in runs:
        for repeat, seed in enumerate(run.seeds):
            done = int(np.isfinite(run.accuracy[:, repeat]).sum())
            if seed in chosen:
                before, other, _ = chosen[seed]
                kept, left = (other, run) if before >= done else (run, other)
                if before and done:
                    warnings.append(f"seed {seed} is there twice: {kept.name} counts, {left.name} does not")
            if seed not in chosen or done > chosen[seed][0]:
                chosen[seed] = done, run, repeat
    seeds = sorted(chosen)
    columns = [chosen[seed][1:] for seed in seeds]
    results = {
        part: np.stack([run.results[part][..., repeat] for run, repeat in columns], axis=-1)
        for part in PARTS}
    names = [run.name for run in runs]
    name = ", ".join(names if len(names) <= 3 else [names[0], "…", names[-1]])
    folders = [folder for run in runs for folder in run.folders]
    return Run(name, folders, runs[0].settings, runs[0].compared, seeds, results, runs[0].top_k)


def differing(runs: Sequence[Run]) -> list[str]:
    """The settings in which runs differ."""
    names = dict.fromkeys(name for run in runs for name in run.compared)
    first = runs[0].compared if runs else {}
    return [name for name in names if any(run.compared.get(name) != first.get(name) for run in runs)]


def value_of(run: Run, name: str) -> str:
    """A setting of a run as tables show it; "" for one that its learner lacks."""
    if name == "load_model_dir" and not run.compared[name]:
        return ""
    return show_setting(run.settings.get(name, ""))
