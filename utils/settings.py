"""The settings that all methods share: name, default, meaning and bounds. A subclass adds a method's own.

Published flags keep their name, default and meaning (docs/specification.md, "The published command line").
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from utils.errors import UserError

MOST_THREADS = 256


def setting(
    default: Any, group: str, help: str, *, low: float | None = None, above: float | None = None,
    high: float | None = None, choices: Sequence[Any] | None = None, length: int | None = None,
    path: bool | None = None,
) -> Any:
    """Declare a field of Settings.

    Args:
        group: heading in ``--help``. help: meaning and unit.
        low, high: least and greatest value. above: a value must be greater. length: values in the list.
        path: it names a file or folder; ``~`` is the home folder.
    """
    metadata = dict(
        group=group, help=help, low=low, above=above, high=high, choices=choices, length=length, path=path)
    metadata = {name: value for name, value in metadata.items() if value is not None}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class Settings:
    """The settings of one run; the fields are the flags. A method with flags of its own declares a dataclass
    that extends this one and names it in its class: ``Settings = BICSettings`` (learners/bic.py)."""

    # What to run
    learner_type: str = setting("default", "learner", "kind of learner")
    learner_name: str = setting("NormalNN", "learner", "learner; the README has a table of them")
    model_type: str = setting(
        "resnet", "learner", "family of the classifier: ABD's, or R-DFCIL's (no ReLU after additions)")
    model_name: str = setting("resnet32", "learner", "classifier")
    gen_model_type: str = setting(
        "generator", "learner", "what generates old images: a generator of dreams, or DGR's variational "
        "autoencoder", choices=["generator", "autoencoder"])
    gen_model_name: str = setting("CIFAR_GEN", "learner", "size of the generator or autoencoder")

    # Data and tasks
    dataset: str = setting("CIFAR100", "data", "data set")
    dataroot: str = setting(
        "data", "data", "folder of the data sets; CIFAR is downloaded into it if it is missing", path=True)
    imagenet_classes: list[str] = setting(
        [], "data", "classes of ImageNet, in the order in which they are learned: a file with one WNID per "
        "line, or WNIDs. Without it, the 50 classes of the published runs (the first 50 by name if neither "
        "rand_split nor class_order is given). args.yaml records the WNIDs")
    incomplete_data: bool = setting(
        False, "data", "accept a TinyImageNet or ImageNet that lacks images of the official set")
    train_aug: bool = setting(
        False, "data", "augment training images: brightness, contrast, flip and crop; random resized crop "
        "and flip for ImageNet")
    transforms: str = setting(
        "abd", "data", "normalisation and augmentation: ABD's, or R-DFCIL's, which pads, crops and flips "
        "after normalising")
    rand_split: bool = setting(False, "data", "shuffle the order of the classes, seeded by the repeat's seed")
    class_order: list[int] = setting(
        [], "data", "order of the classes in every repeat, in place of rand_split's: every class number "
        "once, a YAML file with a list of them, or numpy:SEED, which shuffles as PyCIL does. An ImageNet "
        "class is numbered by its position in the published order, or in imagenet_classes")
    first_split_size: int = setting(2, "data", "classes of the first task", low=1)
    other_split_size: int = setting(
        2, "data", "classes of every other task; the last task has what is left", low=1)
    task_sizes: list[int] = setting(
        [], "data", "classes of each task, e.g. 50 10 10 10 10 10, in place of first_split_size and "
        "other_split_size; classes left over are not learned", low=1)
    max_task: int = setting(-1, "data", "stop after this many tasks; -1: learn all", low=-1)
    validation: bool = setting(
        False, "data", "hold out a fifth of the training data (another one in each repeat) and test on it, "
        "not on the test set")
    oracle_flag: bool = setting(
        False, "data", "upper bound: every task trains from scratch on the data of all tasks so far")

    # Optimisation
    optimizer: str = setting("SGD", "optimisation", "optimiser of the classifier", choices=["SGD", "Adam"])
    lr: float = setting(0.01, "optimisation", "learning rate", above=0)
    momentum: float = setting(0.0, "optimisation", "SGD's momentum; Adam's first beta", low=0, high=0.999999)
    weight_decay: float = setting(0.0, "optimisation", "L2 penalty on every parameter", low=0)
    schedule: list[int] = setting(
        [2], "optimisation", "epochs after which the learning rate falls to a tenth; the last ends the task",
        low=1, high=10**5)
    schedule_type: str = setting("decay", "optimisation", "how the learning rate falls", choices=["decay"])
    batch_size: int = setting(
        64, "optimisation", "images per step; the last incomplete batch of an epoch is dropped", low=2)

    # Method
    mu: float = setting(1.0, "method", "weight of the distillation", low=0)
    temp: float = setting(2.0, "method", "temperature of the distillation", above=0)
    beta: float = setting(0.5, "method", "accepted from published scripts; no published loss reads it")
    DW: bool = setting(
        False, "method", "weight images by the inverse frequency of their class in the task's data: NormalNN "
        "and LWF with a coreset, DeepInversionGenBN and DeepInversionLWF. The others accept the flag without "
        "reading it, as published")
    memory: int = setting(
        0, "method", "size of the coreset, in images of all past tasks together", low=0, high=10**9)
    power_iters: int = setting(
        10, "method", "training steps of the generator before every task but the first", low=1, high=10**7)
    deep_inv_params: list[float] = setting(
        [-1.0], "method", "the generator's loss: Adam's learning rate, batch-norm weight, smoothness weight, "
        "content temperature, content weight. -1 means none, which learners that dream refuse",
        low=0, length=5)

    # The run
    seed: int = setting(
        0, "run", "seed of the first repeat's class order, weights and random streams; each further repeat "
        "adds one, so that --seed 2 --repeat 1 is the third repeat of --seed 0", low=0, high=2**31 - 1)
    repeat: int = setting(
        1, "run", "runs with different class orders and weights; their mean is reported", low=1, high=10**4)
    gpuid: list[int] = setting(
        [0], "run", "GPU to run on (the first of the list); -1, or 0 on a machine without a GPU: the CPU")
    precision: str = setting(
        "fp32", "run", "arithmetic of training: fp32; tf32, faster products on GPUs; bf16, autocast to "
        "bfloat16. Evaluation never uses bf16", choices=["fp32", "tf32", "bf16"])
    memory_format: str = setting(
        "auto", "run", "layout of images and convolution weights in memory; auto: channels_last on a CPU and "
        "with bf16, otherwise contiguous", choices=["auto", "channels_last", "contiguous"])
    deterministic: int = setting(
        0, "run", "1: kernels of a GPU add up in a fixed order, slower, so that the same command gives the "
        "same bytes on the same card, stopped and resumed or not. A CPU does so anyway", choices=[0, 1])
    graph: str = setting(
        "auto", "run", "capture training steps as CUDA graphs, which spares a GPU most of its waiting; auto: "
        "on a GPU, unless a step cannot be captured", choices=["auto", "on", "off"])
    threads: int = setting(
        0, "run", "CPU threads, on whose number the last digits of results on a CPU depend; 0: as many as "
        "the run to resume, else OMP_NUM_THREADS, else one per physical core, shared by the runs of a sweep",
        low=0, high=MOST_THREADS)
    log_dir: str = setting("outputs/out", "run", "folder for everything the run leaves", path=True)
    overwrite: int = setting(
        0, "run", "0: resume a stopped run in log_dir; 1: delete its results and start again", choices=[0, 1])
    load_model_dir: str = setting(
        "", "run", "log_dir of a run whose first-task models are taken over instead of learned", path=True)
    load_any: bool = setting(
        False, "run", "take them even if that run learned its first task in another way; the results say so")
    workers: int = setting(
        8, "run", "processes that decode images of ImageNet, the only data set that is not held in memory; "
        "0: the run itself", low=0, high=MOST_THREADS)
    no_figures: bool = setting(False, "run", "draw no figures of dreams, accuracies and losses")
    tensorboard: bool = setting(
        False, "run", "also write to log_dir/tensorboard; needs the package tensorboard")


# A run may be resumed with other values of these: they do not change what is computed.
NOT_IN_RESULTS = (
    "repeat", "gpuid", "log_dir", "overwrite", "workers", "dataroot", "no_figures", "tensorboard", "graph")


def computed_from(settings: Settings) -> dict[str, Any]:
    """The settings that results depend on: the common ones and those of the run's method."""
    return {name: value for name, value in dataclasses.asdict(settings).items() if name not in NOT_IN_RESULTS}


