"""Use a trained model, in a notebook for example:

    from utils.load import load_run

    run = load_run("outputs/abd", repeat=1, task=5)
    run.predict(images).names         # images: uint8 [N, 3, S, S], or paths of image files
    run.features(images)              # [N, D]
    run.dream(64)                     # uint8 [64, 3, S, S]

Loading reads YAML, numbers and tensors; it runs no code from the folder.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dataloaders.datasets import image_side
from dataloaders.folders import decoded
from dataloaders.image_files import crop_of, decode
from dataloaders.tasks import pixels_of
from learners import REGISTRY, Learner, build_learner
from utils.command_line import parse
from utils.errors import UserError
from utils.files import read_tensors, read_yaml
from utils.streams import Streams
from utils.training.folder import CHECKPOINT

BATCH = 500
ImagesOrPaths = Tensor | np.ndarray | Sequence[str | Path]


class Prediction(NamedTuple):
    """For N images: class numbers of the data set [N], their names [N], and probabilities [N, classes
    learned] in the order of ``LoadedRun.class_names``."""

    classes: list[int]
    names: list[str]
    probabilities: Tensor


class LoadedRun:
    """A run's learner in evaluation mode, after one of its tasks.

    Attributes:
        learner: ``learner.model`` is the classifier.
        task: number of tasks it has learned.
        class_names: names of the classes learned so far, in the order of the classifier's outputs.
        results: {name: history} of the files in results-acc (docs/run-folder.md), in percent;
            ``results["global"][task, repeat]`` is the accuracy.
    """

    def __init__(self, folder: Path, learner: Learner, repeat: int, task: int):
        self.learner, self.settings, self.task = learner.eval(), learner.settings, task
        known = read_yaml(folder / "models" / f"repeat-{repeat}" / "classes.yaml")["classes"][: learner.seen]
        self.numbers = [int(output["number"]) for output in known]
        self.class_names = [str(output["name"]) for output in known]
        contents = {path.stem: read_yaml(path) for path in (folder / "results-acc").glob("*.yaml")}
        self.results = {name: np.array(c["history"], float) for name, c in contents.items() if "history" in c}
        self.pixels = pixels_of(self.settings, learner.normalised, learner.streams.device)

    def _batches(self, images: ImagesOrPaths) -> Iterator[Tensor]:
        side = image_side(self.settings)
        if not isinstance(images, Tensor | np.ndarray):
            paths, cropped = [Path(path) for path in images], self.settings.dataset == "ImageNet"
            images = (torch.stack([crop_of(False)(decode(path)) for path in paths]) if cropped
                      else decoded(paths, side, resize=True))
        pixels = torch.as_tensor(images)
        if pixels.dtype != torch.uint8 or pixels.shape[1:] != (3, side, side):
            raise UserError(f"images are {pixels.dtype} {list(pixels.shape)}; "
                            f"give uint8 [N, 3, {side}, {side}], or paths of image files")
        for batch in pixels.split(BATCH):
            yield self.pixels.normalise(batch.to(self.learner.streams.device))

    def predict(self, images: ImagesOrPaths) -> Prediction:
        """Classify images, uint8 [N, 3, S, S] or paths, among the classes learned so far."""
        with self.learner.evaluating():
            logits = [self.learner.predict(x)[:, : self.learner.seen] for x in self._batches(images)]
        probabilities = torch.cat(logits).softmax(1).cpu()
        best = probabilities.argmax(1).tolist()
        return Prediction([self.numbers[k] for k in best], [self.class_names[k] for k in best], probabilities)

    def features(self, images: ImagesOrPaths) -> Tensor:
        """Return the classifier's features [N, D] of images, uint8 [N, 3, S, S] or paths."""
        with self.learner.evaluating():
            return torch.cat([self.learner.model.features(x) for x in self._batches(images)]).cpu()

    def dream(self, count: int, seed: int = 0) -> Tensor:
        """Return images of the learned classes as the next task replays them, uint8 [count, 3, S, S]. Raises
        UserError if no later task has trained a generator."""
        if not self.learner.old:
            raise UserError(f"there are no dreams after task {self.task}: the generator is trained by a "
                            "dreaming learner's next task; load an earlier task")
        self.learner.streams.noise.manual_seed(seed)
        with torch.no_grad():
            dreams = [self.learner.dream(len(part)) for part in torch.arange(count).split(BATCH)]
        return (self.pixels.denormalise(torch.cat(dreams)) * 255).round().byte().cpu()


def read_network(network: torch.nn.Module, path: Path, part: str = "") -> Any:
    """Load a file, or a part of it, into a network, and return its content. Raises UserError."""
    try:
        saved = read_tensors(path)
        network.load_state_dict(saved[part] if part else saved)
    except Exception as error:
        reason = "is missing" if isinstance(error, FileNotFoundError) else "is no network of this run"
        raise UserError(f"{path} {reason} ({type(error).__name__})") from error
    return saved


def load_checkpoint(learner: Learner, path: Path) -> tuple[int, int]:
    """Load the latest checkpoint, and return its repeat and the task that it learns, from 1. Raises
    UserError, naming the file."""
    saved = read_network(learner, path, "learner")
    place, repeat = saved["place"], len(saved["results"]["classes"])
    finished = sum(map(len, saved["results"]["records"][repeat - 1 :]))
    task = max(finished + bool(place["stage"] or place["epoch"]), 1)
    learner.old, learner.seen = learner.ranges[task - 1].start, learner.ranges[task - 1].stop
    return repeat, task


def load_after(learner: Learner, folder: Path) -> None:
    """Load what a task left in its folder models/repeat-R/task-T, as the next task finds it. ``learner.old``
    is 0 unless there is a generator, which the next task trains. Raises UserError, naming the file."""
    networks = learner.networks()
    dreams = bool(learner.generator_type) and (folder / "generator.pth").exists()
    if dreams:
        networks["generator"] = learner.replayed
    for name, network in networks.items():
        read_network(network, folder / f"{name}.pth")
    learner.teacher.load_state_dict(learner.model.state_dict())
    learner.seen = learner.ranges[int(folder.name.removeprefix("task-")) - 1].stop
    learner.old = learner.seen if dreams else 0


def load_run(folder: str | Path, repeat: int = 1, task: int | None = None, device: str = "cpu") -> LoadedRun:
    """Load what a run, finished or under way, has learned. Raises UserError if the folder has no such model.

    Args:
        folder: its ``--log_dir``.
        repeat, task: counted from 1. Without a task, the last finished one; task 0 is the latest checkpoint,
            which may be in the middle of any task.
    """
    folder, on = Path(folder).expanduser(), torch.device(device)
    settings = parse(REGISTRY, ["--config", str(folder / "args.yaml"), "--log_dir", str(folder)])
    settings.precision = "fp32"
    learner = build_learner(settings, Streams(on), on, 0)
    if task == 0:
        return LoadedRun(folder, learner, *load_checkpoint(learner, folder / CHECKPOINT))
    models = folder / "models" / f"repeat-{repeat}"
    finished = len([*models.glob("task-*/class.pth")])
    task = finished if task is None else task
    if not 1 <= task <= finished:
        raise UserError(f"{folder}: there is no model of task {task or 1} of repeat {repeat}")
    load_after(learner, models / f"task-{task}")
    return LoadedRun(folder, learner, repeat, task)
