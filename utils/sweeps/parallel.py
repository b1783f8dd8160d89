"""``--parallel M``: repeats side by side. What they leave is what one after the other would, byte for byte but for times.

Each repeat is a run of its own in LOG_DIR/parallel/repeat-R: on a CPU a process, on a GPU this process's, in turns with the others.
It begins from a checkpoint that says the repeats before are done, so that it needs no setting of its own, resumes where it was stopped,
and knows nothing of the others. Repeats that have ended join LOG_DIR in their order; in between, that is the folder of a run that was
stopped after a whole repeat.
"""

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from dataloaders.datasets import Data
from learners import REGISTRY
from utils.command_line import parse
from utils.errors import RunError, UserError
from utils.settings import Settings, computed_from
from utils.sweeps.engines import Engine, Local, Run
from utils.sweeps.scheduler import run_all
from utils.sweeps.turns import Turns
from utils.tensors import read_tensors, write_tensors
from utils.training.checkpoint import CHECKPOINT, PARALLEL, PREVIOUS, RunFolder
from utils.training.metrics import Results
from utils.training.result_files import save_results
from utils.training.run_state import Place, RunState
from utils.training.trainer import Trainer


class ParallelTrainer(Trainer):
    """Trains no step itself: each repeat has a trainer, ``settings.parallel`` of them work at a time on the one device.

    Args:
        build: what run.py makes a run's trainer with, for those of this process.
    """

    def __init__(
        self, settings: Settings, data: Data, folder: RunFolder, device: torch.device,
        build: Callable[[Settings, Data, RunFolder, torch.device], Trainer],
    ):
        place = folder.place or Place()
        if place != Place(place.repeat):
            raise UserError(
                f"--parallel {settings.parallel}: the run in --log_dir {settings.log_dir} is in the middle of a repeat ({place}); "
                "leave the flag out until that is done, or start another --log_dir")
        super().__init__(settings, data, folder, torch.device("cpu"))
        if device.type == "cpu":  # those who train read it themselves
            del self.data
        self.build = build
        self.trained_on = device

    def train_repeats(self) -> Iterator[None]:
        """All repeats that have not joined yet. Raises RunError where one failed, after the others have ended."""
        if not self.folder.place:  # nothing lies in the folder without a checkpoint that says whose it is
            self.folder.save(RunState.before(0, self.trained_on, self.state.data))
        for repeat in range(self.state.place.repeat):  # joined, and killed before its folder was deleted
            shutil.rmtree(self.folder_of(repeat), ignore_errors=True)
        runs = [self.child(repeat) for repeat in range(self.state.place.repeat, self.settings.repeat)]
        to_join, done = list(runs), set[Run]()

        def join_in_order(run: Run) -> None:
            done.add(run)
            while to_join and to_join[0] in done:
                try:
                    self.join(to_join.pop(0))
                except BaseException:
                    to_join.clear()  # they join in their order, when this is started again
                    raise

        each = self.settings.parallel
        engine: Engine = Turns(self.trained_on, each, self.trainer_of) if self.trained_on.type == "cuda" else Local([-1], each)
        failed = run_all(runs, engine, self.stop_request, join_in_order, self.folder.resume_command)
        if failed:
            count = f"{len(failed)} of {len(runs)} repeats failed"
            raise RunError(f"{failed[0].run.name}: {failed[0].message}; {count}, {self.folder.resume_command} resumes them")
        with contextlib.suppress(OSError):  # there are more where --repeat was higher before, or it was never made
            (self.folder.path / PARALLEL).rmdir()
        return iter(())

    def folder_of(self, repeat: int) -> Path:
        """Where a repeat is under way."""
        return self.folder.path / PARALLEL / f"repeat-{repeat + 1}"

    def child(self, repeat: int) -> Run:
        """The run of a repeat, in a folder with a checkpoint to resume from."""
        folder = self.folder_of(repeat)
        if not any((folder / name).exists() for name in (CHECKPOINT, PREVIOUS)):
            before = RunState.before(repeat, self.trained_on, self.state.data)
            write_tensors(folder / CHECKPOINT, {"settings": computed_from(self.settings), **before})
        arguments = ["--config", self.folder.path / "args.yaml", "--log_dir", folder, "--repeat", repeat + 1, "--parallel", 1, "--overwrite", 0]
        return Run(f"repeat {repeat + 1}", [str(word) for word in arguments], folder)

    def trainer_of(self, run: Run) -> Trainer:
        """For a repeat that this process trains; it stops when this one is to. Raises UserError."""
        settings = parse(REGISTRY, [*run.arguments, "--gpuid", str(self.trained_on.index)])
        folder = RunFolder(settings)
        trainer = self.build(folder.settings, self.data, folder, self.trained_on)
        trainer.stop_request = self.stop_request
        return trainer

    def join(self, run: Run) -> None:
        """Take over what the next repeat has left, its checkpoint last: a kill in between only has the rest done again.
        Raises RunError where it has been damaged, OSError where a file cannot be read or written."""
        repeat, folder = self.state.place.repeat, run.folder
        try:
            state = read_tensors(folder / CHECKPOINT)
        except OSError:
            raise
        except Exception as error:
            raise RunError(f"{folder / CHECKPOINT} is damaged ({type(error).__name__}); delete {folder}, and that repeat is done again") from error
        texts = {name: (folder / name).read_bytes()[:end].decode(errors="replace") for name, end in state["log"].items()}
        texts["output.log"] = re.sub(rf"(?m)^((resuming: )?repeat {repeat + 1})/{repeat + 1}\b", rf"\1/{self.settings.repeat}", texts["output.log"])
        self.state.log.append(texts)
        for kind in ("models", "figures", "tensorboard"):
            left = folder / kind / f"repeat-{repeat + 1}"
            if left.exists():
                place = self.folder.path / kind / left.name
                if place.exists():
                    shutil.rmtree(place)  # of a checkpoint that was damaged since
                place.parent.mkdir(exist_ok=True)
                left.rename(place)
        theirs = Results(state["results"]).state_dict()
        for name, values in self.state.results.state_dict().items():
            values.append(theirs[name][repeat])
        save_results(self.settings, self.state.results, self.folder.path)
        self.state.end_repeat()
        self.folder.save({**state, "results": self.state.results.state_dict(), "log": self.state.log.sizes()})
        shutil.rmtree(folder)
