import contextlib
import dataclasses
import io

import pytest
import torch

from learners import REGISTRY
from utils.command_line import parse
from utils.files import write_yaml
from utils.reports.runs import read_run, read_runs
from utils.reports.tables import show_table, tables_of
from utils.training.results import Results


def measures(by_task, images=None):
    nothing = torch.zeros(len(by_task), len(by_task), dtype=torch.int64)
    return {"by_task": by_task, "by_task_local": by_task, "images": images or [100] * len(by_task),
            "top1": 0.0, "top5": 0.0, "ncm": 0.0, "confusion": nothing}


def matrix(tasks, start=80.0, drop=10.0, done=None):
    """[after task][on task]: ``start`` when learned, ``drop`` less with every later task."""
    return [[start - drop * (after - on) for on in range(after + 1)] for after in range(tasks)][:done]


TWO = [matrix(5), matrix(5, 90.0, 20.0)]  # after each task 80 75 70 65 60, and 90 80 70 60 50
HALF, SIZES = [[60.0 - 5 * after, *[90.0] * after] for after in range(6)], [5000, *[1000] * 5]


@pytest.fixture
def leave(root, tmp_path):
    """What a run leaves, an hour per task: leave(folder, matrices, method, protocol, setting=value, ...)."""

    def run(folder, matrices, method="abd", protocol="cifar100", images=None, **changes):
        configs = [str(root / "configs" / f"{name}.yaml") for name in (method, protocol)]
        settings = dataclasses.asdict(parse(REGISTRY, ["--config", *configs]))
        settings |= {"log_dir": f"outputs/{folder}", "repeat": max(1, len(matrices))} | changes
        path, results = tmp_path / folder, Results()
        write_yaml(path / "args.yaml", settings)
        for repeat, rows in enumerate(matrices):
            for row in rows:
                results.add(repeat, measures(row, images and images[: len(row)]), 1000, 3600.0)
        if matrices:
            results.save(path, len(read_run(path, "").sizes))
        return path

    return run


@pytest.fixture
def tables(tmp_path):
    """The tables of runs: tables("abd", "base"), or of all in tmp_path; nothing may be warned of."""

    def read(*names):
        found = sorted(path.parent for path in tmp_path.rglob("args.yaml"))
        with contextlib.redirect_stderr(io.StringIO()) as warnings:
            tables = tables_of(read_runs([tmp_path / name for name in names] or found, "it"))
        assert warnings.getvalue() == ""
        return tables

    return read


@pytest.fixture
def rows(tables):
    """The lines of the first table as people see it: rows("abd") -> [{column: cell}]."""

    def read(*names, paper=False):
        _, _, heading, _, *lines = show_table(tables(*names)[0], "markdown", paper).splitlines()
        cells = [[cell.strip() for cell in line[1:-1].split(" | ")] for line in (heading, *lines)]
        return [dict(zip(cells[0], row)) for row in cells[1:] if len(row) == len(cells[0])]

    return read
