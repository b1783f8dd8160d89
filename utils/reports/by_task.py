"""results-acc/pt.yaml of any code: accuracy on each task after each task."""

from pathlib import Path
from typing import Any

import numpy as np

from utils.errors import UserError
from utils.training.metrics import AXES
from utils.training.recorded import Code


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
