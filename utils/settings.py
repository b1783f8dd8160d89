"""The settings that all methods share: name, default, meaning and bounds. A subclass adds a method's own."""

import dataclasses
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from utils.errors import UserError

Flag = dict[str, Any]  # the arguments of ``setting``, the type of a single value, whether it takes several
# {bound of a setting: (in words, whether it holds for a value)}
BOUNDS: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "choices": ("one of", operator.contains), "low": ("at least", operator.le),
    "above": ("above", operator.lt), "high": ("at most", operator.ge)}


def setting(default: Any, group: str, help: str, *, path: bool = False, **bounds: Any) -> Any:
    """Declare a field of Settings, which is a flag and a key in YAML files.

    Args:
        group: heading in ``--help``. help: meaning and unit.
        path: it names a file or folder, in which ``~`` and ``$VARIABLE`` are replaced.
        bounds: ``low``, ``high``, ``above`` (a value must be greater), ``choices``.
    """
    metadata = dict(group=group, help=help, path=path, **bounds)
    if isinstance(default, list):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class Settings:
    """The settings of one run. A method with flags of its own declares a dataclass that extends this one and
    names it in its class: ``Settings = BICSettings`` (learners/bic.py)."""

    # What to run
    learner_type: str = setting("default", "learner", "kind of learner")
    learner_name: str = setting("NormalNN", "learner", "learner; the README has a table of them")
    model_type: str = setting("resnet", "learner", "family of the classifier: ABD's or R-DFCIL's")
    model_name: str = setting("resnet32", "learner", "classifier")
    gen_model_type: str = setting(
        "generator", "learner", "what generates old images", choices=["generator", "autoencoder"])
    gen_model_name: str = setting(
        "CIFAR_GEN", "learner", "width of the generator or autoencoder, whose images are of the data's size")
    weights: str = setting(
        "", "learner", "state dict of torchvision or timm for the backbone to begin with", path=True)
    freeze: bool = setting(False, "learner", "freeze the backbone; only the outputs learn")

    # Data and tasks
    dataset: str = setting("CIFAR100", "data", "data set, or folder:PATH for images in class folders")
    dataroot: str = setting("data", "data", "folder of the data sets; CIFAR is downloaded into it", path=True)
    imagenet_classes: list[str] = setting(
        [], "data", "classes of ImageNet in the order in which they are learned: WNIDs, or a file with one "
        "per line. Without it, the 50 published ones (the first 50 by name without rand_split, class_order)")
    incomplete_data: bool = setting(False, "data", "accept a TinyImageNet or ImageNet that lacks images")
    images_per_class: int = setting(
        0, "data", "train and test on the first N images of each class, for a quick trial; 0: all", low=0)
    train_aug: bool = setting(
        False, "data", "augment training images: brightness, contrast, flip, crop; ImageNet: crop and flip")
    transforms: str = setting(
        "abd", "data", "normalisation and augmentation: ABD's, or R-DFCIL's, which normalises first")
    image_size: int = setting(
        0, "data", "side in pixels to which images are scaled; 0: that of the data set. folder:PATH needs it",
        low=0)
    classes: int = setting(0, "data", "number of classes of folder:PATH; 0: count its class folders", low=0)
    test_share: float = setting(
        0.0, "data", "share of each class to test on if folder:PATH has no test images of its own", low=0,
        high=0.9)
    rand_split: bool = setting(False, "data", "shuffle the order of the classes, seeded by the repeat's seed")
    class_order: list[int] = setting(
        [], "data", "order of the classes in every repeat: all class numbers, a YAML file that lists them, "
        "or numpy:SEED, as PyCIL shuffles. ImageNet's are positions in the order without this flag")
    first_split_size: int = setting(2, "data", "classes of the first task", low=1)
    other_split_size: int = setting(2, "data", "classes of each other task; the last has what is left", low=1)
    task_sizes: list[int] = setting(
        [], "data", "classes of each task, in place of the two sizes; the others are not learned", low=1)
    max_task: int = setting(-1, "data", "stop after this many tasks; -1: learn all", low=-1)
    validation: bool = setting(
        False, "data", "test on a fifth of the training data, held out anew for each repeat")
    oracle_flag: bool = setting(
        False, "data", "upper bound: every task trains from scratch on the data of all tasks so far")

    # Optimisation
    optimizer: str = setting("SGD", "optimisation", "optimiser of the classifier", choices=["SGD", "Adam"])
    lr: float = setting(0.01, "optimisation", "learning rate", above=0)
    momentum: float = setting(0.0, "optimisation", "SGD's momentum; Adam's first beta", low=0, high=0.999999)
    weight_decay: float = setting(0.0, "optimisation", "L2 penalty on every parameter", low=0)
    schedule: list[int] = setting(
        [2], "optimisation", "epochs after which the rate falls to a tenth; the last ends the task", low=1)
    schedule_type: str = setting(
        "decay", "optimisation", "how the learning rate falls: as schedule says, or to 0 along half a cosine",
        choices=["decay", "cosine"])
    batch_size: int = setting(64, "optimisation", "images per step; an incomplete batch is dropped", low=2)

    # Method
    mu: float = setting(1.0, "method", "weight of the distillation", low=0)
    temp: float = setting(2.0, "method", "temperature of the distillation", above=0)
    beta: float = setting(0.5, "method", "accepted from published scripts; no published loss reads it")
    DW: bool = setting(
        False, "method", "weight images by the inverse frequency of their class: NormalNN and LWF with a "
        "coreset, DeepInversionGenBN, DeepInversionLWF. the others ignore it, as in the published code")
    memory: int = setting(0, "method", "images in the coreset, of all past tasks", low=0)
    power_iters: int = setting(
        10, "method", "training steps of the generator before every task but the first", low=1)
    deep_inv_params: list[float] = setting(
        [-1.0], "method", "the generator's loss: Adam's learning rate; weights of batch norm and smoothness; "
        "temperature and weight of the content. default: none, for learners that do not dream", low=0)

    # The run
    seed: int = setting(
        0, "run", "seed of the first repeat; each later one adds 1, so --seed 2 --repeat 1 is the third "
        "repeat of --seed 0", low=0)
    repeat: int = setting(1, "run", "runs, each with other weights and class order", low=1)
    gpuid: list[int] = setting(
        [0], "run", "GPU to run on (the first of the list); -1, or 0 on a machine without a GPU: the CPU")
    precision: str = setting(
        "fp32", "run", "arithmetic of training: tf32, faster products on GPUs; bf16, autocast to bfloat16. "
        "Evaluation never uses bf16", choices=["fp32", "tf32", "bf16"])
    memory_format: str = setting(
        "auto", "run", "layout of images and convolution weights; auto: channels_last on a CPU and in bf16, "
        "else contiguous", choices=["auto", "channels_last", "contiguous"])
    deterministic: int = setting(
        0, "run", "1: slower kernels that make a GPU reproducible, as a CPU always is", choices=[0, 1])
    graph: str = setting(
        "auto", "run", "run steps as CUDA graphs, which is faster; auto: if possible",
        choices=["auto", "on", "off"])
    threads: int = setting(
        0, "run", "CPU threads; 0: as many as the run to resume, else OMP_NUM_THREADS, else the cores", low=0)
    log_dir: str = setting("outputs/out", "run", "folder for the run's output", path=True)
    overwrite: int = setting(
        0, "run", "0: resume a stopped run in log_dir; 1: delete its results and start again", choices=[0, 1])
    load_model_dir: str = setting(
        "", "run", "log_dir of a run whose first-task models are taken over instead of learned", path=True)
    load_any: bool = setting(
        False, "run", "with load_model_dir: take models even if they were learned differently; results tell")
    workers: int = setting(8, "run", "processes that decode images of ImageNet; 0: the run itself", low=0)
    no_figures: bool = setting(False, "run", "draw no figures of dreams, accuracies and losses")
    tensorboard: bool = setting(False, "run", "also write to log_dir/tensorboard; needs its package")
    wandb: str = setting("", "run", "also log to this project at Weights & Biases; needs the package wandb")


