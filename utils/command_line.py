"""From a command line to settings: defaults, then ``--config`` files in order, then flags; the last wins."""

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from utils.errors import Parser, UserError
from utils.files import ODD_NUMBER, expand_home, read_yaml
from utils.settings import NOT_IN_RESULTS, Flag, Registry, Settings

SWITCH = {"0": False, "1": True, "false": False, "true": True}
KINDS = {bool: "true or false, 1 or 0", str: "printable text", int: "a whole number", float: "a number"}
# What published command lines give for a network that the method does not build.
PLACEHOLDERS = {"gen_model_type": "mlp", "gen_model_name": "MLP"}
EPILOG = f"""\
Every flag may also stand in a --config YAML file (lr: 0.1, schedule: [100, 150]). Flags win over files, later
files over earlier ones. A switch, shown as [0|1], is off without its flag and on with the flag alone. A flag
that only other methods read is refused; in a file, which methods may share, it is ignored.
--log_dir/args.yaml records all settings and is itself a --config. After a stop, a kill or a mended failure
the same command resumes the run; it may change {', '.join(NOT_IN_RESULTS)}. Exit status:
0 finished, 1 failed on the way, 2 refused before any work, 130 or 143 stopped by Ctrl-C or SIGTERM."""


def _convert(flag: Flag, value: Any, where: str) -> Any:
    """A value from a flag, or from YAML (to which 2e-4 is a string), as the flag's type, within its bounds.

    Args:
        where: the flag, or the file and field, that errors name.
    """
    bounds, values = flag.metadata, value if isinstance(value, list) else [value]
    if not flag.many and len(values) != 1:
        raise UserError(f"{where}: takes one value, not {len(values)}")
    converted = [_one(flag, item, where) for item in values]
    if converted == flag.default:  # a list's may be outside the bounds, to mean none at all
        return converted
    if not values or len(values) != bounds.get("length", len(values)):
        raise UserError(f"{where}: takes {bounds.get('length', 'at least one')} values, not {len(values)}")
    for item in converted:
        if "choices" in bounds and item not in bounds["choices"]:
            raise UserError(f"{where}: {item!r} is not one of {', '.join(map(str, bounds['choices']))}")
        if isinstance(item, float) and not math.isfinite(item):
            raise UserError(f"{where}: {item} is not a finite number")
        if "low" in bounds and item < bounds["low"]:
            raise UserError(f"{where}: {item} is below {bounds['low']}")
        if "above" in bounds and item <= bounds["above"]:
            raise UserError(f"{where}: {item} is not above {bounds['above']}")
        if "high" in bounds and item > bounds["high"]:
            raise UserError(f"{where}: {item} is above {bounds['high']}")
    return converted if flag.many else converted[0]


def _one(flag: Flag, item: Any, where: str) -> Any:
    """A single value as the flag's type."""
    if flag.type is bool or flag.metadata.get("choices") == [0, 1]:
        if isinstance(item, (bool, int, str)) and str(item).lower() in SWITCH:
            return flag.type(SWITCH[str(item).lower()])
    if flag.type is str and isinstance(item, str) and item.isprintable():
        if not item and flag.metadata.get("path") and flag.default:  # an empty variable of a script
            raise UserError(f"{where}: is empty; name a folder")
        return expand_home(item, where) if flag.metadata.get("path") else item
    if flag.type in (int, float) and isinstance(item, (int, float, str)) and not isinstance(item, bool):
        if isinstance(item, str) and ODD_NUMBER.search(item):
            raise UserError(f"{where}: {item!r} is not a number; write it without a leading 0, _ or :")
        try:
            number = flag.type(item)
            if isinstance(item, str) or number == item:
                return number
        except (ValueError, OverflowError):
            pass
    raise UserError(f"{where}: {item!r} is not {KINDS[flag.type]}")


def _read_config(path: str, flags: Mapping[str, Flag]) -> dict[str, Any]:
    try:
        content = read_yaml(Path(expand_home(path)))
    except UserError as error:
        raise UserError(f"--config {error}") from error
    for name in content:
        if name not in flags:
            raise UserError(f"--config {path}: there is no setting {name!r}; run.py --help lists them")
    if {"gpuid", "overwrite", "load_model_dir"} <= content.keys() and "no_figures" not in content:
        raise UserError(f"--config {path}: was recorded by the 2021 code; give its command line instead")
    return content


