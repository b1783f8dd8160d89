"""Every setting of a run: its flag, default, unit, meaning and bounds, in one place.

Settings come from defaults, then ``--config`` YAML files in their order, then flags; the last wins.
All published flags keep their name and meaning (docs/specification.md, "The published command line").
"""

import argparse
import dataclasses
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml

from dataloaders.datasets import DATASETS
from dataloaders.orders import read_order
from learners import LEARNERS
from models import GENERATORS, RESNETS, image_sides
from utils.errors import Parser, UserError


def setting(default: Any, group: str, help: str, **bounds: Any) -> Any:
    """A field with what argparse and the checks need. Bounds: low, above, high, choices, length; ``takes``, as the page says it."""
    metadata = {"group": group, "help": help, **bounds}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class Settings:
    """The settings of one run; the fields are the flags."""

    # What to run
    learner_type: str = setting("default", "learner", "kind of learner", choices=sorted({learner.learner_type for learner in LEARNERS.values()}))
    learner_name: str = setting("NormalNN", "learner", "learner, see the README's table", choices=list(LEARNERS))
    model_type: str = setting("resnet", "learner", "family of the classifier", choices=["resnet"])
    model_name: str = setting("resnet32", "learner", "classifier", choices=list(RESNETS))
    gen_model_type: str = setting(
        "generator", "learner", "what makes old images: a generator of dreams, or DGR's variational autoencoder",
        choices=["generator", "autoencoder"])
    gen_model_name: str = setting("CIFAR_GEN", "learner", "size of the generator or autoencoder", choices=list(GENERATORS))

    # Data and task sequence
    dataset: str = setting("CIFAR100", "data", "data set", choices=list(DATASETS))
    dataroot: str = setting("datasets", "data", "folder of the data sets; CIFAR is downloaded into it where it is missing")
    train_aug: bool = setting(
        False, "data", "augment training images: brightness, contrast, flip and crop; of ImageNet, random resized crop and flip")
    rand_split: bool = setting(False, "data", "shuffle the order of the classes, seeded by the repeat's seed")
    class_order: list[int] = setting(
        [], "data", "order of the classes in every repeat, instead of rand_split's; numpy:SEED shuffles as PyCIL and others do. "
        "Of ImageNet, a class's number is its place in the published order",
        takes="every class number once, a YAML file that lists them, or `numpy:SEED`")
    first_split_size: int = setting(2, "data", "classes of the first task", low=1)
    other_split_size: int = setting(2, "data", "classes of every other task", low=1)
    max_task: int = setting(-1, "data", "stop after this many tasks; -1: all", low=-1)
    validation: bool = setting(False, "data", "hold out a fifth of the training data (fold by repeat) and test on it, not on the test set")
    oracle_flag: bool = setting(False, "data", "upper bound: every task trains from scratch on the data of all tasks so far")

    # Optimisation
    optimizer: str = setting("SGD", "optimisation", "optimiser of the classifier", choices=["SGD", "Adam"])
    lr: float = setting(0.1, "optimisation", "learning rate", above=0)
    momentum: float = setting(0.9, "optimisation", "SGD's momentum; Adam's first beta", low=0, high=0.999999)
    weight_decay: float = setting(0.0, "optimisation", "L2 penalty on every parameter", low=0)
    schedule: list[int] = setting(
        [2], "optimisation", "epochs at which the learning rate falls to a tenth; the last number is the epochs per task", low=1)
    schedule_type: str = setting("decay", "optimisation", "how the learning rate falls", choices=["decay"])
    batch_size: int = setting(128, "optimisation", "images a step; the last incomplete batch of an epoch is dropped", low=2)

    # Method
    mu: float = setting(1.0, "method", "weight of the distillation", low=0)
    temp: float = setting(2.0, "method", "temperature of the distillation", above=0)
    beta: float = setting(1.0, "method", "kept for published scripts and recorded; no published loss reads it")
    DW: bool = setting(
        False, "method",
        "weigh images by the inverse frequency of their class in the data of the task: NormalNN and LWF with a coreset, "
        "DeepInversionGenBN and DeepInversionLWF; the others take the flag and do not read it, as published")
    bias_at_test: bool = setting(
        False, "method", "test BIC with its bias layers; the published accuracies are without them")
    memory: int = setting(0, "method", "coreset: real images kept of all past tasks together; 0: none", low=0)
    power_iters: int = setting(10000, "method", "training steps of the generator after every task but the last", low=1)
    deep_inv_params: list[float] = setting(
        [1e-3, 50.0, 1e-3, 1e3, 1.0], "method",
        "generator's loss: Adam's learning rate, batch-norm weight, smoothness weight, content temperature, content weight", low=0, length=5)

    # The run
    seed: int = setting(
        0, "run", "seed of the first repeat's class order, weights and random streams; each further repeat's is one more, "
        "so that --seed 2 --repeat 1 is the third repeat of --seed 0", low=0, high=2**31 - 1)
    repeat: int = setting(1, "run", "runs with different class orders and weights; their mean and deviation are reported", low=1)
    parallel: int = setting(1, "run", "repeats side by side, as processes on the one device", low=1)
    gpuid: list[int] = setting([0], "run", "GPU to run on (the first of the list); negative, or no GPU here: CPU")
    precision: str = setting(
        "fp32", "run", "arithmetic of training: fp32; tf32, faster products of GPUs; bf16, autocast to bfloat16. Evaluation is not in bf16",
        choices=["fp32", "tf32", "bf16"])
    graph: str = setting(
        "auto", "run", "capture training steps as CUDA graphs, which spares a GPU most of its waiting; auto: where there is a GPU",
        choices=["auto", "on", "off"])
    threads: int = setting(2, "run", "CPU threads; on a CPU the last digits of results depend on their number", low=1, high=256)
    log_dir: str = setting("outputs/out", "run", "folder of everything the run leaves")
    overwrite: int = setting(0, "run", "0: go on where a run in log_dir stopped; 1: delete its results and start afresh", choices=[0, 1])
    load_model_dir: str = setting("", "run", "log_dir of a run whose first-task models are taken instead of learning the first task")
    workers: int = setting(
        0, "run", "processes that decode images of ImageNet, the one data set that is not held in memory; 0: the run itself", low=0)
    no_figures: bool = setting(False, "run", "draw no figures: dreams, accuracies, losses")
    tensorboard: bool = setting(False, "run", "write losses, accuracies and figures into log_dir/tensorboard too; needs the package tensorboard")


