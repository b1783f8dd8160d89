"""Learner files that a user adds: their settings, and one line where something is wrong with one of them."""

import dataclasses
import shutil
import subprocess
import sys

import pytest
import torch

from learners import LEARNERS, REGISTRY
from learners.abd import AlwaysBeDreaming
from learners.bic import BICSettings
from learners.lwf import LWF
from learners.stage import Stage
from tests.learners.conftest import DREAMING
from utils import command_line
from utils.errors import RunError, UserError
from utils.settings import Settings, computed_from

BIC = "--learner_type kd --learner_name BIC --memory 2000".split()


def parse(flags):
    return command_line.parse(REGISTRY, flags)


def test_a_setting_of_its_own_is_an_attribute_of_the_learners_settings_alone():
    assert parse([*BIC, "--bias_at_test"]).bias_at_test is True
    assert type(parse(BIC)) is BICSettings and parse(BIC).bias_at_test is False
    assert type(parse([])) is Settings and not hasattr(parse([]), "bias_at_test")
    assert LEARNERS["BIC"].Settings is BICSettings and LWF.Settings is Settings
    with pytest.raises(UserError, match="^--bias_at_test: NormalNN does not read it; these do: .*BIC"):
        parse(["--bias_at_test"])


def test_in_a_file_that_several_learners_share_it_is_left_out_but_checked(tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("bias_at_test: true\n")
    settings = parse(["--config", str(config)])
    assert settings == parse([]) and "bias_at_test" not in computed_from(settings)
    assert parse([*BIC, "--config", str(config)]).bias_at_test is True
    config.write_text("bias_at_test: 3\n")
    with pytest.raises(UserError, match="bias_at_test: 3 is not true or false"):
        parse(["--config", str(config)])


@pytest.mark.parametrize("name", ["RDFCIL", "CwD", "RFD"])
def test_two_phases_need_two_epochs(tiny, name):
    assert command_line.parse(REGISTRY, tiny(name, "--schedule", "2")).schedule == [2]
    with pytest.raises(UserError, match="--schedule"):
        command_line.parse(REGISTRY, tiny(name, "--schedule", "1"))


# Files with and without faults, in one copy of the code: {file: (content, its learner, what is said of it)}

HEAD = """from dataclasses import dataclass
from learners.abd import AlwaysBeDreaming as ABD
from learners.base import Learner
from utils.settings import Settings, setting
"""
OWN = """@dataclass
class Own(Settings):
    own: float = setting(2.0, "method", "weight of the mean squared error", above=0)
class Mine(ABD):
    Settings = Own
"""
FILES = {
    "syntax": (
        "class Broken(:\n", "Broken",
        "learners/syntax.py: SyntaxError: invalid syntax (syntax.py, line 1)"),
    "importing": (
        "import nothing\nclass Importing:\n    pass\n", "Importing",
        "learners/importing.py: ModuleNotFoundError: No module named 'nothing'"),
    "typeless": (
        HEAD + "class Typeless(Learner):\n    pass\n", "Typeless",
        "learners/typeless.py: Typeless has no learner_type"),
    "bare": (
        HEAD + OWN.replace("@dataclass\n", "").replace("Mine", "Bare"), "Bare",
        "learners/bare.py: Own needs the decorator @dataclass"),
    "plain": (
        HEAD + OWN.replace("= setting(", "= len((").replace("above=0)", "0))").replace("Mine", "Plain"),
        "Plain",
        "learners/plain.py: Own.own: declare it as `own: float = setting(...)`"),
    "nothing": (
        HEAD + OWN.replace(": float", "").replace("Mine", "Nothing"), "Nothing",
        "learners/nothing.py: TypeError: 'own' is a field but has no type annotation"),
    "twice": (
        HEAD + OWN.replace("own:", "mu:").replace("Mine", "Twice"), "Twice",
        "learners/twice.py: Own: there is another setting 'mu'; rename this one"),
    "lwf_copy": (
        "from learners.lwf import LWF as Plain\nclass LWF(Plain):\n    pass\n", "LWF",
        "learners/lwf.py and learners/lwf_copy.py: both have a class LWF; rename the copy"),
    "leaving": (
        "class Leaving:\n    pass\nraise SystemExit(3)\n", "Leaving", "learners/leaving.py: SystemExit: 3"),
    "number": (
        HEAD + "class Number(ABD):\n    learner_type = 3\n", "Number",
        "learners/number.py: Number.learner_type is 3, not a string"),
    "none": (
        HEAD + "class Without(ABD):\n    Settings = None\n", "Without",
        "learners/none.py: Without.Settings must be a subclass of utils.settings.Settings"),
    "good": (HEAD + OWN.replace("Mine", "Good"), "Good", ""),
}
SCRIPT = """
import logging
logging.basicConfig()
from learners import LEARNERS, REGISTRY, WARNINGS
from utils.command_line import parse
from utils.errors import UserError
print(*WARNINGS, sep="\\n")
print(parse(REGISTRY, ["--learner_name", "NormalNN"]).learner_name)
DREAMS = ["--deep_inv_params", "1e-3", "5e1", "1e-3", "1e3", "1"]
print(parse(REGISTRY, ["--learner_type", "datafree", "--learner_name", "Good", *DREAMS, "--own", "3"]).own)
for name in {names}:
    try:
        parse(REGISTRY, ["--learner_name", name])
    except UserError as error:
        print(error)
"""


def test_a_file_that_cannot_be_used_is_one_line_and_stops_no_other_learner(root, environment, tmp_path):
    for folder in ("learners", "dataloaders", "models", "utils"):
        shutil.copytree(root / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file, (content, _, _) in FILES.items():
        (tmp_path / "learners" / f"{file}.py").write_text(content)
    faulty = [(name, line) for _, name, line in FILES.values() if line]
    script = SCRIPT.replace("{names}", str([name for name, _ in faulty]))
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True,
        timeout=300)
    assert (done.stderr, done.returncode) == ("", 0)
    lines = done.stdout.splitlines()
    at = lines.index("NormalNN")
    warned, own, said = lines[:at], lines[at + 1], lines[at + 2 :]
    assert own == "3.0"
    for (_, what), line in zip(faulty, said, strict=True):
        assert line.startswith(what)
    for name, what in faulty:  # a class without learner_type may be a base of others
        assert any(line.startswith(what) for line in warned) == (name != "Typeless")


@pytest.mark.parametrize("returned", [torch.zeros(()), {}, {"loss": torch.zeros(3)}, {"loss": 1.0}, None])
def test_a_loss_that_returns_no_scalars_by_name_is_one_line_with_its_file(problem, returned):
    class Mine(LWF):
        def loss(self, x, y):
            return returned

    learner, (task, _) = problem("LWF")
    learner.start_task(task)
    stage = dataclasses.replace(learner.stages(task)[0], loss=Mine.loss.__get__(learner))
    assert isinstance(stage, Stage)
    message = r"^tests/learners/test_own_files.py: .*Mine.loss returned a \w+.*; it must return a dict"
    with pytest.raises(RunError, match=message):
        stage.check(stage.loss(None, None))
    stage.check({"loss": torch.zeros(())})


@pytest.mark.parametrize("name", DREAMING)
def test_an_extension_adds_terms_without_running_a_network_again(second_task, batch, monkeypatch, name):
    learner, task, stages = second_task(name)
    x, y = batch(stages["learn"])
    given, passes = [], []
    dreams = torch.randn(len(x), 3, 32, 32)
    monkeypatch.setattr(learner, "dream", lambda count: dreams)
    plain = learner.eval().loss(x, y)
    hook = lambda *parts: given.append(parts) or {"mine": parts[2].mean()}  # noqa: E731
    monkeypatch.setattr(learner, "more_terms", hook)
    learner.model.conv1.register_forward_hook(lambda *_: passes.append(1))
    losses = learner.loss(x, y)
    assert passes == [1] and losses["mine"].requires_grad
    assert all(torch.equal(losses[term], value) for term, value in plain.items())
    (x_all, y_all, f, f_t), = given
    assert torch.equal(x_all, torch.cat([x, dreams])) and torch.equal(y_all[: len(x)], y)
    assert torch.equal(y_all[len(x) :], learner.teach(dreams).argmax(1))
    torch.testing.assert_close(f, learner.model.features(x_all))
    torch.testing.assert_close(f_t, learner.teacher.eval().features(x_all))


def test_abd_notes_that_its_local_loss_is_0_in_a_task_of_one_new_class(problem):
    learner, (first, second) = problem("AlwaysBeDreaming")
    assert isinstance(learner, AlwaysBeDreaming)
    assert learner.notes(first) == learner.notes(second) == []
    assert learner.notes(dataclasses.replace(first, seen=1)) == []
    line, = learner.notes(dataclasses.replace(second, seen=second.old + 1))
    assert "the loss local is 0" in line
