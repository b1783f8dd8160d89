"""The authors' implementation and this one in turns: a unit of theirs, in a process of its own (checkout.py), then ours, until each had its
rounds. Random images in CIFAR-100's layout, so nothing is downloaded; the published flags, two tasks, few epochs."""

import multiprocessing
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import torch

from dataloaders.batches import ShuffledBatches
from dataloaders.tasks import Task
from learners import LEARNERS, Learner, Stage
from utils.benchmark.speed import seconds_of, synchronise
from utils.benchmark.stages import OLD, SEEN, build, endless
from utils.errors import RunError, UserError
from utils.settings import Settings
from utils.training.device import captures
from utils.training.measures import measure
from utils.training.step import TrainingStep

DRIVER = Path(__file__).with_name("checkout.py")
NEEDED = ("run_dfcil.py", "trainer.py", "learners/default.py")  # by these names checkout.py finds its way
# {learner: {what is reported: quantity in the table}}
QUANTITIES = {
    "NormalNN": {"step": "Base step", "epoch": "Base epoch", "evaluation": "evaluation"},
    "AlwaysBeDreaming": {"iteration": "generator iteration", "step": "ABD step", "epoch": "ABD epoch"}}
HEADING = ["quantity", "ours ms", "theirs ms", "theirs / ours", "rounds"]
TASK_CLASSES, CLASSES = SEEN - OLD, 100

Report = tuple[str, int, dict[str, float]]  # what was done, of how many batches, seconds by quantity


