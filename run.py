"""Learn a sequence of tasks with one learner: flags and YAML files in, a folder of results out.

    python run.py --config configs/cifar100.yaml configs/abd.yaml --log_dir outputs/abd

``--help`` explains flags and exit status. The same command resumes from the last checkpoint.
"""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while torch loads ends without a traceback
    # Our packages come first, even with PYTHONSAFEPATH or with others of their names on PYTHONPATH.
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    # Must be set before torch loads: waiting threads spin briefly, then sleep (docs/performance.md).
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = "10000"

import torch

from dataloaders.datasets import Data, read_data
from learners import REGISTRY, WARNINGS
from utils.command_line import parse
from utils.device import cpu_notices, open_device
from utils.errors import run_main
from utils.reports.final_screen import FinalScreen
from utils.settings import Settings
from utils.training.folder import ResultFiles, RunFolder
from utils.training.journal import Journal
from utils.training.results import Results
from utils.training.trainer import Trainer


def build_trainer(settings: Settings, data: Data, folder: RunFolder, device: torch.device) -> Trainer:
    """The trainer of a run with all its listeners. Raises UserError if data and settings do not fit."""
    trainer = Trainer(settings, data, folder, device)
    trainer.listeners += [ResultFiles(folder), Journal(trainer.state.log, [*folder.notices, *data.notes])]
    drawn = None
    if settings.tensorboard:
        from utils.reports.tensorboard import TensorBoard

        trainer.listeners.append(board := TensorBoard(folder))
        drawn = board.figure
    if settings.wandb:
        from utils.reports.wandb import WandB

        trainer.listeners.append(WandB())
    if not settings.no_figures:
        from utils.reports.run_figures import RunFigures  # imports matplotlib

        trainer.listeners.append(RunFigures(folder, drawn))
    trainer.listeners.append(FinalScreen())
    return trainer


def train(config: Sequence[str | Path] = (), **flags: Any) -> Results:
    """Do what the command line does, from Python, and return what was measured:

        from run import train

        train(["configs/digits.yaml", "configs/abd.yaml"], log_dir="outputs/abd").history("accuracy")
    """
    arguments = ["--config", *map(str, config)] if config else []
    for name, value in flags.items():
        values = value if isinstance(value, list | tuple) else [value]
        arguments += [f"--{name}", *map(str, values)]
    return start(parse(REGISTRY, arguments))


def start(settings: Settings) -> Results:
    """Run to the end, and return what was measured. Raises UserError before any work, RunError and Stopped
    later."""
    for line in WARNINGS:
        print(f"run.py: warning: {line}", file=sys.stderr)
    if settings.tensorboard:
        from utils.reports.tensorboard import require_tensorboard

        require_tensorboard()
    if settings.wandb:
        from utils.reports.wandb import require_wandb

        require_wandb()
    device = open_device(settings)
    data = read_data(settings)
    folder = RunFolder(settings)
    folder.notices += cpu_notices(settings.gpuid, device)
    torch.set_num_threads(folder.settings.threads)
    return build_trainer(folder.settings, data, folder, device).run()


def main(arguments: list[str] | None = None) -> None:
    start(parse(REGISTRY, arguments))


if __name__ == "__main__":
    sys.exit(run_main("run.py", main))
