"""Fixtures of the whole suite. Every test that trains uses scikit-learn's digits, a small ResNet and few
steps."""

import functools
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from steps import enter, learner_with, step

import run
from dataloaders.datasets import DATASETS, Data, Split
from dataloaders.sets.imagenet import ilsvrc, published_order
from dataloaders.tasks import tasks_of_repeat
from learners import LEARNERS, REGISTRY
from run import build_trainer
from utils.command_line import parse
from utils.device import keep_freed_memory
from utils.errors import run_main
from utils.training.folder import RunFolder

torch.set_num_threads(1)  # the subprocesses' number: bytes depend on it
keep_freed_memory()  # as a run does: a quarter less time

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"

# No figures, which take as long as an epoch; tests of figures have --no_figures 0.
TINY = (
    "--dataset Digits --rand_split --first_split_size 2 --other_split_size 2 --max_task 2 "
    "--model_name resnet8 --gen_model_name CIFAR_GEN_SMALL --batch_size 64 --schedule 1 2 --power_iters 4 "
    "--gpuid -1 --threads 1 --mu 0.1 --lr 0.05 --momentum 0.9 --deep_inv_params 1e-3 5e1 1e-3 1e3 1 "
    "--no_figures"
).split()

# What some learners need more: the coreset's images must fill a batch of the balanced and of the bias stage.
NEEDS = {
    "Generative_Replay": ["--gen_model_type", "autoencoder", "--weight_decay", "0"],
    "ETE": ["--memory", "100"],
    "BIC": ["--memory", "200", "--batch_size", "32"],
}


