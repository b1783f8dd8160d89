"""Settings and data that a learner can't run with, refused before any work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from dataloaders.datasets import image_side
from dataloaders.image_folder import check_folder
from dataloaders.tasks import check_split, task_ranges
from models import image_generator
from utils.errors import UserError
from utils.settings import Settings


def check_settings(learner: Any, settings: Settings) -> None:
    """Check what all learners need. Raises UserError."""
    name = settings.learner_name
    if settings.learner_type != learner.learner_type:
        raise UserError(f"--learner_type {settings.learner_type}: {name} needs {learner.learner_type}")
    if settings.memory and not learner.takes_coreset:
        raise UserError(f"--memory {settings.memory}: {name} keeps no coreset; use --memory 0")
    if settings.oracle_flag and not learner.takes_oracle:
        raise UserError(f"--oracle_flag: the upper bound is NormalNN's; {name} learns task by task")
    check_folder(settings)
    check_split(settings)
    if needed := learner.generator_type:
        kind, size = settings.gen_model_type, settings.gen_model_name
        if kind != needed:
            raise UserError(f"--gen_model_type {kind}: {name} needs --gen_model_type {needed}")
        with torch.device("meta"):
            image_generator(kind, size, image_side(settings))
    if settings.weights and not Path(settings.weights).is_file():
        raise UserError(f"--weights {settings.weights}: there is no such file")


def reads(learner: Any, setting: str) -> bool:
    """Return whether a setting has an effect on a learner class, for its ``--help``. A class shows all that
    its parent leaves out, since its own losses may read them."""
    dreams = learner.generator_type == "generator"
    needed = {
        "memory": learner.takes_coreset, "oracle_flag": learner.takes_oracle, "DW": learner.weighs_classes,
        "gen_model_type": learner.generator_type, "gen_model_name": learner.generator_type,
        "power_iters": dreams, "deep_inv_params": dreams, "beta": False}
    return bool(needed.get(setting, setting not in vars(learner).get("unread", ())))


def check_batches(learner: Any, settings: Settings, counts: Sequence[int]) -> None:
    """Refuse data of which a task would have no batch, since incomplete batches are dropped. See
    ``Learner.check_data``."""
    for index, new in enumerate(task_ranges(settings)):
        if (images := learner.images_to_learn(settings, counts, new)) < settings.batch_size:
            raise UserError(
                f"--batch_size {settings.batch_size}: task {index + 1} has {images} images to learn, less "
                "than one batch")


def first_task_of(learner: Any) -> str:
    """The ``first_task`` of a learner; "" if it is inherited but ``loss`` is overridden."""
    declared = next(place for place, kind in enumerate(learner.__mro__) if "first_task" in vars(kind))
    loss = next(place for place, kind in enumerate(learner.__mro__) if "loss" in vars(kind))
    return "" if loss < declared else learner.first_task
