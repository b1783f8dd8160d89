import dataclasses
import functools
import shlex

import pytest
import yaml

from dataloaders.tasks import task_ranges
from learners import REGISTRY
from models import GENERATORS
from utils import command_line
from utils.errors import UserError
from utils.files import write_yaml
from utils.settings import Settings

parse = functools.partial(command_line.parse, REGISTRY)

# docs/specification.md, "The published command line", each with values.
PUBLISHED = """
--gpuid 0 1 2|--gpuid -1|--log_dir outputs/x
--learner_type default --learner_name NormalNN
--learner_type kd --learner_name LWF|--learner_type kd --learner_name LWF_MC
--learner_type datafree --learner_name DeepInversionGenBN --deep_inv_params 1e-3 5e1 1e-3 1e3 1
--learner_type datafree --learner_name DeepInversionLWF --deep_inv_params 1e-3 5e1 1e-3 1e3 1
--learner_type datafree --learner_name AlwaysBeDreaming --deep_inv_params 1e-3 5e1 1e-3 1e3 1
--learner_type kd --learner_name ETE --memory 2000
--learner_type kd --learner_name BIC --memory 2000|--memory 2000
--learner_type dgr --learner_name Generative_Replay --gen_model_type autoencoder|--gen_model_type autoencoder
--model_type resnet|--model_name resnet32|--model_name resnet18
--gen_model_type generator|--gen_model_name CIFAR_GEN|--gen_model_name TINYIMNET_GEN|--gen_model_name IMNET_GEN
--dataroot data|--dataset CIFAR10|--dataset CIFAR100|--dataset TinyImageNet|--dataset ImageNet
--load_model_dir outputs/base|--workers 4|--validation|--repeat 3
--overwrite 0|--overwrite 1|--optimizer SGD|--optimizer Adam|--train_aug|--lr 0.1|--momentum 0.9|--weight_decay 0.0002
--schedule 100 150 200 250|--schedule_type decay|--batch_size 128|--power_iters 10000
--deep_inv_params 1e-3 5e1 1e-3 1e3 1|--first_split_size 20 --other_split_size 20|--other_split_size 7|--deep_inv_params -1|--rand_split|--DW
--oracle_flag
--max_task 3|--memory 0|--temp 2|--mu 0.1|--beta 5
"""
FLAGS = [flags for line in PUBLISHED.split("\n") for flags in line.split("|") if flags]

ABD = """--overwrite 0 --gpuid 0 --repeat 3 --log_dir outputs/five-task/abd --dataset CIFAR100 --dataroot data --workers 4
    --train_aug --rand_split --first_split_size 20 --other_split_size 20 --model_type resnet --model_name resnet32
    --gen_model_type generator --gen_model_name CIFAR_GEN --learner_type datafree --learner_name AlwaysBeDreaming
    --optimizer SGD --lr 0.1 --momentum 0.9 --weight_decay 0.0002 --schedule 100 150 200 250 --schedule_type decay
    --batch_size 128 --mu 1e-1 --memory 0 --beta 1 --temp 2 --power_iters 10000 --deep_inv_params 1e-3 5e1 1e-3 1e3 1
    --max_task -1"""


@pytest.fixture
def config(tmp_path):
    """Writes a YAML file: config(text) -> path."""
    def write(text, name="config.yaml"):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


# What works


@pytest.mark.parametrize("flags", FLAGS)
def test_every_published_flag_is_accepted(flags):
    name, *given = flags.partition(" --")[0].split()
    value = getattr(parse(shlex.split(flags)), name.removeprefix("--"))
    values = value if isinstance(value, list) else [value]
    assert values == ([type(one)(text) for one, text in zip(values, given)] if given else [True])


