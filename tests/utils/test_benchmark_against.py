"""`benchmark.sh --against DIR`, run against a stand-in: a miniature of the authors' layout, written from its interface alone, that learns a
linear model from the same files and command line."""

import csv
import subprocess
import sys
import time

import pytest

from utils.benchmark import against
from utils.benchmark.__main__ import main
from utils.benchmark.stages import settings_of
from utils.training.device import open_device

SMALL = ["--model_name", "resnet8", "--batch_size", "16", "--gpuid", "-1", "--threads", "1"]
FILES = {
    "run_dfcil.py": """
import argparse
import utils.pictures
from trainer import Trainer
parser = argparse.ArgumentParser()
for name in ("log_dir learner_type learner_name model_type model_name gen_model_type gen_model_name dataroot dataset optimizer "
             "schedule_type").split():
    parser.add_argument("--" + name)
for name in "workers repeat overwrite batch_size power_iters first_split_size other_split_size max_task".split():
    parser.add_argument("--" + name, type=int)
for name in "lr momentum weight_decay".split():
    parser.add_argument("--" + name, type=float)
parser.add_argument("--gpuid", nargs="+", type=int)
parser.add_argument("--schedule", nargs="+", type=int)
parser.add_argument("--deep_inv_params", nargs="+", type=float)
parser.add_argument("--train_aug", action="store_true")
if __name__ == "__main__":
    print("what it prints is not our table")
    Trainer(parser.parse_args()).train()
""",
    "trainer.py": """
import learners
from dataloaders.cifar import Part
from torch.utils.data import DataLoader
class Trainer:
    def __init__(self, args):
        self.args = args
        self.learner = learners.__dict__[args.learner_type].__dict__[args.learner_name](vars(args))
    def train(self):
        args, tests = self.args, []
        for task in range(args.max_task):
            train, test = (Part(args.dataroot, name, 20 * task, 20 * task + 20) for name in ("train", "test"))
            loader = DataLoader(train, args.batch_size, shuffle=True, drop_last=True, num_workers=args.workers)
            tests.append(DataLoader(test, args.batch_size, num_workers=args.workers))
            self.learner.learn_batch(loader, train, args.log_dir, tests[-1])
            for known in tests:
                self.learner.validation(known)
""",
    "learners/__init__.py": "from . import datafree, default\n",
    "learners/default.py": """
import time
import torch
from pathlib import Path
LOG = Path(__file__).parent.parent / "steps"
class NormalNN(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config, self.gpu = config, config["gpuid"][0] >= 0
        self.model = torch.nn.Linear(3072, 100).cuda()
    def learn_batch(self, train_loader, train_dataset, model_save_dir, val_loader=None):
        self.validation(val_loader)
        optimizer = torch.optim.SGD(self.model.parameters(), self.config["lr"])
        for epoch in range(self.config["schedule"][-1]):
            for x, y, task in train_loader:
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(self.model(x.cuda().flatten(1)), y.cuda()).backward()
                optimizer.step()
                with LOG.open("a") as log:
                    print(time.monotonic(), file=log)
            self.validation(val_loader)
    def validation(self, dataloader, model=None, task_in=None, verbal=True):
        return sum((self.model(x.flatten(1)).argmax(1) == y).sum().item() for x, y, task in dataloader)
""",
    "learners/datafree.py": """
import torch
from .default import NormalNN
class AlwaysBeDreaming(NormalNN):
    def learn_batch(self, *given):
        super().learn_batch(*given)
        images = torch.nn.Parameter(torch.randn(self.config["batch_size"], 3072))
        optimizer = torch.optim.Adam([images], self.config["deep_inv_params"][0])
        for iteration in range(self.config["power_iters"]):
            optimizer.zero_grad()
            self.model(images).logsumexp(1).mean().backward()
            optimizer.step()
""",
    "dataloaders/__init__.py": "",
    "dataloaders/files.py": """
import hashlib
from pathlib import Path
def check_integrity(path, md5):
    return hashlib.md5(Path(path).read_bytes()).hexdigest() == md5
""",
    "dataloaders/cifar.py": """
import pickle
import numpy as np
import torch
import torchvision
from pathlib import Path
from .files import check_integrity
class Part(torch.utils.data.Dataset):
    def __init__(self, root, name, first, stop):
        path = Path(root) / "cifar-100-python" / name
        assert check_integrity(path, "16019d7e3df5f24257cddd939b257f8d"), "not the official file"
        content = pickle.loads(path.read_bytes(), encoding="latin1")
        labels = np.array(content["fine_labels"])
        self.rows = np.flatnonzero((labels >= first) & (labels < stop))
        self.data, self.labels = content["data"].reshape(-1, 3, 32, 32), labels
    def __len__(self):
        return len(self.rows)
    def __getitem__(self, place):
        row = self.rows[place]
        return torch.from_numpy(self.data[row]).float() / 255, int(self.labels[row]), 0
""",
    "utils/__init__.py": "",
    "utils/pictures.py": "",
}


@pytest.fixture
def checkout(tmp_path):
    """Writes the stand-in: checkout({file: (text, other text)}) replaces that in the file -> its folder."""

    def write(changes=None):
        for name, text in FILES.items():
            before, after = (changes or {}).get(name, ("", ""))
            assert before in text
            path = tmp_path / "checkout" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace(before, after) if before else text)
        return tmp_path / "checkout"

    return write