def check(checkout: Path, settings: Settings, images: int) -> None:
    """Raises UserError where the comparison can't begin."""
    if not checkout.is_dir():
        raise UserError(f"--against {checkout}: there is no such folder; name a checkout of github.com/GT-RIPL/AlwaysBeDreaming-DFCIL")
    if missing := [name for name in NEEDED if not (checkout / name).is_file()]:
        raise UserError(f"--against {checkout}: has no {missing[0]}; name a checkout of github.com/GT-RIPL/AlwaysBeDreaming-DFCIL")
    least = max(5, -(-settings.batch_size // TASK_CLASSES))
    if images < least:
        raise UserError(f"--images {images}: is below {least}, which {TASK_CLASSES} classes need for a batch and for test images")


def write_images(folder: Path, images: int, batch_size: int) -> None:
    """Random images as CIFAR-100 lies in its folder: ``images`` a class of the second task, a batch of the first task, which
    is only a way to the second, one of every other class; a fifth of them to test on."""
    random = np.random.RandomState(0)
    first = -(-batch_size // OLD)
    counts = {"train": [first] * OLD + [images] * TASK_CLASSES, "test": [images // 5] * SEEN}
    (folder / "cifar-100-python").mkdir()
    for name, count in counts.items():
        labels = np.repeat(np.arange(CLASSES), count + [1] * (CLASSES - SEEN)).tolist()
        content = {
            "data": random.randint(256, size=(len(labels), 3072), dtype=np.uint8), "fine_labels": labels,
            "coarse_labels": [0] * len(labels), "filenames": [f"{row}.png" for row in range(len(labels))]}
        (folder / "cifar-100-python" / name).write_bytes(pickle.dumps(content))
    names = {"fine_label_names": [f"class {label}" for label in range(CLASSES)], "coarse_label_names": ["all"]}
    (folder / "cifar-100-python" / "meta").write_bytes(pickle.dumps(names))


def published_flags(settings: Settings, folder: Path, device: torch.device, epochs: int, iterations: int) -> list[str]:
    """The command line of run_dfcil.py; what is left out (--mu, --temp, --beta) changes no step's time."""
    s = settings
    flags: dict[str, Sequence[object]] = {
        "gpuid": [device.index if device.type == "cuda" else -1], "log_dir": [folder / "run"], "dataroot": [folder], "dataset": ["CIFAR100"],
        "learner_type": [s.learner_type], "learner_name": [s.learner_name], "model_type": [s.model_type], "model_name": [s.model_name],
        "workers": [s.workers], "repeat": [1], "overwrite": [1], "optimizer": [s.optimizer], "lr": [s.lr], "momentum": [s.momentum],
        "weight_decay": [s.weight_decay], "schedule": [epochs], "schedule_type": [s.schedule_type], "batch_size": [s.batch_size],
        "power_iters": [iterations], "deep_inv_params": s.deep_inv_params, "first_split_size": [OLD], "other_split_size": [TASK_CLASSES],
        "max_task": [2]}
    if LEARNERS[s.learner_name].generator_type:
        flags |= {"gen_model_type": [s.gen_model_type], "gen_model_name": [s.gen_model_name]}
    given = [text for name, values in flags.items() for text in (f"--{name}", *map(str, values))]
    return [*given, *["--train_aug"] * s.train_aug]


def reports(checkout: Path, settings: Settings, device: torch.device, rounds: int, images: int, in_a_row: int) -> Generator[Report]:
    """What the checkout's process reports, one by one; it goes on when the next one is asked for. Raises RunError where it fails."""
    mine, other = multiprocessing.Pipe()
    with tempfile.TemporaryDirectory() as temporary, (Path(temporary) / "stderr").open("w+", errors="replace") as errors:
        write_images(Path(temporary), images, settings.batch_size)
        flags = published_flags(settings, Path(temporary), device, rounds, 1 + rounds * in_a_row)
        process = subprocess.Popen(
            [sys.executable, DRIVER, checkout, *map(str, (other.fileno(), torch.get_num_threads(), settings.precision, in_a_row)), *flags],
            cwd=checkout, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, pass_fds=[other.fileno()])
        other.close()
        try:
            while True:
                yield mine.recv()
                mine.send(None)
        except (EOFError, OSError):  # it has ended
            if status := process.wait():
                errors.seek(0)
                said = [line.strip() for line in errors.read().splitlines() if line.strip()]
                last = said[-1] if said and status > 0 else f"it ended with status {status}"
                remedy = f"; install what it needs: {sys.executable} -m pip install NAME" * ("No module named" in last)
                raise RunError(f"--against {checkout}: its {settings.learner_name} failed: {last}{remedy}") from None
        finally:
            process.kill()
            process.wait()
            mine.close()


class Ours:
    """This implementation in front of the same second task; each method does what the report of its name was of, and gives as much."""

    def __init__(self, settings: Settings, device: torch.device, images: int, in_a_row: int):
        self.settings = settings
        self.device = device
        self.in_a_row = in_a_row
        self.learner, self.stage, self.step = self.build("learn", images)
        assert isinstance(self.stage.batches, ShuffledBatches)
        data = self.stage.batches.data
        self.task = Task(1, OLD, SEEN, data, data[: TASK_CLASSES * (images // 5)], ())
        self.batches = self.stage.batches.steps(0)
        if LEARNERS[settings.learner_name].generator_type:
            _, dreaming, self.iterate = self.build("dream", images)
            self.starts = endless(dreaming)

    def build(self, name: str, images: int) -> tuple[Learner, Stage, TrainingStep]:
        learner, stage = build(name, self.settings, self.device, images)
        step = TrainingStep(stage, learner.streams, learner.bf16, captures(self.settings, self.device))
        return learner, stage, step

    def epoch(self) -> dict[str, float]:
        self.learner.eval()
        self.stage.trained.train()
        synchronise(self.device)
        began = time.perf_counter()
        steps = [seconds_of(partial(self.step, start), self.device) for start in self.stage.batches.starts(0)]
        return {"step": statistics.median(steps), "epoch": time.perf_counter() - began}

    def evaluation(self) -> dict[str, float]:
        return {"evaluation": seconds_of(lambda: measure(self.learner, [self.task]), self.device)}

    def dream(self) -> dict[str, float]:
        return {"iteration": seconds_of(lambda: self.iterate(next(self.starts)), self.device, self.in_a_row)}


def compare(checkout: Path, settings: Settings, device: torch.device, rounds: int, images: int) -> Iterator[list[str]]:
    """The lines of the table that a learner gives, measured in so many rounds after one of warm-up. Raises RunError."""
    in_a_row = 20 if device.type == "cuda" else 1
    ours = Ours(settings, device, images, in_a_row)
    quantities = QUANTITIES[settings.learner_name]
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in quantities}
    epochs, before = 0, ""
    with closing(reports(checkout, settings, device, rounds + 1, images, in_a_row)) as theirs:
        for what, batches, times in theirs:
            epochs += what == "epoch"
            second = epochs > rounds + 1  # the first task has as many
            if what == "epoch" and second and batches != ours.batches:
                raise RunError(f"--against {checkout}: an epoch of its second task has {batches} batches, here it has {ours.batches}")
            # Of evaluations the one that ends an epoch: others are of a part of the classes.
            in_turn = {"dream": True, "epoch": second, "evaluation": second and before == "epoch"}[what]
            if in_turn and times.keys() <= quantities.keys():
                for name, own in getattr(ours, what)().items():
                    seconds[name].append((own, times[name]))
            before = what
            if all(len(pairs) > rounds for pairs in seconds.values()):
                break
    for name, quantity in quantities.items():
        measured = seconds[name][1:]
        if not measured:
            raise RunError(f"--against {checkout}: its {settings.learner_name} ended and has shown no {quantity}")
        own, other = (1e3 * statistics.median(values) for values in zip(*measured))
        yield [quantity, f"{own:.2f}", f"{other:.2f}", f"{other / own:.2f}", str(len(measured))]
