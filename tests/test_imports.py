"""Imports run one way: run -> reports, sweep -> training -> learners -> dataloaders, models -> files directly
in utils."""

import ast

from conftest import ROOT

PARTS = ("learners", "dataloaders", "models", "utils")
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "run.py", *(path for part in PARTS for path in (ROOT / part).rglob("*.py")))}

# {part of the code: parts that it may import, besides itself}. Commands in utils know everything.
LOWER = {"learners", "dataloaders", "models", "utils"}
MAY_IMPORT = {
    "utils": set(), "models": {"utils"}, "dataloaders": {"utils"}, "learners": LOWER, "utils.training": LOWER,
    "utils.reports": LOWER | {"utils.training", "utils.load"}}
COMMANDS = {"run", "utils.load", "utils.sweep", "utils.benchmark"}
# What learners may use of utils: settings, errors, random streams, devices, and how files are found.
LEARNERS_USE = {"utils.settings", "utils.errors", "utils.streams", "utils.device", "utils.discovery"}


def part(name):
    """The folder, or the subfolder of utils, that a module is in; a command is a part of its own."""
    first, *rest = name.split(".")
    inner = f"{first}.{rest[0]}" if rest else first
    return inner if inner in {*MAY_IMPORT, *COMMANDS} else first


def imports(path):
    """The project's modules that a file imports anywhere, later and for types too."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: write the whole name instead of a relative import"
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return {name for name in names if name in MODULES}


def test_no_part_imports_one_above_it():
    wrong = []
    for name, path in MODULES.items():
        here = part(name)
        for there in imports(path) if here not in COMMANDS else ():
            allowed = LEARNERS_USE if here == "learners" and there.startswith("utils.") else None
            if (there not in allowed) if allowed else (part(there) not in {here, *MAY_IMPORT[here]}):
                wrong.append(f"{name} imports {there}")
    assert wrong == []
