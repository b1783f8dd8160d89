"""Learn a sequence of tasks with one learner and log its accuracy: flags and YAML in, a folder of results out.

    python run.py --config configs/cifar100.yaml configs/abd.yaml --log_dir outputs/abd
    python run.py --help
"""

import functools
import sys
from pathlib import Path

import torch

from dataloaders.datasets import DATASETS
from utils import settings as settings_module
from utils.checkpoint import RunFolder
from utils.errors import UserError
from utils.tensorboard import require_tensorboard
from utils.trainer import Trainer, learned_classes


def choose_device(gpuid: list[int]) -> torch.device:
    """The first GPU of ``--gpuid``, or the CPU where it is negative or there is no GPU. Raises UserError."""
    if gpuid[0] < 0 or not torch.cuda.is_available():
        return torch.device("cpu")
    if gpuid[0] >= torch.cuda.device_count():
        raise UserError(f"--gpuid {gpuid[0]}: this machine has {torch.cuda.device_count()} GPU(s), counted from 0")
    return torch.device("cuda", gpuid[0])


def main() -> int:
    try:
        settings = settings_module.parse()
        if settings.tensorboard:
            require_tensorboard()
        device = choose_device(settings.gpuid)
        data = DATASETS[settings.dataset].read(Path(settings.dataroot), functools.partial(learned_classes, settings))
        folder = RunFolder(settings)
        Trainer(settings, data, folder, device).run()
    except UserError as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nrun.py: stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
