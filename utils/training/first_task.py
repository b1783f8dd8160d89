"""``--load_model_dir``: the first task's model of another run in the place of learning it."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from learners import LEARNERS
from utils.errors import UserError
from utils.files import read_yaml
from utils.settings import Settings
from utils.training.checkpoint import shown
from utils.training.networks import read_network
from utils.training.recorded import Code, Recorded, read_recorded
from utils.training.run_state import Place, RunState

# What two runs must share, beside the learner's first task and its first_task_settings, for the first task's model of one to be that of
# the other. Not memory_format and deterministic: like threads and the device they change its last digits alone.
FIRST_TASK = (
    "dataset", "imagenet_classes", "incomplete_data", "model_type", "model_name", "rand_split", "class_order", "seed", "first_split_size",
    "validation", "precision", "train_aug", "transforms", "optimizer", "lr", "momentum", "weight_decay", "schedule", "schedule_type",
    "batch_size")


@dataclass(frozen=True)
class FirstTask:
    """What a run takes over from another.

    Attributes:
        model: state dict of the first task's model.
        seconds: that learning it took; NaN where that is not known, as of a run of the published code.
        source: where it came from, as the log says it.
    """

    model: dict[str, Tensor]
    seconds: float
    source: str

    def take_over(self, state: RunState) -> None:
        """In the place of the first task's stages."""
        state.learner.model.load_state_dict(self.model)
        state.seconds = self.seconds
        state.log.line(f"{state.where()}  first task from {self.source}")


def differences(theirs: Recorded, mine: Recorded) -> list[str]:
    """Why the first task of the one run is not the other's; empty where it is."""
    there, here = theirs.settings, mine.settings
    name, wanted = str(there.get("learner_name")), str(here.get("learner_name"))
    found = []
    if name != wanted and not (wanted in LEARNERS and LEARNERS[wanted].shares_first_task(LEARNERS.get(name))):
        silent = [one for one in (wanted, name) if one not in LEARNERS or not LEARNERS[one].first_task]
        found.append(
            f"{silent[0]} declares no first_task that it shares with other learners (learners/base.py)" if silent
            else f"{name} learns its first task in another way than {wanted}")
    elif name == wanted == "AlwaysBeDreaming" and (theirs.code is Code.EARLIER) != (mine.code is Code.EARLIER):
        found.append(f"{name}'s first task was over the seen outputs alone in runs before commit f3ba08f")
    own = [setting for learner in (name, wanted) if learner in LEARNERS for setting in LEARNERS[learner].first_task_settings]
    found += [
        f"{setting} {shown(there.get(setting))} there, {shown(here.get(setting))} here"
        for setting in dict.fromkeys((*FIRST_TASK, *own)) if there.get(setting) != here.get(setting)]
    if theirs.weighs != mine.weighs:
        found.append(f"images weighed by DW {'there' if theirs.weighs else 'here'} alone")
    if there.get("load_any") and there.get("load_model_dir"):
        found.append("it took its own first task with load_any")
    return found


def first_task(settings: Settings, repeat: int) -> FirstTask:
    """That of a repeat, from 0, of the run in ``--load_model_dir``. Raises UserError where its files are missing or damaged or,
    but for ``--load_any 1``, where that run learned it in another way."""
    flag, folder = f"--load_model_dir {settings.load_model_dir}", Path(settings.load_model_dir)
    path = folder / "models" / f"repeat-{repeat + 1}" / "task-1" / "class.pth"
    try:
        theirs = read_recorded(folder)
    except UserError as error:
        raise UserError(f"{flag}: {error}; name the log_dir of a run") from error
    reasons = differences(theirs, Recorded(vars(settings), Code.CURRENT))
    if reasons and not settings.load_any:
        raise UserError(
            f"{flag}: its first task does not count as this run's: {'; '.join(reasons)}; name another run, or take it all the same with --load_any 1")
    with torch.device("meta"):
        network = LEARNERS[settings.learner_name].new_model(settings)
    try:
        model, checked = read_network(path, network)
    except OSError as error:
        raise UserError(
            f"{flag}: {path} cannot be read ({error.strerror}); that run must have finished the first task of repeat {repeat + 1}") from error
    except ValueError as error:
        raise UserError(f"{flag}: {path} is damaged or no {settings.model_name} for {settings.dataset} ({error})") from error
    except Exception as error:
        raise UserError(f"{flag}: {path} is damaged ({type(error).__name__})") from error
    published = theirs.code is Code.PUBLISHED
    source = [f"{path}, {theirs.settings.get('learner_name')}'s{' of the published code' * published}"]
    if not checked:
        source.append("which carries no checksum")
    if reasons:
        source.append(f"taken with --load_any 1 although: {'; '.join(reasons)}")
    return FirstTask(model, math.nan if published else first_task_seconds(folder, repeat, flag), ", ".join(source))


def first_tasks(settings: Settings, place: Place | None) -> dict[int, FirstTask]:
    """Those of ``--load_model_dir`` that are still needed at a place, by repeat; none without the flag. Raises UserError."""
    done = place or Place()
    needed = range(done.repeat + (done.task > 0), settings.repeat) if settings.load_model_dir else ()
    return {repeat: first_task(settings, repeat) for repeat in needed}


def first_task_seconds(folder: Path, repeat: int, flag: str) -> float:
    """How long learning the first task took. Raises UserError."""
    path = folder / "results-time" / "global.yaml"
    try:
        return float(read_yaml(path)["history"][0][repeat])
    except UserError as error:
        raise UserError(f"{flag}: {error}") from error
    except Exception as error:
        raise UserError(f"{flag}: {path} is damaged ({type(error).__name__})") from error


def origin(settings: Settings) -> str:
    """From where the first tasks of a run came, for its final screen; "" where it learned them."""
    return settings.load_model_dir and settings.load_model_dir + " (with --load_any 1)" * settings.load_any


def notes(settings: Settings) -> dict[str, Any]:
    """What the files with accuracies say of a first task that was taken whatever it is."""
    return {"load_any": settings.load_model_dir} if settings.load_model_dir and settings.load_any else {}