def _help(flag: Flag) -> Iterator[str]:
    """What a flag means, takes, and is without it."""
    bounds = flag.metadata
    yield bounds["help"]
    if "choices" in bounds:
        yield f"one of {', '.join(map(str, bounds['choices']))}"
    if "length" in bounds:
        yield f"{bounds['length']} values"
    yield from (f"{words} {bounds[name]:.10g}" for name, words in (
        ("low", "at least"), ("above", "above"), ("high", "at most")) if name in bounds)
    default = " ".join(map(str, flag.default)) if flag.many else str(flag.default)
    if default and flag.type is not bool:
        yield f"default: {default}"


def parser_of(flags: Mapping[str, Flag]) -> argparse.ArgumentParser:
    """An argparse parser of all flags, which leaves out what is not given."""
    parser = Parser(
        prog="run.py", epilog=EPILOG, allow_abbrev=False, argument_default=argparse.SUPPRESS,
        description="Learn a sequence of tasks with one learner and log its accuracy over repeats.")
    parser.add_argument(
        "--config", nargs="+", action="extend", default=[], metavar="FILE",
        help="YAML files of settings, e.g. configs/cifar100.yaml configs/abd.yaml")
    groups = {flag.metadata["group"]: None for flag in flags.values()}
    headings = {group: parser.add_argument_group(group) for group in groups}
    for name, flag in flags.items():
        switch = dict(nargs="?", const=True, metavar="0|1")
        value = dict(nargs="+" if flag.many else None, metavar="NAME" if flag.type is str else "X")
        shape: dict[str, Any] = switch if flag.type is bool else value
        text = "; ".join(_help(flag)).replace("%", "%%")
        headings[flag.metadata["group"]].add_argument(f"--{name}", help=text, **shape)
    return parser


def check(settings: Settings) -> None:
    """Check the settings that all methods share against each other. Raises UserError."""
    schedule = settings.schedule
    if any(a >= b for a, b in zip(schedule, schedule[1:])):
        raise UserError(f"--schedule: epochs must rise, {' '.join(map(str, schedule))} do not")
    if settings.max_task == 0:
        raise UserError("--max_task: 0 tasks leave nothing to learn; -1 means all")
    source = settings.load_model_dir
    if source and Path(source).resolve() == Path(settings.log_dir).resolve():
        raise UserError(f"--load_model_dir {source}: is this run's own --log_dir; choose another run")


def parse(registry: Registry, arguments: Sequence[str] | None = None) -> Settings:
    """The settings of a command line (``sys.argv`` by default), as the learner's settings class.

    A flag that only other learners read is refused; in a file, which learners may share, it is checked and
    ignored. Raises UserError; ``--help`` prints and exits."""
    flags = registry.flags
    on_line = vars(parser_of(flags).parse_args(arguments))
    given = [(f"--config {path}: {name}", name, value)
             for path in on_line.pop("config") for name, value in _read_config(path, flags).items()]
    given += [(f"--{name}", name, value) for name, value in on_line.items()]
    learner_name = Settings.learner_name
    for where, name, value in given:
        if name == "learner_name":
            if str(value) in registry.broken:
                raise UserError(registry.broken[str(value)])
            learner_name = _convert(flags[name], value, where)
    learner = registry.learners[learner_name]
    values: dict[str, Any] = {}
    for where, name, value in given:
        if name in PLACEHOLDERS and value == PLACEHOLDERS[name] and not learner.generator_type:
            continue
        # A reader gets the last value, and once the others are known.
        values[name] = (where, value) if name in registry.readers else _convert(flags[name], value, where)
    for name, read in registry.readers.items():
        if name in values:
            where, value = values[name]
            values[name] = read(value, values, where)
    kind = learner.Settings
    own = kind.__dataclass_fields__
    for name in on_line:
        if name not in own:
            others = [other for other, reader in registry.learners.items()
                      if name in reader.Settings.__dataclass_fields__]
            raise UserError(f"--{name}: {learner_name} does not read it; these do: {', '.join(others)}")
    settings = kind(**{name: value for name, value in values.items() if name in own})
    if settings.task_sizes:
        settings.first_split_size = settings.task_sizes[0]  # by which --load_model_dir compares first tasks
    check(settings)
    learner.check(settings)
    return settings
