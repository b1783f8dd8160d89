import dataclasses

import pytest

from learners import REGISTRY
from utils.command_line import parse
from utils.files import write_yaml
from utils.training.measures import Measures
from utils.training.metrics import Results


@pytest.fixture
def leave(root, tmp_path):
    """What a run leaves: leave(folder, matrices, method, protocol, setting=value, ...); an hour a task, ``stored`` values, so many
    test ``images`` a task."""

    def run(folder, matrices, method="abd", protocol="cifar100", stored=1000, images=100, **changes):
        configs = [str(root / "configs" / f"{name}.yaml") for name in (method, protocol)]
        settings = dataclasses.asdict(parse(REGISTRY, ["--config", *configs])) | changes
        path = tmp_path / folder
        write_yaml(path / "args.yaml", settings)
        results = Results()
        for repeat, rows in enumerate(matrices):
            for row in rows:
                counts = [images] * len(row) if isinstance(images, int) else images[: len(row)]
                results.add(repeat, Measures(row, row, counts), stored, 3600.0)
        if matrices:
            first, other = settings["first_split_size"], settings["other_split_size"]
            tasks = 1 + (100 - first) // other
            results.save(path, tasks if settings["max_task"] < 0 else settings["max_task"])
        return path

    return run
