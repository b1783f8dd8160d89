"""From a command line to the settings of a run.

Settings come from defaults, then ``--config`` YAML files in their order, then flags; the last wins.
"""

import argparse
import dataclasses
import math
import sys
from collections import ChainMap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

from utils.code_2021 import is_published, not_read, says_nothing
from utils.errors import Parser, UserError
from utils.files import ODD_NUMBER, expand_home, load_yaml
from utils.settings import Flag, Registry, Settings


def element_type(kind: Any) -> type:
    return get_args(kind)[0] if get_origin(kind) is list else kind


SWITCH = {"0": False, "1": True, "false": False, "true": True}


def _convert(flag: Flag, value: Any, where: str) -> Any:
    """``value`` as the flag's type; flags and YAML (where 2e-4 is a string) take the same path.
    ``where`` names the flag or the file and field in errors."""
    kind = flag.type
    element = element_type(kind)
    values = value if isinstance(value, (list, tuple)) else [value]

    def one(item: Any) -> Any:
        if element is bool:
            if str(item).lower() in SWITCH and isinstance(item, (bool, int, str)):
                return SWITCH[str(item).lower()]
        elif element is str:
            if isinstance(item, str) and item.isprintable():
                if not flag.metadata.get("path"):
                    return item
                if not item and flag.default:  # as a shell leaves of a variable that is not set; it would be the current folder
                    raise UserError(f"{where}: is empty; name a folder")
                return expand_home(item, where)
        elif str(item).lower() in SWITCH and flag.metadata.get("choices") == [0, 1]:
            return int(SWITCH[str(item).lower()])
        elif isinstance(item, str) and ODD_NUMBER.search(item):
            raise UserError(f"{where}: {item!r} is no number; write it without a leading 0, _ or :")
        elif isinstance(item, (int, float, str)) and not isinstance(item, bool):
            try:
                number = element(item)
                if isinstance(item, str) or number == item:
                    return number
            except (ValueError, OverflowError):
                pass
        what = {bool: "true or false, 1 or 0", str: "printable text", int: "a whole number", float: "a number"}[element]
        raise UserError(f"{where}: {item!r} is not {what}")

    if kind is element and len(values) != 1:
        raise UserError(f"{where}: takes one value, not {len(values)}")
    converted = [one(item) for item in values]
    return converted if kind is not element else converted[0]


def _check(flag: Flag, value: Any, where: str) -> None:
    bounds = flag.metadata
    values = value if isinstance(value, list) else [value]
    if isinstance(value, list) and value == flag.default:  # which may stand for none at all
        return
    if "length" in bounds and len(values) != bounds["length"]:
        raise UserError(f"{where}: takes {bounds['length']} values, not {len(values)}")
    if not values:
        raise UserError(f"{where}: takes at least one value")
    for item in values:
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


def _read_config(path: str, flags: Mapping[str, Flag]) -> dict[str, Any]:
    if not path:
        raise UserError("--config: is empty; name a file")
    file = expand_home(path, "--config")
    try:
        content = load_yaml(file)
    except OSError as error:
        raise UserError(f"--config {path}: {error.strerror or error}") from error
    except Exception as error:
        raise UserError(f"--config {path}: not valid YAML ({' '.join(str(error).split())})") from error
    if content is None:
        raise UserError(f"--config {path}: holds no settings")
    if not isinstance(content, dict):
        raise UserError(f"--config {path}: must hold lines of the form 'setting: value'")
    for name in content:
        if name not in flags:
            raise UserError(f"--config {path}: there is no setting {name!r}; run.py --help lists them")
    return content


def _meant(content: dict[str, Any], learner: Any) -> dict[str, Any]:
    """A file's settings without those that say nothing: of an args.yaml of the published code, what the learner does not read, and
    ``overwrite``, as it must delete nothing when it is given back."""
    silent = {"load_model_dir"} if content.get("load_model_dir", "") is None else set()
    if is_published(content):
        silent |= {"overwrite"} | (not_read(learner) if learner else set())
    return {name: value for name, value in content.items() if name not in silent}


