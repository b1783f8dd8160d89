"""Fixtures of the whole suite. Every test that trains uses scikit-learn's digits, a small ResNet and few steps."""

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dataloaders.datasets import DATASETS, Split
from dataloaders.tasks import split_classes, task_sequence
from learners import LEARNERS
from utils.checkpoint import RunFolder
from utils.settings import Settings, parse
from utils.streams import Streams
from utils.trainer import Trainer, build_learner

torch.set_num_threads(1)  # the subprocesses' number: bytes depend on it

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"

TINY = (
    "--dataset Digits --rand_split --first_split_size 2 --other_split_size 2 --max_task 2 --model_name resnet8 "
    "--gen_model_name CIFAR_GEN_SMALL --batch_size 64 --schedule 1 2 --power_iters 4 --gpuid -1 --threads 1 --mu 0.1 --lr 0.05"
).split()


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def golden():
    folder = SHARED / "golden"
    if not folder.is_dir():
        pytest.skip(f"no golden numbers in {folder}")
    return folder


@pytest.fixture(scope="session")
def cifar100(tmp_path_factory):
    """A folder that holds the official cifar-100-python."""
    if (ROOT / "datasets" / "cifar-100-python" / "train").is_file():
        return ROOT / "datasets"
    unpack = SHARED / "data" / "unpack_cifar100.py"
    if not unpack.is_file():
        pytest.skip(f"CIFAR-100 is neither in {ROOT / 'datasets'} nor to be unpacked by {unpack}")
    folder = tmp_path_factory.mktemp("datasets")
    done = subprocess.run([sys.executable, unpack, folder], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return folder


def tiny_flags(learner="NormalNN", *more):
    return [*TINY, "--learner_type", LEARNERS[learner].learner_type, "--learner_name", learner, *map(str, more)]


@pytest.fixture(scope="session")
def tiny():
    """The flags of a run of seconds: tiny(learner, flag, value, ...); later flags win."""
    return tiny_flags


@pytest.fixture(scope="session")
def digits():
    return DATASETS["Digits"].read(Path())


@pytest.fixture(scope="session")
def trainer(tiny, digits):
    """A trainer of a tiny run that has not begun: trainer(log_dir, learner, flag, value, ...)."""

    def build(log_dir, learner="NormalNN", *more):
        settings = parse(tiny(learner, "--log_dir", log_dir, *more))
        return Trainer(settings, digits, RunFolder(settings), torch.device("cpu"))

    return build


@pytest.fixture(scope="session")
def finished(trainer, tmp_path_factory):
    """The folder of a finished tiny run of a learner, with these flags more; not to be changed."""

    @functools.cache
    def folder(learner="NormalNN", *more):
        path = tmp_path_factory.mktemp(learner)
        trainer(path, learner, *more).run()
        return path

    return folder


@pytest.fixture
def copied(finished, tmp_path):
    """A finished run that may be changed: copied(learner, flag, value, ...)."""
    def copy(*which):
        return shutil.copytree(finished(*which), tmp_path / "copied")

    return copy


def lasting_files(folder):
    paths = [*folder.glob("models/**/*.pth"), *folder.glob("results-acc/*.yaml"), *folder.glob("results-mem/*.yaml")]
    assert paths
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.fixture(scope="session")
def lasting():
    """What two runs of the same settings share byte by byte: {path: bytes} of networks and accuracies."""
    return lasting_files


@pytest.fixture(scope="session")
def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def run_py(environment, tmp_path):
    """run.py as a user starts it, in an empty folder; a traceback is never what a user should see."""

    def run(*arguments):
        command = [sys.executable, str(ROOT / "run.py"), *map(str, arguments)]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return run


@pytest.fixture
def problem():
    """A learner and its two tasks, of two classes and 48 random images each: problem(name, setting=value, ...)."""

    def build(name, **more):
        settings = Settings(**{
            "learner_type": LEARNERS[name].learner_type, "learner_name": name, "dataset": "Digits", "model_name": "resnet8",
            "gen_model_name": "CIFAR_GEN_SMALL", "batch_size": 16, "schedule": [1], "power_iters": 2, "max_task": 2,
            "lr": 0.01, **more})
        random = torch.Generator().manual_seed(0)
        images = torch.randint(256, (240, 3, 32, 32), generator=random, dtype=torch.uint8).numpy()
        split = Split(images, torch.arange(10).repeat(24).numpy())
        tasks = task_sequence("Digits", split, split, tuple("0123456789"), split_classes(10, 2, 2, 2), list(range(10)))
        streams = Streams()
        streams.start(0, 0)
        return build_learner(settings, streams, torch.device("cpu"), 0), tasks

    return build
