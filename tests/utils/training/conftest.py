import pytest

from utils.errors import UserError
from utils.settings import Settings
from utils.training.folder import Place, RunFolder

STATE = {"place": vars(Place(0, 1))}


@pytest.fixture
def settings(tmp_path):
    def build(**more):
        return Settings(**{"log_dir": str(tmp_path / "run"), "dataset": "Digits", **more})

    return build


def refusal(settings):
    with pytest.raises(UserError) as error:
        RunFolder(settings)
    assert "\n" not in str(error.value)
    return str(error.value)
