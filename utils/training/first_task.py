"""--load_model_dir: take the first task's model of another run instead of learning it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from learners import LEARNERS
from utils.errors import UserError, first_line
from utils.files import read_tensors, read_yaml
from utils.settings import Settings
from utils.training.folder import is_run, shown
from utils.training.provenance import PROVENANCE
from utils.training.state import RunState

# The settings that two runs must share for one to take the other's first task, besides the learner's own. Not
# memory_format, deterministic or threads, which change its last digits only.
FIRST_TASK = (
    "dataset", "image_size", "test_share", "imagenet_classes", "incomplete_data", "images_per_class",
    "model_type", "model_name", "weights", "freeze", "rand_split", "class_order", "seed", "first_split_size",
    "validation", "precision", "train_aug", "transforms", "optimizer", "lr", "momentum", "weight_decay",
    "schedule", "schedule_type", "batch_size")


class FirstTask(NamedTuple):
    """A first task to take over: the model's state dict, the seconds it took to learn, and its source."""

    model: dict[str, Tensor]
    seconds: float
    source: str

    def take_over(self, state: RunState) -> None:
        state.learner.model.load_state_dict(self.model)
        state.seconds = self.seconds
        state.log.line(f"{state.where()}  first task from {self.source}")


def differences(there: dict[str, Any], here: dict[str, Any]) -> Iterator[str]:
    """How the settings of two runs' first tasks differ."""
    name, wanted = there["learner_name"], here["learner_name"]
    theirs, ours = LEARNERS.get(name), LEARNERS[wanted]
    if not ours.shares_first_task(theirs):
        yield f"{name} and {wanted} learn first tasks differently (first_task in learners/base.py)"
    theirs = theirs or ours
    for setting in dict.fromkeys((*FIRST_TASK, *ours.first_task_settings, *theirs.first_task_settings)):
        if there.get(setting) != here.get(setting):
            yield f"{setting} {shown(there.get(setting))} there, {shown(here.get(setting))} here"
    weighs, weigh = (bool(run["DW"]) and learner.reads_DW(run["memory"])
                     for run, learner in ((there, theirs), (here, ours)))
    if weighs != weigh:
        yield f"images are weighted by DW only {'there' if weighs else 'here'}"
    if there["load_any"] and there["load_model_dir"]:
        yield "it took its own first task with load_any"


def other_data(folder: Path, repeat: int, data: str, classes: list[tuple[int, str]]) -> str:
    """How the data of another run differ; "" if they don't. Either run may learn more of the classes."""
    path = folder / PROVENANCE
    try:
        theirs = read_yaml(path)["data"]
        path = folder / "models" / f"repeat-{repeat + 1}" / "classes.yaml"
        names = [entry["name"] for entry in read_yaml(path)["classes"]]
    except (UserError, KeyError, TypeError):
        return f"its data are unknown ({path} is missing or damaged)"
    for old, (_, new) in zip(names, classes):
        if old != new:
            return f"its classes are others ({old} there, {new} here)"
    return "its images or labels are others" if theirs != data else ""


def first_task(settings: Settings, repeat: int, data: str, classes: list[tuple[int, str]]) -> FirstTask:
    """The first task of a repeat, counted from 0. Raises UserError if its files are missing or damaged or,
    unless --load_any allows it, if that run learned it from other data or in another way."""
    flag, folder = f"--load_model_dir {settings.load_model_dir}", Path(settings.load_model_dir)
    path = folder / "models" / f"repeat-{repeat + 1}" / "task-1" / "class.pth"
    if not is_run(folder):
        raise UserError(f"{flag}: does not hold a run; name the --log_dir of one")
    if not path.exists():
        raise UserError(f"{flag}: {path} is missing; that run has not finished this task")
    there = {**vars(Settings()), **read_yaml(folder / "args.yaml")}
    found = [*differences(there, vars(settings)), other_data(folder, repeat, data, classes)]
    reasons = "; ".join(filter(None, found))
    if reasons and not settings.load_any:
        raise UserError(f"{flag}: its first task differs: {reasons}; name another run, or "
                        "add --load_any to take it anyway")
    seconds = read_yaml(folder / "results-time" / "global.yaml")["history"][0][repeat]
    try:
        model = read_tensors(path)
        with torch.device("meta"):
            LEARNERS[settings.learner_name].new_model(settings).load_state_dict(model, assign=True)
    except Exception as error:
        what = f"{settings.model_name} for {settings.dataset}"
        raise UserError(f"{flag}: {path} is damaged or not a {what} ({first_line(error)})") from error
    taken = f", taken with --load_any although: {reasons}" if reasons else ""
    return FirstTask(model, seconds, f"{path}, {there['learner_name']}'s{taken}")