def test_the_published_list_is_complete():
    tested = {word.removeprefix("--") for flags in FLAGS for word in shlex.split(flags) if word.startswith("--")}
    assert tested == {
        "gpuid", "log_dir", "learner_type", "learner_name", "model_type", "model_name", "gen_model_type", "gen_model_name",
        "dataroot", "dataset", "load_model_dir", "workers", "validation", "repeat", "overwrite", "optimizer", "train_aug", "lr",
        "momentum", "weight_decay", "schedule", "schedule_type", "batch_size", "power_iters", "deep_inv_params",
        "first_split_size", "other_split_size", "rand_split", "DW", "oracle_flag", "max_task", "memory", "temp", "mu", "beta"}


def test_a_published_command_line_means_what_it_meant():
    assert parse(shlex.split(ABD)) == Settings(
        overwrite=0, gpuid=[0], repeat=3, log_dir="outputs/five-task/abd", dataset="CIFAR100", dataroot="data", workers=4,
        train_aug=True, rand_split=True, first_split_size=20, other_split_size=20, model_type="resnet", model_name="resnet32",
        gen_model_type="generator", gen_model_name="CIFAR_GEN", learner_type="datafree", learner_name="AlwaysBeDreaming",
        optimizer="SGD", lr=0.1, momentum=0.9, weight_decay=2e-4, schedule=[100, 150, 200, 250], schedule_type="decay",
        batch_size=128, mu=0.1, memory=0, beta=1.0, temp=2.0, power_iters=10000, deep_inv_params=[1e-3, 50.0, 1e-3, 1e3, 1.0],
        max_task=-1)


def test_no_flags_at_all_are_the_defaults():
    assert parse([]) == Settings()


def test_a_published_flag_that_is_left_out_has_its_published_default():
    """docs/specification.md, "The published command line"."""
    settings = parse([])
    assert (settings.lr, settings.momentum, settings.weight_decay, settings.batch_size, settings.schedule) == (0.01, 0, 0, 64, [2])
    assert (settings.power_iters, settings.deep_inv_params) == (10, [-1])
    assert (settings.workers, settings.dataroot) == (8, "data")
    assert (settings.mu, settings.beta, settings.temp, settings.memory) == (1, 0.5, 2, 0)
    assert (settings.first_split_size, settings.other_split_size, settings.max_task) == (2, 2, -1)


@pytest.mark.parametrize("learner", ["default --learner_name NormalNN", "kd --learner_name LWF", "kd --learner_name LWF_MC",
                                     "kd --learner_name ETE --memory 200", "dgr --learner_name Generative_Replay --gen_model_type autoencoder"])
@pytest.mark.parametrize("flags", ["", "--deep_inv_params -1"])
def test_learners_that_do_not_dream_need_no_settings_of_dreaming(learner, flags):
    assert parse(shlex.split(f"--learner_type {learner} {flags}")).deep_inv_params == [-1]


# How the classes are split


@pytest.mark.parametrize(("flags", "sizes"), [
    ("", [2] * 50),
    ("--first_split_size 20 --other_split_size 30", [20, 30, 30, 20]),
    ("--first_split_size 20 --other_split_size 100", [20, 80]),
    ("--first_split_size 100", [100]),
    ("--other_split_size 7", [2, *[7] * 14]),
    ("--dataset Digits --first_split_size 4 --other_split_size 4", [4, 4, 2]),
    ("--dataset Digits --first_split_size 4 --other_split_size 4 --max_task 2", [4, 4]),
    ("--dataset ImageNet --first_split_size 20 --other_split_size 20", [20, 20, 10]),
    ("--task_sizes 50 10 10 10 10 10", [50, 10, 10, 10, 10, 10]),
    ("--task_sizes 100", [100]),
    ("--task_sizes 1 2 3", [1, 2, 3]),
    ("--task_sizes 1 2 3 --max_task 2", [1, 2]),
    ("--task_sizes 1 2 3 --first_split_size 20 --other_split_size 20", [1, 2, 3]),
])
def test_classes_are_split_as_asked_the_last_task_having_what_is_left(flags, sizes):
    ranges = task_ranges(parse(shlex.split(flags)))
    assert [len(new) for new in ranges] == sizes
    assert [new.start for new in ranges] == [sum(sizes[:index]) for index in range(len(sizes))]