# A checkpoint made with other values of these may go on: they do not change what is computed.
NOT_IN_RESULTS = ("repeat", "parallel", "gpuid", "log_dir", "overwrite", "workers", "dataroot", "no_figures", "tensorboard", "graph")

# Settings that runs of before them lack, and what those computed with.
NEWER: dict[str, Any] = {"precision": "fp32", "bias_at_test": True, "class_order": [], "seed": 0}

FIELDS = {f.name: f for f in dataclasses.fields(Settings)}


def computed_from(settings: Settings) -> dict[str, Any]:
    """The settings that results depend on."""
    return {name: value for name, value in dataclasses.asdict(settings).items() if name not in NOT_IN_RESULTS}


def _element(kind: Any) -> type:
    return get_args(kind)[0] if get_origin(kind) is list else kind


def _convert(name: str, value: Any, where: str) -> Any:
    """``value`` as the field's type; flags and YAML (where 2e-4 is a string) take the same path.
    ``where`` names the flag or the file and field in errors."""
    kind = FIELDS[name].type
    element = _element(kind)
    values = value if isinstance(value, (list, tuple)) else [value]

    def one(item: Any) -> Any:
        if element is bool:
            if isinstance(item, bool):
                return item
        elif element is str:
            if isinstance(item, str) and item.isprintable():
                return item
        elif isinstance(item, (int, float, str)) and not isinstance(item, bool):
            try:
                number = element(item)
                if isinstance(item, str) or number == item:
                    return number
            except (ValueError, OverflowError):
                pass
        what = {bool: "true or false", str: "printable text", int: "a whole number", float: "a number"}[element]
        raise UserError(f"{where}: {item!r} is not {what}")

    if kind is element and len(values) != 1:
        raise UserError(f"{where}: takes one value, not {len(values)}")
    converted = [one(item) for item in values]
    return converted if kind is not element else converted[0]


