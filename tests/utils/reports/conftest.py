import dataclasses

import pytest
import torch

from dataloaders.datasets import DATASETS
from dataloaders.tasks import split_classes
from learners import REGISTRY
from utils.command_line import parse
from utils.files import write_yaml
from utils.reports.places import tables_of
from utils.reports.runs import names_of, read_runs
from utils.reports.tables import show_table
from utils.training.measures import Measures
from utils.training.results import Results


def measures(by_task, images=None):
    nothing = torch.zeros(len(by_task), len(by_task), dtype=torch.int64)
    return Measures(by_task, by_task, images or [100] * len(by_task), 0.0, 0.0, 0.0, nothing)


def matrix(tasks, start=80.0, drop=10.0, done=None):
    """[after task][on task]: ``start`` when learned, ``drop`` less with every later task."""
    return [[start - drop * (after - on) for on in range(after + 1)] for after in range(tasks)][:done]


TWO = [matrix(5), matrix(5, 90.0, 20.0)]  # after each task 80 75 70 65 60, and 90 80 70 60 50


@pytest.fixture
def leave(root, tmp_path):
    """What a run leaves, an hour per task: leave(folder, matrices, method, protocol, setting=value, ...)."""

    def run(folder, matrices, method="abd", protocol="cifar100", stored=1000, images=100, **changes):
        configs = [str(root / "configs" / f"{name}.yaml") for name in (method, protocol)]
        settings = dataclasses.asdict(
            parse(REGISTRY, ["--config", *configs])) | {"log_dir": f"outputs/{folder}"} | changes
        path = tmp_path / folder
        write_yaml(path / "args.yaml", settings)
        results, known = Results(), DATASETS.get(settings["dataset"])
        if known and known.top_k > 1:
            results.notes["top_k"] = known.top_k
        for repeat, rows in enumerate(matrices):
            for row in rows:
                counts = [images] * len(row) if isinstance(images, int) else images[: len(row)]
                results.add(repeat, measures(row, counts), stored, 3600.0)
        if matrices:
            sizes = settings["first_split_size"], settings["other_split_size"]
            tasks = len(split_classes(known.classes if known else 100, *sizes, sizes=settings["task_sizes"]))
            results.save(path, tasks if settings["max_task"] < 0 else settings["max_task"])
        return path

    return run


@pytest.fixture
def tables(tmp_path):
    """The tables of runs: tables("abd", "base"), or of all in tmp_path; warnings raise."""

    def read(*names):
        folders = [tmp_path / name for name in names] or [
            path.parent for path in sorted(tmp_path.rglob("args.yaml"))]
        warnings = []
        found = tables_of(read_runs(folders, names_of(folders), warnings))
        assert warnings == []
        return found

    return read


@pytest.fixture
def rows(tables):
    """The lines of the first table as people see it: rows("abd") -> [{column: cell}]."""

    def read(*names, paper=False):
        _, _, heading, _, *lines = show_table(tables(*names)[0], "markdown", paper).splitlines()
        cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in (heading, *lines)]
        return [dict(zip(cells[0], row)) for row in cells[1:] if len(row) == len(cells[0])]

    return read