def test_task_sizes_are_taken_from_a_file_win_over_those_of_a_protocol_and_are_recorded(config, tmp_path):
    protocol = config("first_split_size: 20\nother_split_size: 20\n", "protocol.yaml")
    settings = parse(["--config", protocol, config("task_sizes: [50, 25, 25]\n")])
    assert task_ranges(settings) == [range(50), range(50, 75), range(75, 100)]
    assert settings.first_split_size == 50  # by which --load_model_dir tells first tasks apart
    write_yaml(tmp_path / "args.yaml", dataclasses.asdict(settings))
    assert parse(["--config", str(tmp_path / "args.yaml")]) == settings
    assert parse(["--config", str(tmp_path / "args.yaml"), config("task_sizes: []\nfirst_split_size: 20")]).task_sizes == []


def test_every_number_has_the_type_of_its_field():
    settings = parse(["--lr", "1", "--schedule", "1", "2", "--deep_inv_params", "1", "2", "3", "4", "5", "--repeat", "2"])
    assert [type(value) for value in (settings.lr, settings.schedule[0], settings.deep_inv_params[0], settings.repeat)] == [float, int, float, int]


def test_flags_win_over_files_and_later_files_over_earlier(config):
    first = config("lr: 0.5\nmu: 0.5\ntemp: 5.0\n", "first.yaml")
    second = config("mu: 0.6\ntemp: 6.0\n", "second.yaml")
    settings = parse(["--temp", "7", "--config", first, second])
    assert (settings.lr, settings.mu, settings.temp) == (0.5, 0.6, 7.0)


@pytest.mark.parametrize(("text", "field", "value"), [
    ("weight_decay: 2e-4", "weight_decay", 2e-4),  # a string to PyYAML
    ("lr: 1", "lr", 1.0),
    ("repeat: 2.0", "repeat", 2),
    ("gpuid: -1", "gpuid", [-1]),
    ("deep_inv_params: [1e-3, 50, 1e-3, 1e3, 1]", "deep_inv_params", [1e-3, 50.0, 1e-3, 1e3, 1.0]),
    ("train_aug: true", "train_aug", True),
    ("schedule: [1, 2]", "schedule", [1, 2]),
])
def test_yaml_values_become_the_fields_type(config, text, field, value):
    got = getattr(parse(["--config", config(text)]), field)
    assert (got, type(got)) == (value, type(value))


SWITCHES = [name for name, flag in REGISTRY.flags.items() if flag.type is bool]
ON, OFF = ("1", "true", "True"), ("0", "false", "FALSE")


def switched(name, *arguments):
    """The value of a switch, whichever method or data set it is for."""
    for_it = {
        "bias_at_test": "--learner_type kd --learner_name BIC --memory 2000", "incomplete_data": "--dataset TinyImageNet"}.get(name, "")
    return getattr(parse([*for_it.split(), *arguments]), name)


@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_takes_a_value_or_none_on_the_command_line_and_in_files(config, name):
    before, after = ["--lr", "0.5"], ["--repeat", "3"]
    assert switched(name) is False
    assert switched(name, f"--{name}") is switched(name, *before, f"--{name}", *after) is True
    for texts, meant in ((ON, True), (OFF, False)):
        for text in texts:
            assert switched(name, *before, f"--{name}", text, *after) is switched(name, f"--{name}={text}") is meant
            assert switched(name, "--config", config(f"{name}: {text}")) is switched(name, "--config", config(f"{name}: '{text}'")) is meant
    assert switched(name, "--config", config(f"{name}: 1"), f"--{name}", "0") is False
    assert f"--{name} [0|1]" in command_line._parser(REGISTRY.flags).format_help()


