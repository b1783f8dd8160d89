"""Small whole runs of every learner through the real trainer, which tests/test_whole_runs.py compares with
what tests/golden_runs stores.

    python tests/whole_runs.py --write NAME ...    stores what this code computes: only after an intended
                                                   change of it that the golden numbers allow

Three tasks of 4, 2 and 2 of ten classes, so that two outputs are never learned; 12 training and 10 test
images of each class, made of a fixed numpy RandomState, no augmentation, float64, ResNet-8, few steps a task.
Stored after every task: each loss of each stage and epoch, the norm of each tensor of each network, the
coreset's rows in their order, and the accuracies. Losses and norms may differ by 1e-6 relative, which leaves
room for the rounding of other machines, torch versions and numbers of threads; the others not at all.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from deviations import FLOOR, TOLERANCE  # noqa: E402
from recipes import float64  # noqa: E402

from dataloaders.datasets import Data, Split  # noqa: E402
from learners import LEARNERS, REGISTRY  # noqa: E402
from run import build_trainer  # noqa: E402
from utils.command_line import parse  # noqa: E402
from utils.device import choose_device  # noqa: E402
from utils.training.folder import RunFolder  # noqa: E402

GOLDEN_RUNS = ROOT / "tests" / "golden_runs"
COMMON = (
    "--dataset Digits --rand_split --first_split_size 4 --other_split_size 2 --max_task 3 --model_name "
    "resnet8 --gen_model_name CIFAR_GEN_SMALL --optimizer SGD --lr 0.02 --momentum 0.9 --weight_decay "
    "2e-4 --schedule 1 2 --batch_size 4 --mu 1 --temp 2 --power_iters 4 --deep_inv_params 1e-3 50 1e-3 "
    "1e3 1 --gpuid -1 --threads 1 --workers 0 --no_figures"
)
CORESET = "--memory 63"  # not a multiple of the classes, so that the remainder matters
RDFCIL = "--model_type rdfcil_resnet --transforms rdfcil"
RUNS = {
    "base": "--learner_name NormalNN",
    "upper_bound": "--learner_name NormalNN --oracle_flag",
    "lwf": "--learner_name LWF",
    "lwf_mc": "--learner_name LWF_MC",
    "dgr": "--learner_name Generative_Replay --gen_model_type autoencoder --weight_decay 0",
    "deep_inversion": "--learner_name DeepInversionGenBN",
    "lwf_synthetic": "--learner_name DeepInversionLWF --mu 0.1",
    "abd": "--learner_name AlwaysBeDreaming --mu 0.1",
    "naive_rehearsal": f"--learner_name NormalNN {CORESET}",
    "lwf_coreset": f"--learner_name LWF {CORESET}",
    "e2e": f"--learner_name ETE {CORESET}",
    "bic": f"--learner_name BIC {CORESET}",
    "rdfcil": f"--learner_name RDFCIL {RDFCIL}",
    "cwd": f"--learner_name CwD {RDFCIL} --deep_inv_params 1e-3 50 0 1e3 1",
    "rfd": f"--learner_name RFD {RDFCIL}",
}


def flags_of(name):
    flags = f"{COMMON} {RUNS[name]}".split()
    learner = flags[flags.index("--learner_name") + 1]
    return [*flags, "--learner_type", LEARNERS[learner].learner_type]


def made_up_images():
    """Ten classes, each a pattern of 4 x 4 fields under noise."""
    random = np.random.RandomState(12)
    patterns = random.uniform(-60, 60, (10, 3, 4, 4)).repeat(8, 2).repeat(8, 3)

    def split(count):
        labels = np.arange(10).repeat(count)
        images = 128 + patterns[labels] + random.normal(0, 40, (10 * count, 3, 32, 32))
        return Split(images.clip(0, 255).round().astype(np.uint8), labels)

    return Data(split(12), split(10), tuple("0123456789"))


def measure(name, *more, listeners=()):
    """Run it, with ``more`` flags; returns the losses, weights, coreset and accuracies of each task."""
    with tempfile.TemporaryDirectory() as folder, float64():
        settings = parse(REGISTRY, [*flags_of(name), "--log_dir", folder, *more])
        learner_class, tasks = LEARNERS[settings.learner_name], []
        end_task = learner_class.end_task

        def noted(learner, task):
            end_task(learner, task)
            norms = {
                f"{network}.{name}": float(value.double().norm())
                for network, module in learner.networks().items()
                for name, value in module.state_dict().items() if value.is_floating_point()}
            tasks.append({"weights": norms, "coreset": [rows.tolist() for rows in learner.coreset.classes]})

        torch.set_num_threads(settings.threads)
        with patch.object(learner_class, "end_task", noted), patch.object(RunFolder, "save"):
            device = choose_device(settings.gpuid)
            trainer = build_trainer(settings, made_up_images(), RunFolder(settings), device)
            trainer.listeners += listeners
            trainer.run()
        records = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    for number, task in enumerate(tasks, 1):
        mine = [record for record in records if record["task"] == number]
        task["losses"] = {
            f"{record['stage']} {record['epoch']} {loss}": value
            for record in mine if "stage" in record for loss, value in record["losses"].items()}
        task["accuracies"] = next(record["by_task"] for record in mine if "by_task" in record)
    return tasks


def differences(name, got, stored):
    """A line for each quantity that differs, by run, task and name, in the order in which they arise."""
    if len(got) != len(stored):
        return [f"{name}: {len(got)} tasks, stored are {len(stored)}"]
    found = []
    for number, (mine, theirs) in enumerate(zip(got, stored), 1):
        for kind in ("losses", "weights"):
            for quantity in {**theirs[kind], **mine[kind]}:
                value, expected = (side[kind].get(quantity, np.nan) for side in (mine, theirs))
                if not abs(value - expected) <= TOLERANCE * max(abs(expected), FLOOR):
                    found.append(f"{name}: task {number}, {kind}, {quantity}: {value}, stored is {expected}")
        for kind in ("coreset", "accuracies"):
            if mine[kind] != theirs[kind]:
                found.append(f"{name}: task {number}, {kind}: {mine[kind]}, stored is {theirs[kind]}")
    return found


def stored_run(name):
    return json.loads((GOLDEN_RUNS / f"{name}.json").read_text())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Store what this code computes in small whole runs")
    parser.add_argument("--write", nargs="+", choices=RUNS, required=True)
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=ROOT, text=True).strip()
    for name in parser.parse_args().write:
        content = {
            "run": name, "commit": commit, "torch": torch.__version__, "flags": " ".join(flags_of(name)),
            "tasks": measure(name)}
        (GOLDEN_RUNS / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