def _check(name: str, value: Any, where: str) -> None:
    bounds = FIELDS[name].metadata
    values = value if isinstance(value, list) else [value]
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


def _read_config(path: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--config {path}: {error.strerror or error}") from error
    except Exception as error:  # beside its own errors, PyYAML lets those of int(), dates and deep nesting through
        raise UserError(f"--config {path}: not valid YAML ({' '.join(str(error).split())})") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"--config {path}: must hold lines of the form 'setting: value'")
    for name in content:
        if name not in FIELDS:
            raise UserError(f"--config {path}: there is no setting {name!r}; run.py --help lists them")
    return content


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="run.py",
        description="Learn a sequence of tasks with one learner and log its accuracy over repeats.",
        epilog="Flags win over --config files, later files over earlier ones. --log_dir/args.yaml records all settings and is itself a --config. "
        "Exit status: 0 finished, 1 failed on the way, 2 refused before any work, 130 or 143 stopped by Ctrl-C or SIGTERM; "
        "after a stop, a kill or a mended failure the same command goes on.",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--config", nargs="+", default=[], metavar="FILE", help="YAML files of settings, e.g. configs/cifar100.yaml configs/abd.yaml")
    groups: dict[str, Any] = {}
    defaults = Settings()
    for name, f in FIELDS.items():
        group = groups.setdefault(f.metadata["group"], parser.add_argument_group(f.metadata["group"]))
        default = getattr(defaults, name)
        if f.type is bool:
            group.add_argument(f"--{name}", action="store_true", help=f.metadata["help"])
            continue
        shown = " ".join(map(str, default)) if isinstance(default, list) else default
        text = f.metadata["help"].replace("%", "%%")
        if "choices" in f.metadata:
            text += f" ({', '.join(map(str, f.metadata['choices']))})"
        group.add_argument(
            f"--{name}", nargs="+" if get_origin(f.type) is list else None, metavar="X" if f.type is not str else "NAME",
            help=f"{text}; default: {shown}" if shown != "" else text)
    return parser


def check(settings: Settings) -> None:
    """What one setting alone does not show. Raises UserError."""
    schedule = settings.schedule
    if any(a >= b for a, b in zip(schedule, schedule[1:])):
        raise UserError(f"--schedule: epochs must rise, {' '.join(map(str, schedule))} do not")
    if settings.max_task == 0:
        raise UserError("--max_task: 0 tasks leave nothing to learn; -1 means all")
    learner = LEARNERS[settings.learner_name]
    if settings.learner_type != learner.learner_type:
        raise UserError(f"--learner_type {settings.learner_type}: {settings.learner_name} is of type {learner.learner_type}")
    if settings.memory and not learner.takes_coreset:
        raise UserError(f"--memory {settings.memory}: {settings.learner_name} keeps no coreset; use --memory 0")
    if settings.oracle_flag and settings.learner_name != "NormalNN":
        raise UserError(f"--oracle_flag: the upper bound is NormalNN's; {settings.learner_name} learns task by task")
    if settings.oracle_flag and settings.memory:
        raise UserError(f"--memory {settings.memory}: with --oracle_flag every task trains on the data of all tasks so far; use --memory 0")
    if settings.load_model_dir and settings.learner_name == "Generative_Replay":
        raise UserError("--load_model_dir: Generative_Replay learns its autoencoder in the first task too; leave the flag out")
    if settings.oracle_flag and settings.load_model_dir:
        raise UserError("--load_model_dir: with --oracle_flag every task trains from scratch; leave one of them out")
    if learner.generator_type == "generator" and settings.deep_inv_params[3] == 0:
        raise UserError("--deep_inv_params: the content temperature, the fourth value, must be above 0")
    classes = DATASETS[settings.dataset].classes
    first, other = settings.first_split_size, settings.other_split_size
    if first > classes:
        raise UserError(f"--first_split_size {first}: {settings.dataset} has {classes} classes")
    if (classes - first) % other:
        raise UserError(
            f"--other_split_size {other}: the {classes - first} classes of {settings.dataset} after the first task "
            f"do not divide into tasks of {other}")
    if learner.generator_type:
        kind, name, size = settings.gen_model_type, settings.gen_model_name, DATASETS[settings.dataset].image_size
        if kind != learner.generator_type:
            raise UserError(f"--gen_model_type {kind}: {settings.learner_name} needs --gen_model_type {learner.generator_type}")
        sides = image_sides(kind)
        if name not in sides:
            raise UserError(f"--gen_model_name {name}: there is no autoencoder of that size; one of {', '.join(sides)}")
        if sides[name] != size:
            raise UserError(f"--gen_model_name {name}: makes images of {sides[name]} pixels a side, {settings.dataset} has {size}")


