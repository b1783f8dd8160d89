"""Cases that somebody tried who had not written the code."""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import threading

import pytest

from learners import REGISTRY
from tests.utils.training.conftest import lines_of, read
from utils.command_line import parse
from utils.errors import StopRequest, UserError
from utils.files import read_yaml, write_yaml
from utils.training import provenance
from utils.training import trainer as trainer_module
from utils.training.first_task import first_task

CLASSES = "models/repeat-1/classes.yaml"


class Page:
    """What a notebook may have in place of a stream."""

    def write(self, text):
        return len(text)

    def flush(self):
        pass


# --load_model_dir


@pytest.fixture
def take(copied):
    """(the run taken from, take(setting=value, ...)), the run that takes having four classes in two tasks."""
    other = copied("NormalNN")
    flags = ["--config", str(other / "args.yaml"), "--load_model_dir", str(other)]
    data = read_yaml(other / "provenance.yaml")["data"]
    classes = [(entry["number"], entry["name"]) for entry in read_yaml(other / CLASSES)["classes"]]

    def take(**changes):
        return first_task(dataclasses.replace(parse(REGISTRY, flags), **changes), 0, data, classes)

    return other, take


@pytest.mark.parametrize("count", [2, 3])
def test_a_run_that_learned_fewer_of_the_classes_has_the_same_first_task(take, count):
    other, take = take
    write_yaml(other / CLASSES, {"classes": read_yaml(other / CLASSES)["classes"][:count]})
    assert "although" not in take(max_task=2).source


@pytest.mark.parametrize(("name", "content"), [
    ("provenance.yaml", None), ("provenance.yaml", "code: []\n"), (CLASSES, None), (CLASSES, "x: 1\n"),
    (CLASSES, "classes: {a: 1}\n"), (CLASSES, "classes:\n- {output: 0, number: 7}\n"),
    (CLASSES, "classes: [\n")])
def test_a_run_without_a_record_of_its_data_is_taken_with_load_any_alone_which_says_so(take, name, content):
    other, take = take
    (other / name).unlink() if content is None else (other / name).write_text(content)
    reason = f"its data are unknown ({other / name} is missing or damaged)"
    with pytest.raises(UserError) as refused:
        take()
    assert f"not this run's: {reason}; name another run" in str(refused.value)
    assert take(load_any=True).source.endswith(f"taken with --load_any although: {reason}")


# Resuming


def test_a_finished_run_that_other_code_only_shows_again_is_not_marked_as_resumed(
        copied, trainer, monkeypatch):
    folder = copied("NormalNN")
    now = read(folder / "provenance.yaml")["code"][-1] | {"torch": "9.9"}
    monkeypatch.setattr(trainer_module, "provenance", lambda learner, device: now)
    trainer(folder).run()
    assert "resumed_with" not in read(folder / "results-acc" / "global.yaml")
    assert not [line for line in lines_of(folder) if "other code" in line]
    trainer(folder, "NormalNN", "--repeat", 2).run()  # now it does compute something
    assert "9.9 now" in read(folder / "results-acc" / "global.yaml")["resumed_with"][0]


@pytest.mark.skipif(not shutil.which("git"), reason="there is no git")
def test_asking_git_writes_nothing_into_the_repository(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("text")
    for words in (["init", "-q"], ["add", "file"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    os.utime(tmp_path / "file", (1, 1))  # git would note that in its index
    before = (tmp_path / ".git" / "index").read_bytes()
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    assert provenance.git("status", "--porcelain") == "A  file"
    assert (tmp_path / ".git" / "index").read_bytes() == before


# In other programs


def test_a_run_in_a_thread_and_with_streams_that_lack_most_methods(trainer, tmp_path, monkeypatch):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, Page())
    done = []
    run = trainer(tmp_path, "NormalNN", "--max_task", 1).run
    thread = threading.Thread(target=lambda: done.append(run()))
    thread.start()
    thread.join()
    assert len(done[0].matrix) == 1


def test_a_handler_that_python_cannot_put_back_stays(monkeypatch):
    monkeypatch.setattr(signal, "getsignal", lambda number: None)  # as of a handler in C
    monkeypatch.setattr(signal, "signal", None)
    with StopRequest() as request:
        assert request.before == {}