@pytest.mark.parametrize("name", SWITCHES)
@pytest.mark.parametrize("text", ["2", "-1", "maybe", "", "1.0", "[true]"])
def test_a_switch_refuses_what_is_neither_true_nor_false(config, name, text):
    with pytest.raises(UserError, match=f"^--{name}: .* is not true or false, 1 or 0"):
        parse([f"--{name}", text])
    if text != "[true]":  # one value, as of any setting
        with pytest.raises(UserError, match=f"{name}: .* is not true or false, 1 or 0"):
            parse(["--config", config(f"{name}: {text or 'null'}")])


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("1", 1), ("true", 1), ("False", 0)])
def test_overwrite_is_a_number_as_published_and_takes_the_words_too(config, text, value):
    for got in (parse(["--overwrite", text]), parse(["--config", config(f"overwrite: {text}")])):
        assert (got.overwrite, type(got.overwrite)) == (value, int)
    with pytest.raises(UserError, match="--overwrite"):
        parse(["--overwrite"])  # it deletes: never by an empty variable of a script


def test_an_empty_file_changes_nothing(config):
    assert parse(["--config", config("# nothing\n")]) == Settings()


def test_recorded_settings_repeat_the_run(tmp_path):
    settings = parse([*shlex.split(ABD), "--load_model_dir", "x", "--no_figures"])
    write_yaml(tmp_path / "args.yaml", dataclasses.asdict(settings))
    assert parse(["--config", str(tmp_path / "args.yaml")]) == settings


def test_recorded_settings_hold_all_fields_and_only_plain_values(tmp_path):
    write_yaml(tmp_path / "args.yaml", dataclasses.asdict(Settings()))
    content = yaml.safe_load((tmp_path / "args.yaml").read_text())
    assert list(content) == [field.name for field in dataclasses.fields(Settings)]


def test_two_settings_share_no_list():
    Settings().schedule.append(99)
    assert Settings().schedule == [2]