def parse(arguments: Sequence[str] | None = None) -> Settings:
    """Settings from a command line. Raises UserError; ``--help`` prints and exits."""
    flags = vars(_parser().parse_args(sys.argv[1:] if arguments is None else arguments))
    given = [(f"--config {path}: {name}", name, value) for path in flags.pop("config") for name, value in _read_config(path).items()]
    given += [(f"--{name}", name, value) for name, value in flags.items()]
    values: dict[str, Any] = {}
    for where, name, value in given:
        if name == "class_order":  # what it names is read once, below, when the data set is known
            values[name] = where, value
            continue
        values[name] = _convert(name, value, where)
        _check(name, values[name], where)
    if "class_order" in values:
        where, value = values["class_order"]
        values["class_order"] = read_order(value, DATASETS[values.get("dataset", Settings.dataset)].classes, where)
    settings = Settings(**values)
    check(settings)
    return settings


def _takes(name: str) -> str:
    """What values a setting may have, as a person says it."""
    bounds, kind = FIELDS[name].metadata, FIELDS[name].type
    if "takes" in bounds:
        return bounds["takes"]
    if "choices" in bounds:
        return ", ".join(f"`{choice}`" for choice in bounds["choices"])
    many, element = get_origin(kind) is list, _element(kind)
    word = {bool: "switch", str: "text", int: "whole number", float: "number"}[element]
    count = f"{bounds['length']} " if "length" in bounds else ""
    if "high" in bounds:
        limits = [f"from {bounds['low']:g} to {bounds['high']:.10g}"]
    else:
        limits = [f"{sign} {bounds[bound]:g}" for bound, sign in (("low", "≥"), ("above", ">")) if bound in bounds]
    return " ".join([f"{count}{word}{'s' * many}", *limits])


def settings_page() -> str:
    """docs/settings.md: every setting by group, its default, values, unit and meaning."""
    page = [
        "# Settings", "", "Written out of [utils/settings.py](../utils/settings.py) by `.venv/bin/python -m utils.settings > docs/settings.md`.", "",
        "A setting is a flag (`--lr 0.1`), a line of a `--config` YAML file (`lr: 0.1`; several values as `[100, 150]`) and of a run's",
        "`args.yaml`. Flags win over files, later files over earlier ones. Published flags keep their name and meaning.", "",
        "A stopped run goes on with other values of these, which don't change what is computed; any other change is refused:",
        f"{', '.join(f'`{name}`' for name in NOT_IN_RESULTS)}."]
    defaults, group = Settings(), ""
    for name, f in FIELDS.items():
        if f.metadata["group"] != group:
            group = f.metadata["group"]
            page += ["", f"## {group[0].upper()}{group[1:]}", "", "| setting | default | takes | meaning |", "| --- | --- | --- | --- |"]
        default = getattr(defaults, name)
        values = [f"{value:g}" if isinstance(value, float) else str(value) for value in (default if isinstance(default, list) else [default])]
        shown = "off" if default is False else f"`{' '.join(values)}`" if default not in ("", []) else "none"
        page.append(f"| `{name}` | {shown} | {_takes(name)} | {f.metadata['help']} |")
    return "\n".join(page)


if __name__ == "__main__":
    print(settings_page())
