import json

import pytest
import yaml

from utils.errors import UserError
from utils.settings import Settings
from utils.training.folder import Place, RunFolder
from utils.training.trainer import Trainer

ABD = "AlwaysBeDreaming"
STATE = {"place": vars(Place(0, 1))}


class Halt(Exception):
    """Stands for the end of the process."""


@pytest.fixture
def settings(tmp_path):
    """Settings of a run in tmp_path / "run": settings(name=value, ...)."""

    def build(**more):
        return Settings(**{"log_dir": str(tmp_path / "run"), "dataset": "Digits", **more})

    return build


@pytest.fixture
def halted(trainer, monkeypatch):
    """Start a run that ends right after its checkpoint at a place: halted(place, log_dir, flag, ...)."""

    def start(place, *arguments):
        save = Trainer.save

        def saving(self):
            save(self)
            if self.state.place == place:
                raise Halt

        with monkeypatch.context() as patched, pytest.raises(Halt):
            patched.setattr(Trainer, "save", saving)
            trainer(*arguments).run()

    return start


def refusal(settings):
    """The line that refuses a run with these settings."""
    with pytest.raises(UserError) as error:
        RunFolder(settings)
    assert "\n" not in str(error.value)
    return str(error.value)


def read(path):
    return yaml.safe_load(path.read_text())


def records(folder):
    """The records of metrics.jsonl without times."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]


def lines_of(folder):
    return (folder / "output.log").read_text().splitlines()