def test_help_mentions_every_flag_with_its_group_and_ends_well(capsys):
    with pytest.raises(SystemExit) as end:
        parse(["--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert [name for name in REGISTRY.flags if f"--{name}" not in shown] == []
    assert [group for group in ("learner:", "data:", "optimisation:", "method:", "run:") if group not in shown] == []


# An args.yaml of the published code

def published(**changes):
    """As it recorded a run of Base, with its own values of what that does not read."""
    return yaml.safe_dump({
        "gpuid": [0, 1], "log_dir": "outputs/base", "learner_type": "default", "learner_name": "NormalNN", "model_type": "resnet",
        "model_name": "resnet32", "gen_model_type": "mlp", "gen_model_name": "MLP", "dataroot": "data", "dataset": "CIFAR100",
        "load_model_dir": None, "workers": 8, "validation": False, "repeat": 3, "overwrite": 1, "optimizer": "SGD", "train_aug": True,
        "lr": 0.1, "momentum": 0.9, "weight_decay": 0.0002, "schedule": [100, 150, 200, 250], "schedule_type": "decay", "batch_size": 128,
        "power_iters": 10000, "deep_inv_params": [-1.0], "first_split_size": 20, "other_split_size": 20, "rand_split": True, "DW": False,
        "oracle_flag": False, "max_task": -1, "memory": 0, "temp": 2.0, "mu": 1.0, "beta": 1.0} | changes)


def test_settings_that_the_published_code_recorded_run(config):
    got = parse(["--config", config(published()), "--log_dir", "new"])
    assert (got.learner_name, got.repeat, got.schedule, got.workers, got.gpuid) == ("NormalNN", 3, [100, 150, 200, 250], 8, [0, 1])
    assert (got.load_model_dir, got.overwrite) == ("", 0)  # given back, it deletes nothing


@pytest.mark.parametrize("learner", ["NormalNN", "LWF", "LWF_MC", "ETE", "BIC"])
@pytest.mark.parametrize("unread", [
    {"power_iters": -1}, {"power_iters": None}, {"deep_inv_params": None}, {"gen_model_name": None}, {"deep_inv_params": [1]}])
def test_what_the_learner_does_not_read_of_them_is_not_looked_at(config, learner, unread):
    kind = "default" if learner == "NormalNN" else "kd"
    assert parse(["--config", config(published(learner_name=learner, learner_type=kind, **unread))]).learner_name == learner


def test_a_learner_that_is_chosen_beside_them_decides_what_is_read(config):
    path, kind = config(published()), ["--learner_type", "datafree", "--learner_name", "AlwaysBeDreaming"]
    for flags in (kind, [*kind, "--gen_model_type", "generator"]):
        with pytest.raises(UserError, match=f"--config {path}: (gen_model_type: 'mlp'|gen_model_name: 'MLP'|deep_inv_params)"):
            parse(["--config", path, *flags])


@pytest.mark.parametrize(("changes", "named"), [
    ({"model_name": "MLP"}, "model_name: 'MLP'"), ({"model_type": "mlp"}, "model_type: 'mlp'"), ({"dataset": "MNIST"}, "dataset: 'MNIST'"),
    ({"lr": None}, "lr: None"), ({"batch_size": -1}, "batch_size: -1"), ({"learner_name": ["LWF"]}, "learner")])
def test_what_the_learner_reads_is_refused_where_it_is_wrong(config, changes, named):
    with pytest.raises(UserError, match=named):
        parse(["--config", config(published(**changes))])


@pytest.mark.parametrize("way", ["line", "file"])
@pytest.mark.parametrize("learner", ["NormalNN", "LWF", "LWF_MC", "ETE", "BIC"])
def test_the_published_placeholders_of_networks_that_are_not_built_say_nothing(config, learner, way):
    own = {"learner_type": "default" if learner == "NormalNN" else "kd", "learner_name": learner}
    unread = {"gen_model_type": "mlp", "gen_model_name": "MLP", "deep_inv_params": -1}
    line = [part for name, value in {**own, **unread}.items() for part in (f"--{name}", str(value))]
    got = parse(line if way == "line" else ["--config", config(yaml.safe_dump({**own, **unread}))])
    assert (got.learner_name, got.gen_model_type, got.gen_model_name) == (learner, "generator", "CIFAR_GEN")


@pytest.mark.parametrize(("flags", "named"), [
    ("datafree AlwaysBeDreaming --gen_model_name MLP", "--gen_model_name: 'MLP'"),
    ("datafree AlwaysBeDreaming --gen_model_type mlp", "--gen_model_type: 'mlp'"), ("dgr Generative_Replay --gen_model_name MLP", "--gen_model_name"),
    ("default NormalNN --gen_model_name GEN", "--gen_model_name: 'GEN'"), ("default NormalNN --model_type mlp", "--model_type: 'mlp'")])
def test_placeholders_of_what_is_built_and_other_names_are_refused(flags, named):
    kind, learner, *more = flags.split()
    with pytest.raises(UserError, match=named):
        parse(["--learner_type", kind, "--learner_name", learner, *more])


def test_the_last_of_several_files_wins_also_where_one_is_named_twice(config):
    first, second = config("lr: 0.2"), config("lr: 0.3", "second.yaml")
    assert parse(["--config", first, second, first]).lr == 0.2


# What is refused: (command line, what the message must name)

REFUSED = [
    ("--learner_name Nobody", ["--learner_name", "Nobody", "AlwaysBeDreaming"]),
    ("--learner_type kd --learner_name NormalNN", ["--learner_type", "NormalNN", "default"]),
    ("--learner_type strange", ["--learner_type", "strange"]),
    ("--learner_name AlwaysBeDreaming", ["--learner_type", "datafree"]),
    ("--dataset MNIST", ["--dataset", "MNIST"]),
    ("--model_name resnet99", ["--model_name", "resnet99"]),
    ("--nonsense 1", ["--nonsense"]),
    ("--learning_rat 1", ["--learning_rat"]),
    ("--batch 64", ["--batch"]),
    ("stray", ["stray"]),
    ("--lr", ["--lr"]),
    ("--lr nan", ["--lr", "nan"]),
    ("--lr inf", ["--lr", "inf"]),
    ("--lr 0", ["--lr", "0"]),
    ("--lr -1", ["--lr", "-1"]),
    ("--lr fast", ["--lr", "fast"]),
    ("--momentum 1", ["--momentum", "1"]),
    ("--weight_decay -0.1", ["--weight_decay"]),
    ("--mu -1", ["--mu"]),
    ("--temp 0", ["--temp"]),
    ("--repeat 0", ["--repeat"]),
    ("--repeat 1.5", ["--repeat", "1.5"]),
    ("--batch_size 1", ["--batch_size"]),
    ("--power_iters 0", ["--power_iters"]),
    ("--max_task 0", ["--max_task"]),
    ("--overwrite 2", ["--overwrite"]),
    ("--gpuid x", ["--gpuid", "x"]),
    ("--schedule 200 100", ["--schedule", "200 100"]),
    ("--schedule 100 100", ["--schedule"]),
    ("--schedule 0", ["--schedule"]),
    ("--deep_inv_params 1 2 3 4", ["--deep_inv_params", "5", "4"]),
    ("--deep_inv_params 1 2 3 4 nan", ["--deep_inv_params", "nan"]),
    ("--learner_type datafree --learner_name AlwaysBeDreaming --deep_inv_params 1 1 1 0 1", ["--deep_inv_params", "temperature"]),
    ("--threads -1", ["--threads"]),
    ("--threads 100000", ["--threads", "256"]),
    ("--first_split_size 101", ["--first_split_size", "101", "100"]),
    ("--first_split_size 0", ["--first_split_size"]),
    ("--task_sizes 50 51", ["--task_sizes", "101", "100"]),
    ("--dataset Digits --task_sizes 5 5 1 --max_task 2", ["--task_sizes", "11", "10"]),
    ("--dataset ImageNet --task_sizes 51", ["--task_sizes", "51", "50"]),
    ("--task_sizes 50 0 50", ["--task_sizes", "0"]),
    ("--task_sizes -1", ["--task_sizes", "-1"]),
    ("--task_sizes 50 half", ["--task_sizes", "half"]),
    ("--task_sizes 2.5", ["--task_sizes", "2.5"]),
    ("--task_sizes", ["--task_sizes"]),
    ("--learner_type datafree --learner_name AlwaysBeDreaming", ["--deep_inv_params", "AlwaysBeDreaming", "1e-3 5e1 1e-3 1e3 1"]),
    ("--learner_type datafree --learner_name DeepInversionLWF --deep_inv_params -1", ["--deep_inv_params", "DeepInversionLWF"]),
    ("--learner_type datafree --learner_name DeepInversionGenBN --deep_inv_params -1", ["--deep_inv_params", "DeepInversionGenBN"]),
    ("--deep_inv_params -1 -1", ["--deep_inv_params", "5", "2"]),
    ("--deep_inv_params -2", ["--deep_inv_params", "5", "1"]),
    ("--learner_type datafree --learner_name AlwaysBeDreaming --gen_model_name TINYIMNET_GEN", ["--gen_model_name", "64", "32"]),
    ("--learner_type datafree --learner_name AlwaysBeDreaming --dataset TinyImageNet", ["--gen_model_name", "32", "64"]),
    ("--learner_type datafree --learner_name AlwaysBeDreaming --dataset ImageNet --gen_model_name TINYIMNET_GEN", ["--gen_model_name", "64", "224"]),
    ("--dataset ImageNet --first_split_size 51", ["--first_split_size", "51", "50"]),
    ("--workers -1", ["--workers", "-1"]),
    ("--learner_type datafree --learner_name AlwaysBeDreaming --oracle_flag", ["--oracle_flag", "AlwaysBeDreaming"]),
    ("--oracle_flag --load_model_dir x", ["--load_model_dir", "--oracle_flag"]),
    ("--learner_type datafree --learner_name AlwaysBeDreaming --memory 2000", ["--memory", "2000"]),
    ("--memory 2000 --oracle_flag", ["--memory", "--oracle_flag"]),
    ("--learner_type dgr --learner_name Generative_Replay", ["--gen_model_type", "autoencoder"]),
    ("--learner_type datafree --learner_name AlwaysBeDreaming --gen_model_type autoencoder", ["--gen_model_type", "generator"]),
    ("--learner_type dgr --learner_name Generative_Replay --gen_model_type autoencoder --gen_model_name IMNET_GEN",
     ["--gen_model_name", "CIFAR_GEN"]),
    ("--learner_type dgr --learner_name Generative_Replay --gen_model_type autoencoder --load_model_dir x", ["--load_model_dir", "autoencoder"]),
    ("--config nowhere.yaml", ["--config", "nowhere.yaml"]),
    ("--config .", ["--config"]),
]


@pytest.mark.parametrize(("flags", "named"), REFUSED, ids=[flags for flags, _ in REFUSED])
def test_a_wrong_command_line_is_refused_by_name_in_one_line(flags, named):
    with pytest.raises(UserError) as error:
        parse(shlex.split(flags))
    message = str(error.value)
    assert [word for word in named if word not in message] == []
    assert "\n" not in message


REFUSED_YAML = [
    ("learning_rate: 1", "learning_rate"),
    ("lr: [1, 2]", "lr"),
    ("lr: .nan", "lr"),
    ("lr: .inf", "lr"),
    ("lr: fast", "lr"),
    ("lr: true", "lr"),
    ("lr: null", "lr"),
    ("lr: {a: 1}", "lr"),
    ("repeat: 1.5", "repeat"),
    ("repeat: .inf", "repeat"),
    ("train_aug: 2", "train_aug"),
    ("train_aug: 'maybe'", "train_aug"),
    ("train_aug: 1.0", "train_aug"),
    ("log_dir: 7", "log_dir"),
    ("schedule: []", "schedule"),
    ("schedule: [[1]]", "schedule"),
    ("schedule: [1, x]", "schedule"),
    ("deep_inv_params: [1, 2, 3, 4]", "deep_inv_params"),
    ("learner_name: Nobody", "learner_name"),
    ("first_split_size: 0", "first_split_size"),
    ("lr: 1: 2", "config.yaml"),
    ("- lr\n- mu", "config.yaml"),
    ("just text", "config.yaml"),
    ("1: 2", "1"),
    ("lr: 0.1\n\x00", "config.yaml"),
    ("!!python/object/apply:os.system [true]", "config.yaml"),
    ("lr: 2020-99-99", "config.yaml"),
    ("lr: !!int x", "config.yaml"),
    ("lr: " + "[" * 5000, "config.yaml"),
    ('log_dir: "a\\0b"', "log_dir"),
    ('dataroot: "a\\nb"', "dataroot"),
]


@pytest.mark.parametrize(("text", "field"), REFUSED_YAML, ids=[repr(text) for text, _ in REFUSED_YAML])
def test_a_wrong_file_is_refused_with_its_name_and_field_in_one_line(config, text, field):
    path = config(text)
    with pytest.raises(UserError) as error:
        parse(["--config", path])
    message = str(error.value)
    assert f"--config {path}" in message
    assert field in message
    assert "\n" not in message


def test_a_file_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "image.yaml").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(UserError, match="image.yaml"):
        parse(["--config", str(tmp_path / "image.yaml")])


def test_a_generators_size_matters_only_to_learners_that_dream():
    assert parse(["--gen_model_name", "TINYIMNET_GEN"]).gen_model_name in GENERATORS


# The order of classes


def test_a_class_order_is_resolved_for_the_data_set_that_the_run_has(config, tmp_path):
    order = parse(["--class_order", "numpy:1993", "--dataset", "CIFAR10"]).class_order
    assert sorted(order) == list(range(10))
    path = config(str(order), "order.yaml")
    assert parse(["--dataset", "Digits", "--class_order", path]).class_order == order
    assert parse(["--dataset", "Digits", "--class_order", *map(str, order)]).class_order == order
    assert parse(["--dataset", "Digits", "--config", config(f"class_order: {path}")]).class_order == order
    given = ["--dataset", "Digits", "--config", config("class_order: numpy:1993")]
    assert parse(given).class_order == order
    assert parse([*given, "--class_order", *"9876543210"]).class_order == [*range(9, -1, -1)]
    assert parse(["--dataset", "ImageNet", "--class_order", "numpy:1"]).class_order != parse([]).class_order == []


def test_recorded_settings_hold_the_order_itself(config, tmp_path):
    path = config("[3, 1, 0, 2, 4, 5, 6, 7, 8, 9]", "order.yaml")
    settings = parse(["--dataset", "Digits", "--class_order", path])
    write_yaml(tmp_path / "args.yaml", dataclasses.asdict(settings))
    (tmp_path / "order.yaml").unlink()
    assert parse(["--config", str(tmp_path / "args.yaml")]) == settings
    assert "order.yaml" not in (tmp_path / "args.yaml").read_text()


@pytest.mark.parametrize(("flags", "named"), [
    ("--dataset Digits --class_order 1 2", "--class_order: has 2 of the 10 classes"), ("--class_order nowhere.yaml", "--class_order: 'nowhere.yaml'"),
    ("--seed -1", "--seed: -1 is below 0"), ("--seed 2147483648", "--seed: 2147483648 is above 2147483647"), ("--seed x", "--seed: 'x' is not")])
def test_a_wrong_order_or_seed_is_refused_by_its_flag(flags, named):
    with pytest.raises(UserError, match=named):
        parse(flags.split())


def test_a_wrong_order_is_refused_by_its_file_and_field(config):
    path = config("class_order: [0, 1]\ndataset: Digits")
    with pytest.raises(UserError, match=f"--config {path}: class_order: has 2 of the 10 classes"):
        parse(["--config", path])


# Paths


def test_a_tilde_in_any_path_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "c.yaml").write_text("dataroot: ~/data\nload_model_dir: ~/base\nlog_dir: ~/never\n")
    settings = parse(["--config", "~/c.yaml", "--log_dir=~/run"])
    assert [settings.dataroot, settings.load_model_dir, settings.log_dir] == [str(tmp_path / name) for name in ("data", "base", "run")]
    (tmp_path / "order.yaml").write_text(str(list(range(100))))
    assert parse(["--class_order", "~/order.yaml"]).class_order == list(range(100))


def test_a_home_that_is_not_known_makes_no_folder_called_tilde(tmp_path):
    (tmp_path / "c.yaml").write_text("log_dir: ~nobody-of-this-name/run\n")
    with pytest.raises(UserError, match=r"c.yaml: log_dir: .*the home folder ~nobody-of-this-name is not known"):
        parse(["--config", str(tmp_path / "c.yaml")])
    for flag in ("--class_order", "--imagenet_classes", "--dataroot", "--load_model_dir"):
        with pytest.raises(UserError, match=f"{flag}: .*the home folder ~nobody-of-this-name is not known"):
            parse([flag, "~nobody-of-this-name/file"])
    with pytest.raises(UserError, match="--config: .*the home folder ~nobody-of-this-name is not known"):
        parse(["--config", "~nobody-of-this-name/c.yaml"])