class Flag(NamedTuple):
    """A setting as the parser needs it; ``type`` is a single value's, ``many`` means a list of them."""

    name: str
    type: type
    many: bool
    default: Any
    metadata: Mapping[str, Any]


def flags_of(kind: type[Settings], known: Mapping[str, Flag]) -> dict[str, Flag]:
    """The flags of a settings class. Raises UserError, naming the file, if it is declared wrongly."""
    where = f"{kind.__module__.replace('.', '/')}.py: {kind.__name__}"
    if "__dataclass_fields__" not in vars(kind):
        raise UserError(f"{where} needs the decorator @dataclass")
    try:
        types, defaults = get_type_hints(kind), kind()
    except (NameError, TypeError) as error:
        raise UserError(f"{where}: {error}") from error
    found = {}
    for item in dataclasses.fields(kind):
        many = get_origin(types[item.name]) is list
        type_ = get_args(types[item.name])[0] if many else types[item.name]
        flag = Flag(item.name, type_, many, getattr(defaults, item.name), item.metadata)
        if "help" not in flag.metadata or flag.type not in (bool, int, float, str):
            raise UserError(
                f"{where}.{flag.name}: declare it as `{flag.name}: float = setting(...)`, or as bool, "
                            "int, str or a list of one of these")
        if known.get(flag.name, flag).metadata is not flag.metadata:
            raise UserError(f"{where}: there is another setting {flag.name!r}; rename this one")
        found[flag.name] = flag
    return found


# (value, the other settings given, the flag or file and field for errors) -> value. Raises UserError.
Reader = Callable[[Any, Mapping[str, Any], str], Any]


@dataclass(frozen=True)
class Registry:
    """What settings may name.

    Attributes:
        learners: classes by name, each with ``check(settings)``, which raises UserError if it refuses them.
        choices: {setting: names it takes}, for settings that name a data set or a network.
        readers: for settings that are written in special ways, or whose value depends on others.
        broken: {learner: why it cannot be chosen, in a line that names its file}; all others run.
    """

    learners: Mapping[str, Any]
    choices: Mapping[str, Sequence[str]]
    readers: Mapping[str, Reader] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def flags(self) -> dict[str, Flag]:
        """All settings by name, the common ones and those of every learner, in the order of their groups."""
        found = flags_of(Settings, {})
        for learner in self.learners.values():
            found |= flags_of(learner.Settings, found)
        types = sorted({learner.learner_type for learner in self.learners.values()})
        for name, choices in {"learner_name": self.learners, "learner_type": types, **self.choices}.items():
            found[name] = found[name]._replace(metadata={**found[name].metadata, "choices": list(choices)})
        groups = list(dict.fromkeys(flag.metadata["group"] for flag in found.values()))
        return dict(sorted(found.items(), key=lambda item: groups.index(item[1].metadata["group"])))
