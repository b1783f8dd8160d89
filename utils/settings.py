"""The settings that all methods share: flag, default, unit, meaning and bounds of each, and how a method declares its own.

All published flags keep their name and meaning (docs/specification.md, "The published command line"). Which learners,
data sets and networks there are is not known here: the parser (utils/command_line.py) is handed a Registry.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, get_type_hints

from utils.errors import UserError
from utils.threads import MOST


def setting(
    default: Any, group: str, help: str, *, low: float | None = None, above: float | None = None, high: float | None = None,
    choices: Sequence[Any] | None = None, length: int | None = None, takes: str | None = None, before: Any = None,
    path: bool | None = None,
) -> Any:
    """A field of Settings, with what ``--help`` and the checks need.

    Args:
        group: heading in ``--help`` and docs/settings.md. help: meaning and unit.
        low, high: least and greatest value. above: a value must be greater. length: number of values of a list.
        path: it names a file or folder, where ``~`` is a home folder.
        takes: what values it takes, for docs/settings.md, where that does not follow from the type and bounds.
        before: what runs that are older than this setting computed with.
    """
    bounds = {"low": low, "above": above, "high": high, "choices": choices, "length": length, "takes": takes, "before": before, "path": path}
    metadata = {"group": group, "help": help, **{name: bound for name, bound in bounds.items() if bound is not None}}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class Settings:
    """The settings of one run; the fields are the flags. A method that needs more declares a subclass in its file (learners/bic.py)."""

    # What to run
    learner_type: str = setting("default", "learner", "kind of learner")
    learner_name: str = setting("NormalNN", "learner", "learner, see the README's table")
    model_type: str = setting("resnet", "learner", "family of the classifier: ABD's, or R-DFCIL's, without ReLU after additions", before="resnet")
    model_name: str = setting("resnet32", "learner", "classifier")
    gen_model_type: str = setting(
        "generator", "learner", "what makes old images: a generator of dreams, or DGR's variational autoencoder",
        choices=["generator", "autoencoder"])
    gen_model_name: str = setting("CIFAR_GEN", "learner", "size of the generator or autoencoder")

    # Data and task sequence
    dataset: str = setting("CIFAR100", "data", "data set")
    dataroot: str = setting("data", "data", "folder of the data sets; CIFAR is downloaded into it where it is missing", path=True)
    imagenet_classes: list[str] = setting(
        [], "data",
        "classes of ImageNet, by WNID: a file with one a line, in the order in which every repeat learns them. Without it the 50 of the "
        "published runs (without rand_split and class_order the first 50 by name). args.yaml records the WNIDs themselves",
        takes="a file that lists WNIDs, or WNIDs", before=[])
    incomplete_data: bool = setting(
        False, "data", "use a TinyImageNet or ImageNet with classes that lack images of the official set, which is refused otherwise, and say so",
        before=False)
    train_aug: bool = setting(
        False, "data", "augment training images: brightness, contrast, flip and crop; of ImageNet, random resized crop and flip")
    transforms: str = setting(
        "abd", "data", "normalisation and augmentation: ABD's, or R-DFCIL's, which pads, crops and flips after normalising", before="abd")
    rand_split: bool = setting(False, "data", "shuffle the order of the classes, seeded by the repeat's seed")
    class_order: list[int] = setting(
        [], "data", "order of the classes in every repeat, instead of rand_split's; numpy:SEED shuffles as PyCIL and others do. "
        "Of ImageNet, a class's number is its place in the published order, or in imagenet_classes",
        takes="every class number once, a YAML file that lists them, or `numpy:SEED`", before=[])
    first_split_size: int = setting(2, "data", "classes of the first task", low=1)
    other_split_size: int = setting(2, "data", "classes of every other task; the last one has what is left", low=1)
    task_sizes: list[int] = setting(
        [], "data", "classes of every task one by one, e.g. 50 10 10 10 10 10, in place of first_split_size and other_split_size; "
        "classes left over are not learned",
        low=1, before=[])
    max_task: int = setting(-1, "data", "stop after this many tasks; -1: all", low=-1)
    validation: bool = setting(False, "data", "hold out a fifth of the training data (fold by repeat) and test on it, not on the test set")
    oracle_flag: bool = setting(False, "data", "upper bound: every task trains from scratch on the data of all tasks so far")

    # Optimisation
    optimizer: str = setting("SGD", "optimisation", "optimiser of the classifier", choices=["SGD", "Adam"])
    lr: float = setting(0.01, "optimisation", "learning rate", above=0)
    momentum: float = setting(0.0, "optimisation", "SGD's momentum; Adam's first beta", low=0, high=0.999999)
    weight_decay: float = setting(0.0, "optimisation", "L2 penalty on every parameter", low=0)
    schedule: list[int] = setting(
        [2], "optimisation", "epochs at which the learning rate falls to a tenth; the last number is the epochs per task", low=1, high=10**5)
    schedule_type: str = setting("decay", "optimisation", "how the learning rate falls", choices=["decay"])
    batch_size: int = setting(64, "optimisation", "images a step; the last incomplete batch of an epoch is dropped", low=2)

    # Method
    mu: float = setting(1.0, "method", "weight of the distillation", low=0)
    temp: float = setting(2.0, "method", "temperature of the distillation", above=0)
    beta: float = setting(0.5, "method", "kept for published scripts and recorded; no published loss reads it")
    DW: bool = setting(
        False, "method",
        "weigh images by the inverse frequency of their class in the data of the task: NormalNN and LWF with a coreset, "
        "DeepInversionGenBN and DeepInversionLWF; the others take the flag and do not read it, as published")
    memory: int = setting(0, "method", "coreset: real images kept of all past tasks together; 0: none", low=0, high=10**9)
    power_iters: int = setting(10, "method", "training steps of the generator before every task but the first", low=1, high=10**7)
    deep_inv_params: list[float] = setting(
        [-1.0], "method",
        "generator's loss: Adam's learning rate, batch-norm weight, smoothness weight, content temperature, content weight; "
        "-1: none, which a learner that dreams refuses",
        low=0, length=5)

    # The run
    seed: int = setting(
        0, "run", "seed of the first repeat's class order, weights and random streams; each further repeat's is one more, "
        "so that --seed 2 --repeat 1 is the third repeat of --seed 0", low=0, high=2**31 - 1, before=0)
    repeat: int = setting(1, "run", "runs with different class orders and weights; their mean and deviation are reported", low=1, high=10**4)
    parallel: int = setting(
        1, "run", "repeats side by side on the one device: on a CPU as processes, on a GPU in one process, a training step each in turn", low=1)
    gpuid: list[int] = setting([0], "run", "GPU to run on (the first of the list); negative, or no GPU here: CPU")
    precision: str = setting(
        "fp32", "run", "arithmetic of training: fp32; tf32, faster products of GPUs; bf16, autocast to bfloat16. Evaluation is not in bf16",
        choices=["fp32", "tf32", "bf16"], before="fp32")
    memory_format: str = setting(
        "auto", "run", "how images and convolutions' weights lie in memory; auto: channels_last on a CPU and with bf16, otherwise contiguous",
        choices=["auto", "channels_last", "contiguous"], before="auto")
    deterministic: int = setting(
        0, "run", "1: a GPU's kernels add up in a fixed order, slower, so that the same command gives the same bytes on the same card, "
        "also when it was stopped and resumed. A CPU's do without it",
        choices=[0, 1], before=0)
    graph: str = setting(
        "auto", "run", "capture training steps as CUDA graphs, which spares a GPU most of its waiting; auto: where there is a GPU, and step by "
        "step where a capture fails",
        choices=["auto", "on", "off"])
    threads: int = setting(
        0, "run", "CPU threads; 0: those of the run to resume, else OMP_NUM_THREADS, else a thread for each physical core, which --parallel and "
        "sweeps share out. On a CPU the last digits of results depend on their number", low=0, high=MOST)
    log_dir: str = setting("outputs/out", "run", "folder of everything the run leaves", path=True)
    overwrite: int = setting(0, "run", "0: resume a stopped run in log_dir; 1: delete its results and start from scratch", choices=[0, 1])
    load_model_dir: str = setting("", "run", "log_dir of a run whose first-task models are taken instead of learning the first task", path=True)
    load_any: bool = setting(
        False, "run", "take them from load_model_dir even where that run learned its first task in another way; results say so", before=False)
    workers: int = setting(
        8, "run", "processes that decode images of ImageNet, the one data set that is not held in memory; 0: the run itself", low=0, high=MOST)
    no_figures: bool = setting(False, "run", "draw no figures: dreams, accuracies, losses")
    tensorboard: bool = setting(False, "run", "write losses, accuracies and figures into log_dir/tensorboard too; needs the package tensorboard")


# A run may be resumed with other values of these: they do not change what is computed.
NOT_IN_RESULTS = ("repeat", "parallel", "gpuid", "log_dir", "overwrite", "workers", "dataroot", "no_figures", "tensorboard", "graph")


def computed_from(settings: Settings) -> dict[str, Any]:
    """The settings that results depend on: the common ones and those of the run's own method."""
    return {name: value for name, value in dataclasses.asdict(settings).items() if name not in NOT_IN_RESULTS}


