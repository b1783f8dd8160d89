import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dataloaders.batches import ShuffledBatches
from learners import LEARNERS
from models import Frozen
from utils.benchmark.__main__ import main
from utils.benchmark.count import Operations, count
from utils.benchmark.speed import HEADING, PARTS, Floor, Machine, measure_stage, reference, show, stopwatch
from utils.benchmark.stages import OLD, build, endless, settings_of, stages_of
from utils.training.step import TrainingStep

SMALL = ["--model_name", "resnet8", "--batch_size", "16", "--gpuid", "-1", "--threads", "1"]
MACHINE = Machine(matrix_rate=1e9, bandwidth=1e9)


def settings(name, *more):
    small = [*SMALL, *more]
    return settings_of(name, [*small, "--gen_model_name", "CIFAR_GEN_SMALL"] if LEARNERS[name].generator_type else small)


def test_every_learner_and_every_stage_of_it_is_measured():
    pairs = stages_of({name: settings(name) for name in LEARNERS})
    assert {name for name, stage in pairs if stage == "learn"} == set(LEARNERS)
    assert {name for name, stage in pairs if stage == "dream"} == {name for name in LEARNERS if LEARNERS[name].generator_type == "generator"}
    assert {("ETE", "balance"), ("BIC", "bias")} < set(pairs)


def test_a_method_published_with_a_coreset_alone_is_measured_with_it():
    assert {name for name in LEARNERS if settings(name).memory} == {"ETE", "BIC"}


@pytest.mark.parametrize(("name", "stage", "spent"), [
    ("NormalNN", "learn", {"data", "optimiser"}), ("BIC", "bias", {"data", "optimiser"}), ("LWF", "learn", {"data", "teacher", "optimiser"}),
    ("AlwaysBeDreaming", "learn", set(PARTS)), ("AlwaysBeDreaming", "dream", {"data", "teacher", "optimiser"})])
def test_what_is_measured_of_a_stage(name, stage, spent):
    line = measure_stage(stage, settings(name), 1, MACHINE)
    assert {part for part, share in line.shares.items() if share} == spent
    assert 0 < sum(line.shares.values()) < 1
    assert min(line.seconds, line.reference, line.floor, line.memory) > 0
    assert len(show(line, 16)) == len(HEADING)


def test_a_generator_that_dreams_is_no_teacher():
    learner, stage = build("learn", settings("AlwaysBeDreaming"), torch.device("cpu"))
    with stopwatch(learner, stage, torch.device("cpu")) as seconds:
        learner.dream(2)
    assert seconds["dream"] > 0 and seconds["teacher"] == 0


def test_measuring_leaves_classes_as_they_were():
    before = {cls: dict(vars(cls)) for cls in (LEARNERS["AlwaysBeDreaming"], ShuffledBatches, Frozen)}
    measure_stage("learn", settings("AlwaysBeDreaming"), 1, MACHINE)
    assert all(vars(cls)[name] is value for cls, was in before.items() for name, value in was.items() if callable(value))


def test_the_floor_of_a_product_is_its_arithmetic_and_of_a_sum_its_memory():
    a, b = torch.randn(100, 100), torch.randn(100, 100)
    with Floor(MACHINE) as product:
        a @ b
    with Floor(MACHINE) as total:
        a + b
    with Floor(MACHINE) as view:
        a.view(10, 1000)
    assert product.seconds == pytest.approx(2 * 100**3 / 1e9)
    assert total.seconds == pytest.approx(3 * 4 * 100**2 / 1e9)
    assert view.seconds == 0


def test_the_floor_counts_gradients():
    learner, stage = build("learn", settings("NormalNN"), torch.device("cpu"))
    step, starts = TrainingStep(stage, learner.streams), endless(stage)
    with Floor(MACHINE) as whole:
        step(next(starts))
    with torch.no_grad(), Floor(MACHINE) as forward:
        stage.loss(*stage.batches.load(next(starts)))
    assert 2 < whole.seconds / forward.seconds < 4


def test_the_measured_task_is_the_second():
    learner, stage = build("learn", settings("LWF"), torch.device("cpu"))
    assert learner.old == OLD and "distillation" in stage.loss(*stage.batches.load(next(endless(stage))))


def test_the_reference_is_in_contiguous_memory_and_learns():
    step = reference(settings("NormalNN"), torch.device("cpu"))
    model = step.__closure__[[name for name in step.__code__.co_freevars].index("model")].cell_contents
    before = model.conv1.weight.clone()
    assert before.is_contiguous() and not before.is_contiguous(memory_format=torch.channels_last)
    step()
    assert not torch.equal(before, model.conv1.weight)


