"""Learn a sequence of tasks with one learner and log its accuracy: flags and YAML in, a folder of results out.

    python run.py --config configs/cifar100.yaml configs/abd.yaml --log_dir outputs/abd
    python run.py --help

Exit status: 0 finished; 1 failed on the way (a full disk, a loss that is not finite); 2 refused before any work;
130 and 143 stopped by Ctrl-C and SIGTERM. After any but 0 a line on stderr says what to do; the same command resumes
from the last checkpoint, also after a kill.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent))  # also where Python is told not to (PYTHONSAFEPATH), and before PYTHONPATH

import utils  # noqa: F401  (prepares the process: before everything else)
from dataloaders.datasets import Data, read_data
from learners import REGISTRY
from utils.command_line import parse
from utils.errors import RunError, UserError
from utils.reports.final_screen import FinalScreen
from utils.settings import Settings
from utils.startup import run_command, status_of
from utils.sweeps.parallel import ParallelTrainer
from utils.training.checkpoint import RunFolder
from utils.training.device import cpu_notices, open_device, probe, use_threads
from utils.training.journal import Journal
from utils.training.result_files import ResultFiles
from utils.training.stop import Stopped
from utils.training.trainer import Trainer

if TYPE_CHECKING:
    import torch


def build_trainer(settings: Settings, data: Data, folder: RunFolder, device: torch.device) -> Trainer:
    """The trainer of a run and all that listen to it. Raises UserError where data and settings do not fit, before any work."""
    if settings.parallel > 1 or folder.parallel:
        trainer: Trainer = ParallelTrainer(settings, data, folder, device, build_trainer)
    else:
        trainer = Trainer(settings, data, folder, device)
    trainer.listeners += [ResultFiles(folder), Journal(settings, trainer.state.log, data.notes)]
    drawn = None
    if settings.tensorboard:
        from utils.reports.tensorboard import TensorBoard

        trainer.listeners.append(board := TensorBoard(folder))
        drawn = board.figure
    if not settings.no_figures:
        from utils.reports.run_figures import RunFigures  # and matplotlib

        trainer.listeners.append(RunFigures(folder, drawn))
    trainer.listeners.append(FinalScreen())
    return trainer


def main() -> int:
    try:
        settings = parse(REGISTRY)
        if settings.tensorboard:
            from utils.reports.tensorboard import require_tensorboard

            require_tensorboard()
        device = open_device(settings)
        data = read_data(settings)
        folder = RunFolder(settings)
        settings = folder.settings
        use_threads(settings.threads)
        folder.notices += cpu_notices(settings.gpuid, device)
        probe(device)
        build_trainer(settings, data, folder, device).run()
    except (UserError, RunError, Stopped) as error:
        message, status = str(error), error.status
    except KeyboardInterrupt as stopped:
        message, status = "stopped before any work", status_of(stopped)
    else:
        return 0
    print(f"run.py: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(run_command("run.py", main))
