"""Imports run one way: run -> sweeps, reports -> training -> learners -> dataloaders, models -> the files directly in utils (CONTRIBUTING.md)."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TREES = ("learners", "dataloaders", "models", "utils")
FILES = {ROOT / "run.py", *(path for tree in TREES for path in (ROOT / tree).rglob("*.py"))}

# {part of the code: parts that it may import, beside itself}
BASE = {"utils"}
MAY_IMPORT = {
    "utils": set(),
    "models": BASE,
    "dataloaders": BASE,
    "learners": {"dataloaders", "models"} | BASE,
    "utils.training": {"learners", "dataloaders", "models"} | BASE,
    "utils.reports": {"utils.training", "learners", "dataloaders", "models"} | BASE,
    "utils.sweeps": {"utils.training", "learners", "dataloaders", "models"} | BASE,
}
MAY_IMPORT["run"] = MAY_IMPORT["utils.benchmark"] = set(MAY_IMPORT)  # the commands that know everything
# Of the files directly in utils, what learners may use: the types of settings, errors, random streams, and how numbers are computed.
LEARNERS_USE = {"utils.settings", "utils.errors", "utils.streams", "utils.arithmetic"}


def module(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module(path): path for path in FILES}


def part(name):
    """The folder or subfolder of utils that a module is in; run and the benchmark are parts of their own."""
    first, *rest = name.split(".")
    return f"utils.{rest[0]}" if first == "utils" and rest and f"utils.{rest[0]}" in MAY_IMPORT else first


def imports(path, text=None):
    """The project's modules that a file, or ``text`` in its place, imports anywhere, later and for types too: {name: line}."""
    found = {}
    package = module(path) if path.name == "__init__.py" else module(path).rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8") if text is None else text)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base for alias in node.names]
        else:
            continue
        found.update({name: node.lineno for name in names if name in MODULES})
    return found


def test_the_reader_sees_every_form_of_import():
    text = """
import torch
import utils.errors
from .resnet import ResNet
from . import frozen
if TYPE_CHECKING:
    from models.generator import Generator
def later():
    from utils import files
"""
    seen = {"utils.errors", "models.resnet", "models.frozen", "models.generator", "utils.files"}
    assert imports(ROOT / "models" / "__init__.py", text).keys() == seen
    assert imports(ROOT / "models" / "autoencoder.py", text).keys() == seen


@pytest.mark.parametrize("name", sorted(MODULES))
def test_no_part_imports_one_above_it(name):
    path, here = MODULES[name], part(name)
    wrong = {there: line for there, line in imports(path).items() if part(there) != here and part(there) not in MAY_IMPORT[here]}
    assert not wrong, f"{path.relative_to(ROOT)} is in {here}, which may not import {wrong}"
    if here == "learners":
        beyond = {there for there in imports(path) if there.startswith("utils") and there not in LEARNERS_USE}
        assert not beyond, f"{path.relative_to(ROOT)} imports {beyond}; of utils a learner uses {LEARNERS_USE}"


def test_no_module_imports_itself_in_a_circle():
    edges = {name: set(imports(path)) for name, path in MODULES.items()}
    done, way = set(), []

    def visit(name):
        assert name not in way, f"a circle: {' -> '.join([*way[way.index(name):], name])}"
        if name not in done:
            way.append(name)
            for there in sorted(edges[name]):
                visit(there)
            way.pop()
            done.add(name)

    for name in edges:
        visit(name)


def test_every_file_is_in_a_part_and_each_folder_says_what_it_holds():
    assert {part(name) for name in MODULES} == set(MAY_IMPORT)
    for tree in ("dataloaders", "learners", "models", "utils", "utils/training", "utils/reports", "utils/sweeps"):
        assert ast.get_docstring(ast.parse((ROOT / tree / "__init__.py").read_text(encoding="utf-8")))
