import dataclasses
import re

import pytest
import torch

from dataloaders.datasets import DATASETS
from dataloaders.tasks import split_classes
from learners import REGISTRY
from utils.command_line import parse
from utils.files import read_yaml, write_yaml
from utils.training.measures import Measures
from utils.training.results import Results


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
            sizes = settings["first_split_size"], settings["other_split_size"]
            tasks = len(split_classes(DATASETS[settings["dataset"]].classes, *sizes, sizes=settings["task_sizes"]))
            results.save(path, tasks if settings["max_task"] < 0 else settings["max_task"])
        return path

    return run


@pytest.fixture
def plain():
    """Rewrites a saved network as the published code leaves it, a plain state dict under its own names: plain(path, prefix)."""

    def run(path, prefix="", **how):
        state = torch.load(path, weights_only=True)
        published = [
            (r"^conv1", "conv_1_3x3"), (r"^bn1", "bn_1"), (r"layer(\d)", r"stage_\1"), (r"conv1\b", "conv_a"), (r"bn1\b", "bn_a"),
            (r"conv2\b", "conv_b"), (r"bn2\b", "bn_b")]
        renamed = {}
        for name, value in state.items():
            for ours, theirs in published:
                name = re.sub(ours, theirs, name)
            renamed[prefix + name] = value
        torch.save(renamed, path, **how)

    return run


@pytest.fixture
def as_published():
    """Rewrites a run's args.yaml as the published code recorded it, and removes what that one did not leave: as_published(folder, name=value)."""

    def run(folder, **changes):
        settings = {name: value for name, value in read_yaml(folder / "args.yaml").items() if name in FLAGS}
        unset = {"load_model_dir": None, "overwrite": 1, "workers": 8}
        if settings["learner_type"] != "datafree":
            unset |= {"deep_inv_params": [-1.0], "gen_model_type": "mlp", "gen_model_name": "MLP"}
        write_yaml(folder / "args.yaml", settings | unset | changes)
        for name in ("metrics.jsonl", "checkpoint.pt", "checkpoint-previous.pt", "run.lock"):
            (folder / name).unlink(missing_ok=True)

    return run


@pytest.fixture
def config(tmp_path):
    """Writes a YAML file: config(text) -> path."""
    def write(text, name="config.yaml"):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write