def test_the_command_prints_a_table(environment):
    command = [sys.executable, "-m", "utils.benchmark", *SMALL, "--rounds", "1", "--learners", "NormalNN"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "GFLOP/s" in done.stdout and "NormalNN" in done.stdout


@pytest.mark.parametrize("flags", [["--rounds", "0"], ["--batch_size", "x"], ["--graph", "on", "--gpuid", "-1"]])
def test_a_wrong_flag_is_one_line(capsys, flags):
    assert main(flags) == 2
    line, = capsys.readouterr().err.splitlines()
    assert line.startswith(f"utils.benchmark: {flags[0]}")


@pytest.mark.parametrize(("flags", "refusal"), [
    (["--dataset", "TinyImageNet"], "--dataset: "), (["--dataset=Digits"], "--dataset: "), (["--learner_name", "LWF"], "--learner_name: "),
    (["--task_sizes", "20", "80"], "--task_sizes: "), (["--batch_size", "2561"], "--batch_size 2561: "),
    (["--memory", "19"], "--memory 19: ")])
def test_what_the_benchmark_cannot_honour_is_refused(capsys, flags, refusal):
    assert main([*SMALL, "--learners", "NormalNN", "--count", *flags]) == 2
    line, = capsys.readouterr().err.splitlines()
    assert line.startswith(f"utils.benchmark: {refusal}")


def test_a_gpu_that_torch_cannot_use_is_refused(monkeypatch, capsys):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("utils.training.device.visible_gpus", lambda: 0)
    monkeypatch.setattr("utils.training.device.unusable_gpu", lambda: "the driver is too old")
    assert main([]) == 2
    assert capsys.readouterr().err == "utils.benchmark: --gpuid 0: the driver is too old\n"


def test_a_gpu_that_fails_is_one_line_and_status_1(monkeypatch, capsys):
    def fail(*_):
        raise torch.AcceleratorError("CUDA error: unspecified launch failure")

    monkeypatch.setattr("utils.benchmark.__main__.in_a_fresh_process", fail)
    assert main(SMALL) == 1
    line, = capsys.readouterr().err.splitlines()
    assert line.startswith("utils.benchmark: cpu: CUDA error: unspecified launch failure; ")


# What a step launches


COUNTS = Path(__file__).with_name("operations.json")  # at most so many, on ResNet-32: {learner: {stage: operations}}


@pytest.mark.parametrize("name", json.loads(COUNTS.read_text()))
def test_no_stage_launches_more_than_it_did(name):
    """Fewer are welcome: write them down. `sh experiments/benchmark.sh --count` prints them."""
    chosen = {name: settings_of(name, ["--batch_size", "4", "--gpuid", "-1", "--threads", "1"])}
    known = json.loads(COUNTS.read_text())[name]
    stages = [stage for _, stage in stages_of(chosen)]
    assert sorted(known) == sorted(stages)
    counted = {stage: count(stage, chosen[name]).all for stage in stages}
    assert all(counted[stage] <= known[stage] for stage in stages), counted


def test_views_and_reserved_memory_are_no_operations():
    x = torch.randn(4, 6)
    with Operations() as operations:
        x.view(24)[:3].add_(torch.empty(3).fill_(1.0))
    assert (operations.count, operations.views) == (2, 3)


WITH_OTHER_SPEED = """
import sys
import torch
import other_speed
from tests.utils.test_benchmark import settings
from utils.benchmark import __main__ as benchmark
from utils.startup import run_command
benchmark.speed = other_speed
sys.exit(run_command("utils.benchmark", lambda: benchmark.print_learners({"BIC": settings("BIC")}, torch.device("cpu"), 1, "text")))"""


@pytest.fixture
def benchmarked(root, environment, tmp_path):
    """The benchmark's table of BiC, with another module in the place of utils.benchmark.speed: benchmarked(its code) -> the process."""

    def run(code):
        (tmp_path / "other_speed.py").write_text(code)
        return subprocess.run(
            [sys.executable, "-c", WITH_OTHER_SPEED], env={**environment, "PYTHONPATH": str(tmp_path)}, cwd=root, capture_output=True, text=True,
            timeout=120, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))

    return run


def test_what_was_measured_is_shown_though_a_later_stage_fails(benchmarked):
    done = benchmarked(
        "from utils.benchmark.speed import *\n"
        "from utils.errors import RunError\n"
        "def measure_machine(settings):\n"
        "    return Machine(1e9, 1e9)\n"
        "def measure_stage(stage, settings, rounds, machine):\n"
        "    if stage == 'bias':\n"
        "        raise RunError('the card is gone')\n"
        "    return StageSpeed('BIC', stage, 0.5, 0.25, dict.fromkeys(PARTS, 0.1), 2**20, 0.1)\n")
    assert "the card is gone" in done.stderr
    row, = (line.split() for line in done.stdout.splitlines() if line.startswith("BIC"))
    assert row[:4] == ["BIC", "learn", "500.00", "2.00"]


def test_a_measuring_process_that_is_killed_is_one_line(benchmarked):
    done = benchmarked(
        "import os, signal\n"
        "def measure_machine(settings):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n")
    assert done.stderr.splitlines()[-1].endswith(
        "RunError: the process that measured has ended by the signal SIGKILL; where memory was short, choose a smaller --batch_size")


def test_an_interrupt_while_a_process_of_its_own_measures_is_one_line(benchmarked):
    """A terminal sends it to both; the measuring one is ended, however long it would have gone on."""
    done = benchmarked(
        "import os, signal\n"
        "def measure_machine(settings):\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "    os.kill(os.getppid(), signal.SIGINT)\n"
        "    signal.pause()\n")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "utils.benchmark: stopped\n")
