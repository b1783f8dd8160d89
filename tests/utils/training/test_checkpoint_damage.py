"""Checkpoints that are damaged."""

import hashlib
import io
import pickle

import pytest
import torch

from tests.utils.training.conftest import STATE, refusal
from utils.files import write_tensors
from utils.training.folder import Place, RunFolder


class Hostile:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


@pytest.fixture
def damage(tmp_path):
    """Damages a checkpoint: damage(name, kind); a hostile one would write the file ``marker``."""
    def apply(name, kind):
        path = tmp_path / "run" / name
        whole = path.read_bytes()
        if kind == "strange":
            write_tensors(path, {"weights": torch.ones(3)})
        elif kind == "hostile":
            content = io.BytesIO()
            torch.save({"settings": Hostile(tmp_path / "marker")}, content)
            path.write_bytes(content.getvalue() + hashlib.sha256(content.getvalue()).digest())
        else:
            flipped = bytearray(whole)
            flipped[len(whole) // 2] ^= 4
            path.write_bytes({"cut": whole[: len(whole) // 2], "text": b"not a checkpoint", "empty": b"", "flipped": flipped,
                              "pickle": pickle.dumps({"settings": Hostile(tmp_path / "marker")})}[kind])

    return apply


DAMAGES = ["cut", "flipped", "text", "empty", "strange", "pickle", "hostile"]


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_checkpoint_is_refused_with_the_remedy(settings, tmp_path, damage, kind):
    folder = RunFolder(settings())
    folder.begin()
    folder.save({**STATE, "learner": {"w": torch.randn(1000)}})
    damage("checkpoint.pt", kind)
    message = refusal(settings())
    assert "checkpoint.pt" in message
    assert "--overwrite 1" in message
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("kind", DAMAGES)
def test_in_place_of_a_damaged_checkpoint_the_one_before_it_is_used(settings, tmp_path, damage, kind):
    folder = RunFolder(settings())
    for task in (1, 2):
        folder.save({"place": vars(Place(0, task)), "learner": {"w": torch.randn(1000)}})
    damage("checkpoint.pt", kind)
    again = RunFolder(settings())
    assert again.place == Place(0, 1)
    assert "checkpoint.pt" in again.damage
    assert not (tmp_path / "marker").exists()


def test_a_damaged_checkpoint_never_takes_the_place_of_the_good_one(settings, damage):
    folder = RunFolder(settings())
    folder.save({"place": vars(Place(0, 1))})
    folder.save({"place": vars(Place(0, 2))})
    damage("checkpoint.pt", "cut")
    RunFolder(settings()).save({"place": vars(Place(0, 3))})
    damage("checkpoint.pt", "cut")
    assert RunFolder(settings()).place == Place(0, 1)


def test_two_damaged_checkpoints_are_refused(settings, damage):
    folder = RunFolder(settings())
    folder.begin()
    folder.save(STATE)
    folder.save(STATE)
    damage("checkpoint.pt", "cut")
    damage("checkpoint-previous.pt", "flipped")
    message = refusal(settings())
    assert "checkpoint.pt" in message and "checkpoint-previous.pt" in message and "--overwrite 1" in message


def test_of_repeats_side_by_side_only_the_damaged_one_is_to_be_deleted(settings, tmp_path):
    of_repeat = settings(log_dir=str(tmp_path / "run" / "parallel" / "repeat-2"))
    RunFolder(settings()).begin()
    folder = RunFolder(of_repeat)
    folder.begin()
    folder.save(STATE)
    (tmp_path / "run" / "parallel" / "repeat-2" / "checkpoint.pt").write_bytes(b"x")
    message = refusal(of_repeat)
    assert f"delete {of_repeat.log_dir}, and that repeat is done again" in message and "--overwrite" not in message


def test_a_run_killed_between_the_two_renames_goes_on_from_the_one_before(settings, tmp_path):
    folder = RunFolder(settings())
    folder.save({"place": vars(Place(0, 1))})
    folder.save({"place": vars(Place(0, 2))})
    (tmp_path / "run" / "checkpoint.pt").unlink()
    again = RunFolder(settings())
    assert again.place == Place(0, 1)
    again.save({"place": vars(Place(0, 2))})
    assert RunFolder(settings()).place == Place(0, 2)


def test_overwrite_mends_a_damaged_checkpoint(settings, tmp_path):
    RunFolder(settings()).begin()
    (tmp_path / "run" / "checkpoint.pt").write_bytes(b"not a checkpoint")
    assert RunFolder(settings(overwrite=1)).state is None