# A run may be resumed with other values of these: they do not change what is computed.
NOT_IN_RESULTS = (
    "repeat", "max_task", "gpuid", "log_dir", "overwrite", "workers", "dataroot", "no_figures", "tensorboard",
    "wandb", "graph")


def computed_from(settings: Settings) -> dict[str, Any]:
    """The settings that results depend on: the common ones and those of the run's method."""
    return {name: value for name, value in dataclasses.asdict(settings).items() if name not in NOT_IN_RESULTS}


def flags_of(kind: type[Settings], known: Mapping[str, Flag]) -> dict[str, Flag]:
    """The flags of a settings class by name. Raises UserError if it is declared wrongly, or if another class
    has declared one of the names, which are ``known``."""
    if "__dataclass_fields__" not in vars(kind):
        raise UserError(f"{kind.__name__} needs the decorator @dataclass")
    flags, types, defaults = {}, get_type_hints(kind), kind()
    for item in dataclasses.fields(kind):
        name, many = item.name, get_origin(types[item.name]) is list
        type_ = get_args(types[name])[0] if many else types[name]
        if not item.metadata or type_ not in (bool, int, float, str):
            raise UserError(
                f"{kind.__name__}.{name}: declare it as `{name}: float = setting(...)`, or as bool, int, str "
                "or a list of one of these")
        flags[name] = {**item.metadata, "type": type_, "many": many, "default": getattr(defaults, name)}
        if known.get(name, flags[name]) != flags[name]:
            raise UserError(f"{kind.__name__}: there is another setting {name!r}; rename this one")
    return flags


class Registry(NamedTuple):
    """What settings may name."""

    learners: Mapping[str, Any]  # classes by name; ``check(settings)`` raises UserError if one refuses them
    reads: Callable[[Any, str], bool]  # whether a setting has an effect on a learner
    flags: Mapping[str, Flag]  # the common settings and those of every learner
    # Settings with a notation: (value, other settings, the flag or file and field for errors) -> value
    readers: Mapping[str, Callable[[Any, Mapping[str, Any], str], Any]]
    broken: Mapping[str, str]  # {learner: why it cannot be chosen}
    nicknames: Mapping[str, str]  # {spelling of a learner in lower case: its name}
