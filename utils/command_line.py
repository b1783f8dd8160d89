"""From a command line to settings: defaults, then ``--config`` files in order, then flags; the last wins."""

import argparse
import dataclasses
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from utils.errors import Parser, UserError, did_you_mean
from utils.files import expand, read_yaml
from utils.settings import BOUNDS, NOT_IN_RESULTS, Flag, Registry, Settings

SWITCH = {"0": False, "1": True, "false": False, "true": True}
KINDS = {bool: "true or false, 1 or 0", int: "a whole number", float: "a number", str: "printable text"}
EPILOG = f"""\
Every flag may also stand in a --config YAML file (lr: 0.1, schedule: [100, 150]). Flags win over files, later
files over earlier ones. A switch, shown as [0|1], is off by default; the bare flag turns it on. The
same command resumes a run that ended early; it may change {', '.join(NOT_IN_RESULTS)}. Exit
status: 0 finished, 1 failed, 2 refused before any work, 130 stopped by Ctrl-C, 143 by another signal."""


def convert(flag: Flag, value: Any, where: str) -> Any:
    """A value from a flag or a file as the setting's type and within its bounds. Raises UserError, which
    begins with ``where``: the flag, or the file and field."""
    values = value if isinstance(value, list) else [value]
    if not flag["many"] and len(values) != 1:
        raise UserError(f"{where}: takes one value, not {len(values)}")
    converted = [typed(flag, item, where) for item in values]
    if converted == flag["default"]:  # a list's may be outside the bounds, to mean none at all
        return converted
    if not values:
        raise UserError(f"{where}: takes at least one value")
    for bound, words in bounds_of(flag).items():
        for item in converted:
            if not BOUNDS[bound][1](flag[bound], item):
                raise UserError(f"{where}: {item!r} is not {words}")
    return converted if flag["many"] else converted[0]


def bounds_of(flag: Flag) -> dict[str, str]:
    """A setting's bounds in words."""
    return {bound: f"{words} {', '.join(map(str, limit)) if bound == 'choices' else limit}"
            for bound, (words, _) in BOUNDS.items() if (limit := flag.get(bound)) is not None}


def typed(flag: Flag, item: Any, where: str) -> Any:
    """A single value as the setting's type. YAML reads 2e-4 as text."""
    kind, text = flag["type"], str(item)
    try:
        value: Any = SWITCH[text.lower()] if kind is bool else kind(text)
        if kind is float and not math.isfinite(value) or kind is str and not (
                text == item and text.isprintable()):
            raise ValueError
    except (KeyError, ValueError):
        raise UserError(f"{where}: {item!r} is not {KINDS[kind]}") from None
    if flag["path"] and flag["default"] and not value:  # an empty variable of a script
        raise UserError(f"{where}: is empty; name a folder")
    return expand(value, where) if flag["path"] else value


def parser_of(flags: Mapping[str, Flag]) -> argparse.ArgumentParser:
    """An argparse parser of all flags, which leaves out what is not given."""
    parser = Parser(
        prog="run.py", usage="run.py [--config FILE ...] [--FLAG VALUE ...]", epilog=EPILOG,
        allow_abbrev=False, argument_default=argparse.SUPPRESS, add_help=False,
        description="Learn a sequence of tasks with one learner and log its accuracy over repeats.")
    add = parser.add_argument
    add("-h", "--help", action="store_true", help="show all flags, or those of one --learner_name")
    add("--print_config", action="store_true", help="print the settings as a --config file and exit")
    add("--config", nargs="+", action="extend", default=[], metavar="FILE",
        help="YAML files of settings, e.g. configs/cifar100.yaml configs/abd.yaml")
    headings = {group: parser.add_argument_group(group)
                for group in dict.fromkeys(flag["group"] for flag in flags.values())}
    for name, flag in flags.items():
        shape: dict[str, Any] = dict(nargs="+" if flag["many"] else None, metavar="X")
        if flag["type"] is bool:
            shape = dict(nargs="?", const=True, metavar="0|1")
        default = " ".join(map(str, flag["default"] if flag["many"] else [flag["default"]]))
        shown = [f"default: {default}"] if default and flag["type"] is not bool else []
        text = "; ".join([flag["help"], *bounds_of(flag).values(), *shown]).replace("%", "%%")
        headings[flag["group"]].add_argument(f"--{name}", help=text, **shape)
    return parser


def parse(registry: Registry, arguments: Sequence[str] | None = None) -> Settings:
    """The settings of a command line (``sys.argv`` by default), as the learner's settings class.

    A flag that only other learners read is refused; in a file, which learners may share, it is checked and
    ignored. Raises UserError; ``--help`` and ``--print_config`` print and exit."""
    flags = registry.flags
    on_line = vars(parser_of(flags).parse_args(arguments))
    asked = {name for name in ("help", "print_config") if on_line.pop(name, False)}
    given = {name: (f"--config {path}: {name}", value) for path in on_line.pop("config")
             for name, value in read_yaml(expand(path, "--config")).items()}
    for name, (where, _) in given.items():
        if name not in flags:
            raise UserError(f"{where}: there is no such setting{did_you_mean(str(name), flags)}")
    given |= {name: (f"--{name}", value) for name, value in on_line.items()}
    where, chosen = given.get("learner_name", ("", Settings.learner_name))
    if str(chosen) in registry.broken:
        raise UserError(registry.broken[str(chosen)])
    try:
        learner = registry.learners[convert(flags["learner_name"], chosen, where)]
    except UserError as error:
        names = registry.nicknames
        near = did_you_mean(str(chosen).lower(), names, names.__getitem__)
        raise UserError(f"{error}{near}") from None
    if not learner.generator_type:  # scripts of 2021 name an "mlp" that such a method never builds
        placeholders = {"gen_model_type": "mlp", "gen_model_name": "MLP"}
        given = {name: pair for name, pair in given.items() if placeholders.get(name, ...) != pair[1]}
    own = learner.Settings.__dataclass_fields__
    if "help" in asked:
        shown = [name for name in own if registry.reads(learner, name)] if where else flags
        parser_of({name: flags[name] for name in shown}).print_help()
        sys.exit(0)
    values = {name: convert(flags[name], value, where)
              for name, (where, value) in given.items() if name not in registry.readers}
    for name, read in registry.readers.items():  # once the others are known
        if name in given:
            where, value = given[name]
            values[name] = read(value, values, where)
    for name in on_line:
        if name not in own:
            others = [other for other, kind in registry.learners.items()
                      if name in kind.Settings.__dataclass_fields__]
            raise UserError(f"--{name}: {chosen} does not read it; these do: {', '.join(others)}")
    settings = learner.Settings(**{name: value for name, value in values.items() if name in own})
    if settings.task_sizes:
        settings.first_split_size = settings.task_sizes[0]  # by which --load_model_dir compares first tasks
    if settings.schedule != sorted(set(settings.schedule)):
        raise UserError(f"--schedule: epochs must increase, not {' '.join(map(str, settings.schedule))}")
    learner.check(settings)
    if "print_config" in asked:
        print(yaml.safe_dump(dataclasses.asdict(settings), sort_keys=False, default_flow_style=None), end="")
        sys.exit(0)
    return settings
