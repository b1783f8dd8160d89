import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from learners import LEARNERS
from utils.benchmark import OLD, endless, main, settings_of, stage_steps
from utils.errors import UserError

CPU = torch.device("cpu")
SMALL = "--model_name resnet8 --batch_size 16 --gpuid -1 --threads 1".split()
STAGES = {
    "NormalNN": ["learn"], "ETE": ["learn", "balance"], "AlwaysBeDreaming": ["dream", "learn"],
    "RFD": ["dream", "learn", "heads"]}


def small(name, *flags):
    size = ["--gen_model_name", "CIFAR_GEN_SMALL"] if LEARNERS[name].generator_type else []
    return settings_of(name, [*SMALL, *size, *flags])


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_of_a_second_task_is_timed(name):
    built = stage_steps(small(name), CPU)
    assert [stage.name for _, stage, _ in built] == STAGES[name]
    for learner, stage, step in built:
        assert learner.old == OLD and len(learner.coreset) == (2000 if name == "ETE" else 0)
        parameters = [p for group in stage.optimizer.param_groups for p in group["params"]]
        before = [p.detach().clone() for p in parameters]
        step()
        assert any(not torch.equal(a, b) for a, b in zip(before, parameters))


def test_the_command_prints_a_table(capsys):
    main([*SMALL, "--rounds", "2", "--learners", "ETE", "NormalNN"])
    machine, heading, *rows = capsys.readouterr().out.splitlines()
    assert "1 threads; torch" in machine and "resnet8, batches of 16, fp32" in machine
    assert heading.split() == ["learner", "stage", "ms", "fastest", "plain_base", "ratio"]
    rows = [row.split() for row in rows]
    assert [row[:2] for row in rows] == [["ETE", "learn"], ["ETE", "balance"], ["NormalNN", "learn"]]
    assert all(0 < float(fastest) <= float(ms) for _, _, ms, fastest, *_ in rows)


def test_what_was_measured_before_ctrl_c_is_printed(monkeypatch, capsys):
    calls = iter(range(100))

    def seconds_of(run, device, times=1):
        if (call := next(calls)) == 5:  # in round 2; a round has two turns
            raise KeyboardInterrupt
        return call + 1.0

    monkeypatch.setattr("utils.benchmark.seconds_of", seconds_of)
    with pytest.raises(KeyboardInterrupt):
        main([*SMALL, "--learners", "NormalNN"])
    *_, row = capsys.readouterr().out.splitlines()
    assert row.split() == ["NormalNN", "learn", "4000.00", "4000.00", "4000.00", "1.33"]


@pytest.mark.parametrize(("flags", "refusal"), [
    ("--rounds 0", "--rounds 0: "), ("--dataset TinyImageNet", "--dataset: "), ("--graph on", "--graph on: "),
    ("--learner_name=LWF", "--learner_name: "), ("--task_sizes 20 80", "--task_sizes: "),
    ("--against nowhere", "--against ")])
def test_what_cannot_be_measured_is_refused(flags, refusal, capsys):
    with pytest.raises(UserError, match=f"^{refusal}"):
        main([*SMALL, *flags.split()])
    assert capsys.readouterr().out == ""


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
    _, stage, step = stage_steps(settings_of(name, "--batch_size 4 --gpuid -1".split()), CPU)[place]
    step()  # the first one makes the optimiser's state
    start = next(endless(stage))
    with Operations() as operations:
        losses = torch.stack(list(stage.loss(*stage.batches.load(start)).values()))
        stage.optimizer.zero_grad()
        losses.sum().backward()
        stage.optimizer.step()
    assert 0 < operations.count <= most
