"""The numbers of a run by task and repeat: files of results-acc and the like, of any code, and how far each repeat has come."""

from pathlib import Path
from typing import Any

import numpy as np

from utils.errors import UserError
from utils.files import read_yaml
from utils.training.metrics import AXES
from utils.training.recorded import Code


def read_history(path: Path) -> np.ndarray:
    """``history`` of a results file: [after task, repeat]; NaN where the run has not come so far. Raises UserError, naming the file."""
    return history_of(read_yaml(path), 2, path)


def read_matrix(path: Path, code: Code) -> np.ndarray:
    """That of pt.yaml or pt-local.yaml: [after task, on task, repeat]; NaN where the task came later, too. Raises UserError."""
    content = read_yaml(path)
    return after_on(history_of(content, 3, path), content.get("axes"), code, path)


def history_of(content: dict[str, Any], dimensions: int, path: Path) -> np.ndarray:
    """Raises UserError, naming the file."""
    try:
        history = np.array(content["history"], dtype=float)
        if history.ndim != dimensions or not history.size:
            raise ValueError(history.shape)
        return history
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path} holds no numbers by task and repeat under 'history'") from error


def after_on(history: np.ndarray, axes: Any, code: Code, path: Path) -> np.ndarray:
    """[after task, on task, repeat] out of a file's ``history`` and its key ``axes``; NaN where the task came later or has not been
    measured yet.

    Files without the key are this project's from before it, [after][on] with NaN where the task came later, or the published
    code's, [on][after] with 0 there. Raises UserError where that is not so.
    """
    if axes is None:
        ours = code is not Code.PUBLISHED
        values = history if ours else history.swapaxes(0, 1)
        later = values[np.triu_indices(len(values), 1)] if values.shape[0] == values.shape[1] else np.array([1.0])
        if not (np.isnan(later) if ours else later == 0).all():
            whose = "this project wrote before that key" if ours else "the published code wrote"
            raise UserError(f"{path} has no key axes and is not as {whose}; it is left out")
    elif axes == AXES:
        values = history.swapaxes(0, 1)
    else:
        raise UserError(f"{path} has axes {axes}, which are not {AXES}; it is left out")
    values = values.copy()
    if values.shape[0] == values.shape[1]:
        values[np.triu_indices(len(values), 1)] = np.nan
    return values


def finished(accuracy: np.ndarray) -> int:
    """How many repeats of accuracy [after task, repeat] have finished their last task."""
    return int((~np.isnan(accuracy[-1])).sum())


def differ(accuracy: np.ndarray, over_images: np.ndarray) -> bool:
    """Whether the accuracy over images is another than the mean over tasks anywhere, where both are known."""
    return accuracy.shape == over_images.shape and bool((np.abs(accuracy - over_images) > 1e-6).any())


def unfinished(accuracy: np.ndarray, wanted: int = 0) -> list[str]:
    """Which task each repeat that has not finished is at; the first of those ``wanted`` that has no result yet, too."""
    tasks, done = len(accuracy), (~np.isnan(accuracy)).sum(0).tolist()
    if finished(accuracy) == len(done) < wanted:
        done.append(0)  # a repeat begins when the one before ends
    return [f"task {count + 1}/{tasks}" for count in done if count < tasks]
