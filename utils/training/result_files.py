"""What a run leaves for others to read: the results files and, in models/, the networks of every task."""

from pathlib import Path

from dataloaders.datasets import DATASETS
from dataloaders.tasks import task_ranges
from learners import Stage
from utils.settings import Settings
from utils.tensors import write_tensors
from utils.training.checkpoint import RunFolder
from utils.training.first_task import notes
from utils.training.listeners import Listener
from utils.training.measures import Measures
from utils.training.metrics import Results
from utils.training.run_state import RunState


def save_results(settings: Settings, results: Results, folder: Path) -> None:
    """results-acc, results-mem and results-time in the run's folder."""
    results.save(folder, len(task_ranges(settings)), DATASETS[settings.dataset].top_k, notes(settings))


class ResultFiles(Listener):
    def __init__(self, folder: RunFolder):
        self.folder = folder

    def stage_ended(self, run: RunState, stage: Stage) -> None:
        if stage.joins:
            write_tensors(self.folder.model_path(run.place.repeat, run.task.index - 1) / f"{stage.joins}.pth", stage.trained.state_dict())

    def task_ended(self, run: RunState, measures: Measures) -> None:
        save_results(run.settings, run.results, self.folder.path)
        for name, network in run.learner.networks().items():
            write_tensors(self.folder.model_path(run.place.repeat, run.task.index) / f"{name}.pth", network.state_dict())

    def run_ended(self, run: RunState) -> None:
        if not all((self.folder.path / f"results-{kind}" / "global.yaml").exists() for kind in ("acc", "mem", "time")):
            save_results(run.settings, run.results, self.folder.path)  # of a run that was finished before: someone has deleted them
