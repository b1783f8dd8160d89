"""Imports run one way: run -> reports, sweep -> training -> learners -> dataloaders, models -> files directly
in utils."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TREES = ("learners", "dataloaders", "models", "utils")
FILES = {ROOT / "run.py", *(path for tree in TREES for path in (ROOT / tree).rglob("*.py"))}

# {part of the code: parts that it may import, besides itself}
BASE = {"utils"}
LOWER = {"learners", "dataloaders", "models"} | BASE
MAY_IMPORT = {
    "utils": set(), "models": BASE, "dataloaders": BASE, "learners": LOWER, "utils.training": LOWER,
    "utils.reports": LOWER | {"utils.training"}}
# Commands, which know everything.
COMMANDS = {"run", "utils.load", "utils.sweep", "utils.benchmark"}
# What learners may use of utils: the types of settings, errors, random streams, and how numbers are computed.
LEARNERS_USE = {"utils.settings", "utils.errors", "utils.streams", "utils.device"}


def module(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module(path): path for path in FILES}


def part(name):
    """The folder, or the subfolder of utils, that a module is in; a command is a part of its own."""
    first, *rest = name.split(".")
    inner = f"utils.{rest[0]}" if first == "utils" and rest else first
    return inner if inner in {*MAY_IMPORT, *COMMANDS} else first


def imports(path):
    """The project's modules that a file imports anywhere, later and for types too: {name: line}."""
    found = {}
    package = module(path) if path.name == "__init__.py" else module(path).rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base
                for alias in node.names]
        else:
            continue
        found.update({name: node.lineno for name in names if name in MODULES})
    return found


def test_no_part_imports_one_above_it():
    wrong = []
    for name, path in MODULES.items():
        here = part(name)
        if here in COMMANDS:
            continue
        wrong += [f"{name} imports {there}" for there in imports(path) if part(there) not in {here,
            *MAY_IMPORT[here]}]
        if here == "learners":
            beyond = {there for there in imports(path) if there.startswith("utils")} - LEARNERS_USE
            wrong += [f"{name} imports {there}" for there in beyond]
    assert wrong == []


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


def test_each_folder_is_a_package_and_says_what_it_holds():
    for folder in {path.parent for path in FILES} - {ROOT}:
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))), folder