def completed(recorded: Mapping[str, Any], kind: type[Settings] = Settings) -> dict[str, Any]:
    """The settings that a run has recorded, and what it computed with where it is older than a setting."""
    older = {f.name: f.metadata["before"] for f in dataclasses.fields(kind) if "before" in f.metadata}
    return {**older, **recorded}


class Flag(NamedTuple):
    """A setting as the parser needs it; ``metadata`` is what ``setting`` was given."""

    name: str
    type: Any
    default: Any
    metadata: Mapping[str, Any]


# What is given, the settings given beside it, and the flag or the file and field, for errors -> the value. Raises UserError.
Reader = Callable[[Any, Mapping[str, Any], str], Any]


class LearnerClass(Protocol):
    """What the parser asks of a learner's class."""

    learner_type: str
    generator_type: str

    Settings: type["Settings"]

    def check(self, settings: Any) -> None:
        """Raises UserError where the learner refuses the settings."""


class Registry:
    """What settings may name, and so all flags there are.

    Args:
        learners: by name.
        choices: {setting: names it takes}, of the settings that name a data set or a network.
        readers: of the settings whose values are written in ways of their own, or depend on others.

    Attributes:
        unusable: learners that can't be chosen, by name: why.
        flags: the common ones and those of every learner, by name and in the order of their groups.

    Raises UserError where two declare a setting of the same name, or a class of settings is no dataclass.
    """

    def __init__(self, learners: Mapping[str, LearnerClass], choices: Mapping[str, Sequence[str]], readers: Mapping[str, Reader] | None = None):
        self.learners = learners
        self.readers = readers or {}
        self.unusable: Mapping[str, str] = {}
        types = sorted({learner.learner_type for learner in learners.values()})
        known = {"learner_name": list(learners), "learner_type": types, **choices}
        fields: dict[str, dataclasses.Field[Any]] = {}
        flags: list[Flag] = []
        kinds: list[type[Settings]] = [Settings, *(learner.Settings for learner in learners.values())]
        for kind in kinds:
            if "__dataclass_fields__" not in vars(kind):
                raise UserError(f"{kind.__name__}: settings are declared in a class with the decorator @dataclass")
            types_of, defaults = get_type_hints(kind), kind()
            for f in dataclasses.fields(kind):
                if f.name not in fields:
                    named = {"choices": known[f.name]} if f.name in known else {}
                    flags.append(Flag(f.name, types_of[f.name], getattr(defaults, f.name), {**f.metadata, **named}))
                elif fields[f.name] is not f:
                    raise UserError(f"{kind.__name__}: another method or the common settings have a setting {f.name!r} too; rename it")
                fields[f.name] = f
        groups = list(dict.fromkeys(flag.metadata["group"] for flag in flags))
        self.flags = {flag.name: flag for flag in sorted(flags, key=lambda flag: groups.index(flag.metadata["group"]))}
