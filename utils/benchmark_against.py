"""Time a checkout of the authors' 2021 code (github.com/GT-RIPL/AlwaysBeDreaming-DFCIL) in turns with ours.

Its run_dfcil.py learns two tasks unchanged. It is timed through torch: within a pass over a DataLoader an
optimiser takes training steps, outside of one it trains the generator. After each of its steps we take ours.
"""

import os
import runpy
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.data import DataLoader

from utils.errors import RunError

WARM_UP = 2  # rounds
SAME = """learner_type learner_name model_type model_name gen_model_type gen_model_name dataset dataroot
    optimizer schedule_type lr momentum weight_decay batch_size deep_inv_params""".split()
# Two classes in the first task and a single epoch, so that the second task begins soon.
SHORT = "--first_split_size 2 --other_split_size 20 --max_task 2 --schedule 1 --repeat 1 --workers 0".split()
PACKAGES = ("dataloaders", "learners", "models", "utils")  # names that both codes have


class Done(BaseException):
    """Everything is measured."""


def compare(
    checkout: Path, settings: Any, device: torch.device, turns: Mapping[str, Callable[[], float]],
    rounds: int, show: Callable[..., None],
) -> None:
    """Call ``show(name, ours, theirs, theirs / ours)`` in milliseconds for each of ``turns`` as soon as it is
    measured.

    ``turns`` takes our step of "learn" and, if the learner dreams, "dream". Raises RunError.
    """
    stdout, on_cpu = sys.stdout, device.type == "cpu"
    pairs: dict[str, list[tuple[float, float]]] = {what: [] for what in turns}
    iterate, in_pass, trained, our_turn, began = DataLoader.__iter__, False, False, False, 0.0

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return 1e3 * time.perf_counter()

    def take_turn(what: str, theirs: float) -> None:
        nonlocal our_turn
        if what in pairs:
            our_turn = True
            pairs[what].append((turns[what](), theirs))
            our_turn = False
            if len(pairs[what]) == rounds + WARM_UP:
                ours, theirs = map(median, zip(*pairs.pop(what)[WARM_UP:]))
                with redirect_stdout(stdout):
                    show(what, ours, theirs, theirs / ours)
        if not pairs:
            raise Done

    def batches(loader: Any) -> Iterator[Any]:
        nonlocal in_pass, trained
        asked, in_pass = now(), True
        for batch in iterate(loader):
            trained = False
            yield batch
            if trained and (began or "dream" not in turns):  # not in an evaluation or a first task
                take_turn("learn", now() - asked)
            asked = now()
        in_pass = False

    def stepped(*_: Any) -> None:
        nonlocal trained, began
        trained = True
        if not our_turn and not in_pass:
            if began:  # the generator's first step only starts the clock
                take_turn("dream", now() - began)
            began = now()

    def stay(self: Any, *_: Any, **__: Any) -> Any:  # .cuda() on a CPU: some calls ignore --gpuid
        return self

    words = [*SHORT, "--power_iters", rounds + WARM_UP + 1, *["--train_aug"] * settings.train_aug]
    words += ["--gpuid", -1 if on_cpu else device.index]
    for name in SAME:
        value = getattr(settings, name)
        words += [f"--{name}", *(value if isinstance(value, list) else [value])]
    ours = [name for name in sys.modules if name.partition(".")[0] in PACKAGES]
    hook = register_optimizer_step_post_hook(stepped)
    try:
        with (TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere, redirect_stdout(nowhere),
              patch.object(sys, "argv", ["run_dfcil.py", *map(str, words), "--log_dir", f"{folder}/run"]),
              patch.object(sys, "path", [str(checkout), *sys.path]), patch.dict(sys.modules),
              patch.object(DataLoader, "__iter__", batches),
              patch.object(torch.Tensor, "cuda", stay if on_cpu else torch.Tensor.cuda),
              patch.object(torch.nn.Module, "cuda", stay if on_cpu else torch.nn.Module.cuda)):
            for name in ours:
                del sys.modules[name]
            runpy.run_path(f"{checkout}/run_dfcil.py", run_name="__main__")
    except Done:
        return
    except (Exception, SystemExit) as error:
        raise RunError(f"--against {checkout}: its {settings.learner_name} failed: {error!r}") from error
    finally:
        hook.remove()
