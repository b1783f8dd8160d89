"""The benchmark, and --against DIR on a stand-in for the authors' code, from its interface, not its text."""

import sys
from itertools import islice

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from utils.benchmark import main, settings_of, stage_steps
from utils.errors import RunError

SMALL = "--model_name resnet8 --batch_size 16 --gpuid -1 --threads 1 --rounds 1".split()
DREAMS = [*SMALL, "--gen_model_name", "CIFAR_GEN_SMALL"]


def rows(capsys):
    return [line.split() for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(("name", "flags", "stages"), [
    ("ETE", SMALL, ["learn", "balance"]), ("RFD", DREAMS, ["dream", "learn", "heads"])])
def test_the_command_times_every_stage_and_a_textbook_step(capsys, name, flags, stages):
    main([*flags, "--learners", name])
    machine, heading, *measured = rows(capsys)
    assert machine[:3] == ["cpu,", "1", "threads;"]
    assert heading == ["learner", "stage", "ms", "plain_base", "ratio"]
    assert [row[:2] for row in measured] == [[name, stage] for stage in stages]
    for _, _, *cells in measured:
        ms, base, ratio = map(float, cells)
        assert ratio == pytest.approx(ms / base, rel=0.9) and min(ms, base) > 0


class Operations(TorchDispatchMode):
    """Counts what is dispatched while it is open, but for views and new memory: about what a GPU launches."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        reserves = func.overloadpacket.__name__.removeprefix("new_").startswith("empty")
        self.count += not (func.is_view or func.namespace == "profiler" or reserves)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("name", "place", "most"), [
    ("NormalNN", 0, 314), ("AlwaysBeDreaming", 0, 531), ("AlwaysBeDreaming", 1, 444)])
def test_a_step_launches_no_more_than_it_did(name, place, most):
    """On ResNet-32. Fewer are welcome; write them down here."""
    settings = settings_of(name, "--batch_size 4 --gpuid -1".split())
    stage, step = next(islice(stage_steps(settings, torch.device("cpu")), place, None))
    step()  # the first one makes the optimiser's state
    start = next(iter(stage.batches.starts(0)))
    with Operations() as operations:
        losses = torch.stack(list(stage.loss(*stage.batches.load(start)).values()))
        stage.optimizer.zero_grad()
        losses.sum().backward()
        stage.optimizer.step()
    assert 0 < operations.count <= most


THEIRS = """
import argparse, sys
import torch
from torch.utils.data import DataLoader, TensorDataset
from learners import theirs  # our code has such a package, too
parser = argparse.ArgumentParser()
for name in [word for word in sys.argv if word.startswith("--")]:
    parser.add_argument(name, nargs="*")
args = parser.parse_args()
print("what it prints is not our table")
model = torch.nn.Linear(3072, 100).cuda()
def batches(count):
    return DataLoader(TensorDataset(torch.randn(16 * count, 3072), torch.zeros(16 * count).long()), 16)
def update(x, y, optimizer):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(x.cuda()), y).backward()
    optimizer.step()
for task in range(int(args.max_task[0])):
    if task and args.learner_name == ["AlwaysBeDreaming"]:
        adam = torch.optim.Adam(model.parameters())
        for _ in range(int(args.power_iters[0])):
            update(torch.randn(9, 3072), torch.zeros(9).long(), adam)
    sgd = torch.optim.SGD(model.parameters(), float(args.lr[0]))
    for x, y in batches(7 * (task + 1)):
        update(x, y, sgd)
    for x, y in batches(2):
        model(x)
"""


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "check out"
    (folder / "learners").mkdir(parents=True)
    (folder / "learners" / "__init__.py").write_text("theirs = True")
    (folder / "run_dfcil.py").write_text(THEIRS)
    return folder


def test_both_codes_take_turns_and_ours_is_left_as_it_was(checkout, capsys):
    before = dict(sys.modules), torch.Tensor.cuda, torch.nn.Module.cuda, sys.path
    main([*DREAMS, "--against", str(checkout)])
    _, heading, *measured = rows(capsys)
    assert heading == ["learner", "stage", "ms", "theirs", "ratio"]
    assert [row[:2] for row in measured] == [
        ["NormalNN", "learn"], ["AlwaysBeDreaming", "dream"], ["AlwaysBeDreaming", "learn"]]
    for _, _, *cells in measured:
        ours, theirs, ratio = map(float, cells)
        assert ratio == pytest.approx(ours / theirs, rel=0.9)
    assert (dict(sys.modules), torch.Tensor.cuda, torch.nn.Module.cuda, sys.path) == before


def test_a_checkout_that_fails_is_one_line(checkout):
    (checkout / "run_dfcil.py").write_text("import sklearn_of_old")
    with pytest.raises(RunError, match="--against .*check out: its NormalNN failed: ModuleNotFoundError"):
        main([*SMALL, "--against", str(checkout)])
