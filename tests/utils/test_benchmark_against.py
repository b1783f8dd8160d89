"""`benchmark.sh --against DIR` on a stand-in for the authors' code, from its interface, not its text."""

import subprocess
import sys

import pytest

from utils.benchmark import main
from utils.errors import RunError

SMALL = "--model_name resnet8 --batch_size 16 --gpuid -1 --threads 1 --gen_model_name CIFAR_GEN_SMALL".split()
FILES = {
    "run_dfcil.py": """
import argparse, os, sys
import utils.theirs
from trainer import Trainer
parser = argparse.ArgumentParser()
for kind, names in (
        (str, "log_dir dataroot dataset learner_type learner_name model_type model_name gen_model_type"),
        (str, "gen_model_name optimizer schedule_type"), (float, "lr momentum weight_decay"),
        (int, "workers repeat overwrite batch_size power_iters max_task first_split_size other_split_size")):
    for name in names.split():
        parser.add_argument("--" + name, type=kind)
for kind, name in ((int, "gpuid"), (int, "schedule"), (float, "deep_inv_params")):
    parser.add_argument("--" + name, nargs="+", type=kind)
parser.add_argument("--train_aug", action="store_true")
if __name__ == "__main__":
    print("what it prints is not our table")
    args = parser.parse_args()
    os.makedirs(args.log_dir)
    sys.stdout = open(args.log_dir + "/output.log", "w")
    Trainer(args).train()
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
            first = 20 * task
            train, test = (Part(args.dataroot, name, first, first + 20) for name in ("train", "test"))
            loader = DataLoader(train, args.batch_size, True, drop_last=True, num_workers=args.workers)
            tests.append(DataLoader(test, args.batch_size))
            self.learner.learn_batch(loader, train, args.log_dir, tests[-1])
            for known in tests:
                self.learner.validation(known)
""",
    "learners/__init__.py": "from . import datafree, default\n",
    "learners/default.py": """
import torch
class NormalNN(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.model = torch.nn.Linear(3072, 100).cuda()
    def learn_batch(self, train_loader, train_dataset, model_save_dir, val_loader=None):
        self.optimizer = torch.optim.SGD(self.model.parameters(), self.config["lr"])
        self.validation(val_loader)
        for epoch in range(self.config["schedule"][-1]):
            for x, y, task in train_loader:
                self.update_model(x.cuda(), y.cuda())
            self.validation(val_loader)
    def update_model(self, inputs, targets):
        loss = torch.nn.functional.cross_entropy(self.model(inputs.flatten(1)), targets)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()
    def validation(self, dataloader, model=None, task_in=None, verbal=True):
        return sum((self.model(x.flatten(1)).argmax(1) == y).sum().item() for x, y, task in dataloader)
""",
    "learners/datafree.py": """
import torch
from .default import NormalNN
class AlwaysBeDreaming(NormalNN):
    def learn_batch(self, *given):
        super().learn_batch(*given)
        self.teacher = self.model
        self.sample(self.teacher, self.config["batch_size"])
    def update_model(self, inputs, targets):
        if hasattr(self, "teacher"):
            assert torch.cat([inputs, self.sample(self.teacher, len(inputs))]).shape[0] == 2 * len(targets)
        return super().update_model(inputs, targets)
    def sample(self, teacher, size):
        if not hasattr(self, "generator"):
            self.generator = torch.nn.Linear(9, 3072)
            optimizer = torch.optim.Adam(self.generator.parameters(), self.config["deep_inv_params"][0])
            for iteration in range(self.config["power_iters"]):
                optimizer.zero_grad()
                teacher(self.generator(torch.randn(size, 9))).logsumexp(1).mean().backward()
                optimizer.step()
        return self.generator(torch.randn(size, 9)).detach().view(size, 3, 32, 32)
""",
    "dataloaders/__init__.py": "",
    "dataloaders/cifar.py": """
import hashlib, os, pickle
import numpy as np
import torch, torchvision
def check_integrity(path, md5):
    return hashlib.md5(open(path, "rb").read()).hexdigest() == md5
class Part(torch.utils.data.Dataset):
    def __init__(self, root, name, first, stop):
        path = os.path.join(root, "cifar-100-python", name)
        assert check_integrity(path, "16019d7e3df5f24257cddd939b257f8d"), "not the official file"
        content = pickle.load(open(path, "rb"), encoding="latin1")
        self.data, labels = content["data"].reshape(-1, 3, 32, 32), np.array(content["fine_labels"])
        self.rows, self.labels = np.flatnonzero((labels >= first) & (labels < stop)), labels
    def __len__(self):
        return len(self.rows)
    def __getitem__(self, place):
        row = self.rows[place]
        return torch.from_numpy(self.data[row]).float() / 255, int(self.labels[row]), 0
""",
    "utils/__init__.py": "", "utils/theirs.py": "",
}


@pytest.fixture
def checkout(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / "check out" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "check out"


def test_the_command_prints_both_in_turns(checkout, root, environment):
    command = [sys.executable, "-m", "utils.benchmark", "--against", checkout, *SMALL, "--rounds", "2"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr
    _, heading, *rows = (line.split() for line in done.stdout.splitlines())
    assert heading == ["learner", "what", "ours_ms", "theirs_ms", "ratio", "rounds"]
    base, abd = "NormalNN", "AlwaysBeDreaming"
    found = [(learner, what) for learner, what, *_ in rows]
    assert found[2] == (abd, "dream")  # printed before the second task begins
    assert set(found) == {(base, "learn"), (base, "loading"), found[2], (abd, "learn"), (abd, "loading")}
    for *_, ours, theirs, ratio, rounds in rows:
        assert float(ratio) == pytest.approx(float(theirs) / float(ours), rel=0.05, abs=0.1) and rounds == "2"
    assert not list(checkout.rglob("*.pyc"))


def test_a_checkout_that_fails_is_one_line(checkout):
    (checkout / "trainer.py").write_text("import sklearn_of_old")
    with pytest.raises(RunError) as error:
        main([*SMALL, "--against", str(checkout), "--rounds", "1"])
    assert str(error.value).startswith(f"--against {checkout}: its NormalNN ended early: ModuleNot")
