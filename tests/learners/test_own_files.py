"""Files of learners, networks and data sets that a user adds, with and without faults."""

import shutil
import subprocess
import sys

OWN = """from dataclasses import dataclass
from learners.abd import ABDSettings, AlwaysBeDreaming as ABD
from utils.settings import setting
@dataclass
class Own(ABDSettings):
    own: float = setting(2.0, "method", "weight of the mean squared error", above=0)
class Mine(ABD):
    Settings = Own
"""
FILES = {  # {file: (content, its learner, what is said of it)}
    "syntax": (
        "class Broken(:\n", "Broken", "learners/syntax.py: SyntaxError: invalid syntax (syntax.py, line 1)"),
    "typeless": (
        "from learners.base import Learner\nclass Typeless(Learner):\n    pass\n", "Typeless",
        "learners/typeless.py: Typeless has no learner_type"),
    "twice": (
        OWN.replace("own:", "mu:").replace("Mine", "Twice"), "Twice",
        "learners/twice.py: Own: there is another setting 'mu'; rename this one"),
    "lwf_copy": (
        "from learners.lwf import LWF as Plain\nclass LWF(Plain):\n    pass\n", "LWF",
        "learners/lwf.py and learners/lwf_copy.py: both have a class LWF; rename the copy"),
    "good": (OWN.replace("Mine", "Good"), "Good", ""),
}
OWN_DATA = """from dataloaders.base import dataset
dataset("NAME", classes=2, image_size=8, mean=(0,) * 3, std=(1,) * 3)(print)
"""
SCRIPT = """
from dataloaders.datasets import DATASETS
from learners import REGISTRY, WARNINGS
from utils.command_line import parse
from utils.errors import UserError
assert "FromATest" in DATASETS
print(*WARNINGS, sep="\\n")
print(parse(REGISTRY, ["--learner_name", "NormalNN", "--model_name", "tiny"]).learner_name)
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
    network = "from models.base import network\nnetwork('tiny')(print)"
    (tmp_path / "models" / "tiny.py").write_text(network)
    sets = tmp_path / "dataloaders" / "sets"
    (sets / "own.py").write_text(OWN_DATA.replace("NAME", "FromATest"))
    (sets / "broken.py").write_text("def read(:")
    (sets / "zdigits.py").write_text(OWN_DATA.replace("NAME", "Digits"))
    faulty = [(name, line) for _, name, line in FILES.values() if line]
    script = SCRIPT.replace("{names}", str([name for name, _ in faulty]))
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True,
        timeout=300)
    assert done.returncode == 0, done.stderr
    broken, taken = done.stderr.splitlines()
    assert "left out: dataloaders/sets/broken.py: SyntaxError" in broken
    assert "left out: dataloaders/sets/zdigits.py: UserError: there is already a data set" in taken
    lines = done.stdout.splitlines()
    at = lines.index("NormalNN")
    warned, own, said = lines[:at], lines[at + 1], lines[at + 2 :]
    assert own == "3.0"
    for (_, what), line in zip(faulty, said, strict=True):
        assert line.startswith(what)
    for name, what in faulty:  # a class without learner_type may be a base of others
        assert any(line.startswith(what) for line in warned) == (name != "Typeless")