def _parser(flags: Mapping[str, Flag]) -> argparse.ArgumentParser:
    parser = Parser(
        prog="run.py",
        description="Learn a sequence of tasks with one learner and log its accuracy over repeats.",
        epilog="Flags win over --config files, later files over earlier ones. A switch, shown as [0|1], is off without its flag and on with the flag "
        "alone; true and false may be written too. --log_dir/args.yaml records all settings and is itself a --config. "
        "Exit status: 0 finished, 1 failed on the way, 2 refused before any work, 130 or 143 stopped by Ctrl-C or SIGTERM; "
        "after a stop, a kill or a mended failure the same command resumes the run.",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument(
        "--config", nargs="+", action="extend", default=[], metavar="FILE",
        help="YAML files of settings, e.g. configs/cifar100.yaml configs/abd.yaml")
    groups: dict[str, Any] = {}
    for name, flag in flags.items():
        group = groups.setdefault(flag.metadata["group"], parser.add_argument_group(flag.metadata["group"]))
        default = flag.default
        text = flag.metadata["help"].replace("%", "%%")
        if flag.type is bool:
            group.add_argument(f"--{name}", nargs="?", const=True, metavar="0|1", help=text)
            continue
        shown = " ".join(map(str, default)) if isinstance(default, list) else default
        if "choices" in flag.metadata:
            text += f" ({', '.join(map(str, flag.metadata['choices']))})"
        group.add_argument(
            f"--{name}", nargs="+" if get_origin(flag.type) is list else None, metavar="X" if flag.type is not str else "NAME",
            help=f"{text}; default: {shown}" if shown != "" else text)
    return parser


def check(settings: Settings) -> None:
    """What one setting alone does not show, whatever the method. Raises UserError."""
    schedule = settings.schedule
    if any(a >= b for a, b in zip(schedule, schedule[1:])):
        raise UserError(f"--schedule: epochs must rise, {' '.join(map(str, schedule))} do not")
    if settings.max_task == 0:
        raise UserError("--max_task: 0 tasks leave nothing to learn; -1 means all")
    if settings.load_model_dir and Path(settings.load_model_dir).resolve() == Path(settings.log_dir).resolve():
        raise UserError(f"--load_model_dir {settings.load_model_dir}: is this run's own --log_dir; name another run, or leave it out")


def _names(kind: type[Settings]) -> list[str]:
    return [f.name for f in dataclasses.fields(kind)]


def parse(registry: Registry, arguments: Sequence[str] | None = None) -> Settings:
    """Settings from a command line, of the class that the learner declares. What only another learner reads is refused
    as a flag; in a file, which several may share, it is checked and left out. Raises UserError; ``--help`` prints and exits."""
    flags = registry.flags
    on_line = vars(_parser(flags).parse_args(sys.argv[1:] if arguments is None else arguments))
    files = [(path, _read_config(path, flags)) for path in on_line.pop("config")]
    name_of_learner = ChainMap(on_line, *(content for _, content in reversed(files))).get("learner_name", flags["learner_name"].default)
    if name_of_learner in registry.unusable:
        raise UserError(f"--learner_name {name_of_learner}: {registry.unusable[name_of_learner]}")
    chosen = registry.learners.get(str(name_of_learner))
    given = [(f"--config {path}: {name}", name, value) for path, content in files for name, value in _meant(content, chosen).items()]
    given += [(f"--{name}", name, value) for name, value in on_line.items()]
    values: dict[str, Any] = {}
    for where, name, value in given:
        if chosen and says_nothing(name, value, chosen):
            continue
        if name in registry.readers:  # the last one is read, below, when the others are known
            values[name] = where, value
            continue
        values[name] = _convert(flags[name], value, where)
        _check(flags[name], values[name], where)
    for name, read in registry.readers.items():
        if name in values:
            where, value = values[name]
            values[name] = read(value, values, where)
    learner_name = values.get("learner_name", flags["learner_name"].default)
    learner = registry.learners[learner_name]
    kind = learner.Settings
    own = _names(kind)
    for name in on_line:
        if name not in own:
            readers = [other for other, reader in registry.learners.items() if name in _names(reader.Settings)]
            raise UserError(f"--{name}: {learner_name} does not read it; {' and '.join(readers)} {'do' if len(readers) > 1 else 'does'}")
    settings = kind(**{name: values[name] for name in own if name in values})
    if settings.task_sizes:
        settings.first_split_size = settings.task_sizes[0]  # by which --load_model_dir tells first tasks apart
    check(settings)
    learner.check(settings)
    return settings