class Hostile:
    """Writes a file if it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


def serve(batches, epoch=0):
    """The arguments of the loss, step by step."""
    return (batches.load(start) for start in batches.starts(epoch))


def each_epoch(learner, stage):
    """The epochs of a stage, each begun as by the trainer."""
    for epoch in range(stage.epochs):
        enter(learner, stage, epoch)
        yield epoch


def train(learner, stage):
    """Every epoch of a stage in a plain loop; the losses of every step."""
    return [
        step(stage, *batch) for epoch in each_epoch(learner, stage) for batch in serve(stage.batches, epoch)]


@pytest.fixture(scope="session")
def root():
    return ROOT


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


def write_pictures(folder, names, side, label):
    """JPEG files of noise around a colour of the class's own."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.RandomState(label)
    colour = random.randint(40, 216, 3)
    for name in names:
        pixels = colour + random.randint(-40, 40, (side, side, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / name, quality=95)


@pytest.fixture(scope="session")
def tinyimagenet(tmp_path_factory):
    """A folder that holds TinyImageNet in its official layout, 3 training and 2 test images per class; not to
    be changed."""
    root, lines = tmp_path_factory.mktemp("datasets"), []
    folder, wnids = root / "tiny-imagenet-200", [f"n{1000000 + 37 * label:08}" for label in range(200)]
    for label, wnid in enumerate(wnids):
        names = [f"{wnid}_{k}.JPEG" for k in range(3)]
        write_pictures(folder / "train" / wnid / "images", names, 64, label)
        (folder / "train" / wnid / f"{wnid}_boxes.txt").write_text("")
        names = [f"val_{2 * (199 - label) + k}.JPEG" for k in range(2)]
        write_pictures(folder / "val" / "images", names, 64, label)
        lines += [f"{name}\t{wnid}\t0\t0\t63\t63\n" for name in names]
    (folder / "val" / "val_annotations.txt").write_text("".join(reversed(lines)))
    words = [f"{wnid}\tword {label}, synonym\n" for label, wnid in enumerate(wnids) if label != 7]
    (folder / "words.txt").write_text("".join(words))
    return root


def write_imagenet(root, wnids):
    """Write ImageNet's layout, 3 training and 2 test images in each class folder, of other sizes than the
    network's."""
    for label, wnid in enumerate(wnids):
        train = [f"{wnid}_{k}.JPEG" for k in range(3)]
        val = [f"ILSVRC2012_val_{10 * label + k:08}.JPEG" for k in range(2)]
        for part, names in (("train", train), ("val", val)):
            write_pictures(root / "ilsvrc" / part / wnid, names, 40 + label, label)


@pytest.fixture(scope="session")
def imagenet(tmp_path_factory):
    """A folder with the 50 classes of the published runs and folders of other names; not to be changed."""
    folder = tmp_path_factory.mktemp("datasets")
    write_imagenet(folder, [ilsvrc()[label] for label in published_order()[:50]])
    for other in ("n00000000", "downloads", ilsvrc()[published_order()[50]]):
        (folder / "ilsvrc" / "train" / other).mkdir()
    (folder / "ilsvrc" / "train" / "n00000000" / "damaged.JPEG").write_text("no image")
    return folder


def tiny_flags(learner="NormalNN", *more):
    kind = ["--learner_type", LEARNERS[learner].learner_type, "--learner_name", learner]
    return [*TINY, *kind, *NEEDS.get(learner, []), *map(str, more)]


@pytest.fixture(scope="session")
def tiny():
    """The flags of a run of seconds: tiny(learner, flag, value, ...); later flags win."""
    return tiny_flags


@pytest.fixture(scope="session")
def digits():
    return DATASETS["Digits"].read(Path())


@pytest.fixture(autouse=True)
def seeded():
    """The same numbers whichever tests came before, so that a failure comes again."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def saved_after_every_epoch(monkeypatch):
    """Checkpoints at the same places, however long writing one takes."""
    monkeypatch.setattr("utils.training.folder.SAVING_SHARE", 1e9)


@pytest.fixture(scope="session")
def trainer(tiny, digits):
    """A trainer of a tiny run that has not begun: trainer(log_dir, learner, flag, value, ...)."""

    def build(log_dir, learner="NormalNN", *more):
        settings = parse(REGISTRY, tiny(learner, "--log_dir", log_dir, *more))
        return build_trainer(settings, digits, RunFolder(settings), torch.device("cpu"))

    return build


@pytest.fixture(scope="session")
def finished(trainer, tmp_path_factory):
    """The folder of a finished tiny run, not to be changed: finished(learner, flag, value, ...)."""

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
    patterns = ("models/**/*.pth", "results-acc/*", "results-mem/*.yaml")
    paths = [path for pattern in patterns for path in folder.glob(pattern)]
    assert paths
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.fixture(scope="session")
def lasting():
    """What two runs with the same settings share byte by byte: {path: bytes} of networks and accuracies."""
    return lasting_files


@pytest.fixture(scope="session")
def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def problem():
    """A learner and its tasks of two classes with 48 random images: problem(name, setting=value, ...)."""

    def build(name, device="cpu", tasks=2, **more):
        learner = learner_with(name, device=device, **{
            "dataset": "Digits", "model_name": "resnet8", "batch_size": 8 if name == "BIC" else 16,
            "memory": 40 if name in ("ETE", "BIC") else 0, "power_iters": 2, "max_task": tasks, "lr": 0.01,
            "schedule": [2 if name in ("RDFCIL", "CwD", "RFD") else 1], **more})
        streams, random = learner.streams, torch.Generator().manual_seed(0)
        streams.start(0, 0)
        images = torch.randint(256, (240, 3, 32, 32), generator=random, dtype=torch.uint8).numpy()
        split = Split(images, torch.arange(10).repeat(24).numpy())
        data = Data(split, split, tuple("0123456789"))
        return learner, tasks_of_repeat(learner.settings, data, 0, learner.normalised, streams.device)

    return build


@pytest.fixture
def main(capsys):
    """run.py in this process: main(flag, ...) -> (exit status, lines of stderr)."""

    def start(*arguments):
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        status = run_main("run.py", lambda: run.main([*map(str, arguments)]))
        for number, handler in before.items():
            signal.signal(number, handler)
        return status, capsys.readouterr().err.splitlines()

    return start