def test_the_command_prints_both_and_their_ratio(checkout, environment):
    folder = checkout()
    command = [sys.executable, "-m", "utils.benchmark", "--against", folder, *SMALL, "--rounds", "2", "--images", "8", "--csv"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr
    machine, run, *table, note = done.stdout.splitlines()
    assert "1 threads; torch" in machine and "resnet8, batches of 16, fp32" in machine
    assert str(folder) in run and "20 classes, 8 images each" in run
    assert "evaluation" in note and "what it prints" not in done.stdout
    heading, *rows = csv.reader(table)
    assert heading == against.HEADING
    assert [row[0] for row in rows] == ["Base step", "Base epoch", "evaluation", "generator iteration", "ABD step", "ABD epoch"]
    for name, ours, theirs, ratio, rounds in rows:
        assert float(ratio) == pytest.approx(float(theirs) / float(ours), rel=0.05, abs=0.006), name  # of what is rounded
        assert rounds == "2"
    step, epoch = (next(float(row[2]) for row in rows if row[0] == name) for name in ("Base step", "Base epoch"))
    assert 0 < step < epoch
    assert not list(folder.rglob("*.pyc"))


def test_a_checkout_waits_while_we_have_our_turn(checkout, monkeypatch):
    folder, turns, epoch = checkout(), [], against.Ours.epoch

    def noted(self):
        began = time.monotonic()
        result = epoch(self)
        turns.append((began, time.monotonic()))
        return result

    monkeypatch.setattr(against.Ours, "epoch", noted)
    settings = settings_of("AlwaysBeDreaming", [*SMALL, "--workers", "1"])
    rows = list(against.compare(folder, settings, open_device(settings), rounds=3, images=8))
    assert [row[0] for row in rows] == ["generator iteration", "ABD step", "ABD epoch"]
    assert len(turns) == 4  # and one of warm-up
    steps = [float(line) for line in (folder / "steps").read_text().split()]
    assert not [step for step in steps for began, ended in turns if began < step < ended]
    for (_, ended), (began, _) in zip(turns, turns[1:]):
        assert sum(ended < step < began for step in steps) == 10  # 160 images


@pytest.mark.parametrize(("file", "before", "after", "line"), [
    ("trainer.py", "import learners", "import sklearn_of_old", "failed: ModuleNotFoundError: No module named 'sklearn_of_old'"),
    ("trainer.py", "args, tests = self.args, []", "raise ValueError('of its own\\nmore')", "NormalNN failed: ValueError: of its own ("),
    ("run_dfcil.py", "--train_aug", "--augmented", "failed: run_dfcil.py: error: unrecognized arguments: --train_aug"),
    ("learners/default.py", "validation(", "validate(", "failed: learners/default.py has no NormalNN.validation"),
    ("trainer.py", "20 * task + 20", "30", "an epoch of its second task has 5 batches, here it has 10"),
    ("trainer.py", "range(args.max_task)", "range(0)", "its NormalNN ended and has shown no Base step"),
    ("learners/default.py", "import time", "import os; os.kill(os.getpid(), 9)", "NormalNN failed: it ended with status -9")])
def test_a_checkout_that_fails_is_one_line_and_status_1(checkout, capsys, file, before, after, line):
    folder = checkout({file: (before, after)})
    assert main([*SMALL, "--against", str(folder), "--rounds", "1", "--images", "8"]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"utils.benchmark: --against {folder}: ") and line in error
    assert ("-m pip install" in error) == ("No module" in line)


def test_what_was_measured_before_a_failure_is_printed(checkout, capsys):
    folder = checkout({"learners/datafree.py": ("images =", "images = torch.nn.Teacher()\n        images =")})
    assert main([*SMALL, "--against", str(folder), "--rounds", "1", "--images", "8"]) == 1
    shown = capsys.readouterr()
    assert "its AlwaysBeDreaming failed: AttributeError: " in shown.err.splitlines()[-1]
    assert [line.split("  ")[0] for line in shown.out.splitlines()[2:]] == ["quantity", "Base step", "Base epoch", "evaluation"]


@pytest.mark.parametrize(("flags", "line"), [
    (["--against", "nowhere"], "nowhere: there is no such folder"), (["--against", "."], ": has no run_dfcil.py; name a checkout of github"),
    (["--against", ".", "--learners", "LWF"], "leave out --learners"), (["--against", ".", "--count"], "leave out --learners and --count"),
    (["--images", "8"], "--images 8: is for --against")])
def test_what_cannot_be_compared_is_refused(flags, line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*SMALL, *flags]) == 2
    error, = capsys.readouterr().err.splitlines()
    assert error.startswith(f"utils.benchmark: {flags[0]}") and line in error


@pytest.mark.parametrize(("flags", "line"), [
    (["--images", "4"], "--images 4: is below 5"), (["--images", "5", "--batch_size", "128"], "--images 5: is below 7"),
    (["--dataset", "TinyImageNet", "--gen_model_name", "TINYIMNET_GEN"], "--dataset: the benchmark has its own")])
def test_images_that_do_not_fit_are_refused(checkout, flags, line, capsys):
    assert main([*SMALL, "--against", str(checkout()), *flags]) == 2
    error, = capsys.readouterr().err.splitlines()
    assert line in error
