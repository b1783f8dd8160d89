"""Command lines and files of settings: what they mean, what is refused and how a learner declares its own."""

import dataclasses
import functools
import shlex

import pytest
import yaml

from learners import REGISTRY
from learners.lwf import LWF
from utils import command_line
from utils.errors import UserError
from utils.files import write_yaml
from utils.settings import NOT_IN_RESULTS, Registry, Settings, computed_from, flags_of, setting

parse = functools.partial(command_line.parse, REGISTRY)
BIC = ["--learner_type", "kd", "--learner_name", "BIC", "--memory", "2000"]
ABD = """--overwrite 0 --gpuid 0 1 --repeat 3 --log_dir outputs/five-task/abd --dataset CIFAR100 --dataroot
data --workers 4
    --train_aug --rand_split --first_split_size 20 --other_split_size 20 --model_type resnet --model_name
    resnet32 --gen_model_type generator --gen_model_name CIFAR_GEN --learner_type datafree --learner_name
    AlwaysBeDreaming --optimizer SGD --lr 0.1 --momentum 0.9 --weight_decay 0.0002 --schedule 100 150 200 250
    --schedule_type decay --batch_size 128 --mu 1e-1 --memory 0 --beta 1 --temp 2 --power_iters 10000
    --deep_inv_params 1e-3 5e1 1e-3 1e3 1
    --max_task -1 --load_model_dir outputs/base"""


# What is published


def test_a_published_command_line_means_what_it_meant():
    assert parse(shlex.split(ABD)) == Settings(
        overwrite=0, gpuid=[0, 1], repeat=3, log_dir="outputs/five-task/abd", dataset="CIFAR100",
        dataroot="data",
        workers=4, train_aug=True, rand_split=True, first_split_size=20, other_split_size=20,
        model_type="resnet",
        model_name="resnet32", gen_model_type="generator", gen_model_name="CIFAR_GEN",
        learner_type="datafree",
        learner_name="AlwaysBeDreaming", optimizer="SGD", lr=0.1, momentum=0.9, weight_decay=2e-4,
        schedule=[100, 150, 200, 250], schedule_type="decay", batch_size=128, mu=0.1, memory=0, beta=1.0,
        temp=2.0,
        power_iters=10000, deep_inv_params=[1e-3, 50.0, 1e-3, 1e3, 1.0], max_task=-1,
        load_model_dir="outputs/base")


@pytest.mark.parametrize("flags", [
    "--learner_type kd --learner_name LWF", "--learner_type kd --learner_name LWF_MC", "--memory 2000",
    "--learner_type kd --learner_name ETE --memory 2000",
    "--learner_type kd --learner_name BIC --memory 2000",
    "--learner_type dgr --learner_name Generative_Replay --gen_model_type autoencoder",
    "--learner_type datafree --learner_name DeepInversionGenBN --deep_inv_params 1e-3 5e1 1e-3 1e3 1",
    "--learner_type datafree --learner_name DeepInversionLWF --deep_inv_params 1e-3 5e1 1e-3 1e3 1",
    "--gpuid -1", "--model_name resnet18", "--gen_model_name TINYIMNET_GEN", "--gen_model_name IMNET_GEN",
    "--DW",
    "--dataset CIFAR10", "--dataset TinyImageNet", "--dataset ImageNet", "--validation", "--oracle_flag",
    "--max_task 3",
    "--overwrite 1", "--optimizer Adam", "--deep_inv_params -1", "--other_split_size 7"])
def test_every_published_value_is_accepted(flags):
    name, *given = flags.rpartition(" --")[2].removeprefix("--").split()
    value = getattr(parse(shlex.split(flags)), name)
    values = value if isinstance(value, list) else [value]
    assert values == ([type(one)(text) for one, text in zip(values, given)] if given else [True])


def test_a_published_flag_that_is_left_out_has_its_published_default():
    settings = parse([])
    assert settings == Settings()
    assert (settings.lr, settings.momentum, settings.weight_decay, settings.batch_size) == (0.01, 0, 0, 64)
    assert (settings.schedule, settings.power_iters, settings.deep_inv_params) == ([2], 10, [-1])
    assert (settings.workers, settings.dataroot, settings.memory, settings.max_task) == (8, "data", 0, -1)
    assert (settings.mu, settings.beta, settings.temp) == (1, 0.5, 2)
    assert (settings.first_split_size, settings.other_split_size) == (2, 2)


def test_published_placeholders_of_networks_that_are_not_built_say_nothing(config):
    unread = {"gen_model_type": "mlp", "gen_model_name": "MLP", "deep_inv_params": -1}
    line = [word for name, value in unread.items() for word in (f"--{name}", str(value))]
    path = config(yaml.safe_dump(unread))
    assert parse(line) == parse(["--config", path]) == Settings()
    for flags in (["--model_type", "mlp"],
        ["--learner_type", "datafree", "--learner_name", "AlwaysBeDreaming", *line]):
        with pytest.raises(UserError, match="'mlp' is not one of"):
            parse(flags)


def test_an_args_yaml_of_the_2021_code_is_refused_in_one_line(config):
    path = config(
        "gpuid: [0]\nlog_dir: a\nlearner_name: NormalNN\nload_model_dir: null\noverwrite: 1\nlr: 0.1\n")
    with pytest.raises(UserError, match=f"^--config {path}: was recorded by the 2021 code; [^\n]*$"):
        parse(["--config", path])


# Flags, files, types


def test_flags_win_over_files_and_later_files_over_earlier(config):
    first = config("lr: 0.5\nmu: 0.5\ntemp: 5.0\n", "first.yaml")
    second = config("mu: 0.6\ntemp: 6.0\n", "second.yaml")
    for files in (["--config", first, second], ["--config", first, "--config", second]):
        settings = parse(["--temp", "7", *files])
        assert (settings.lr, settings.mu, settings.temp) == (0.5, 0.6, 7.0)


@pytest.mark.parametrize(("text", "field", "value"), [
    ("weight_decay: 2e-4", "weight_decay", 2e-4), ("lr: 1", "lr", 1.0), ("repeat: 2.0", "repeat", 2),
    ("gpuid: -1", "gpuid", [-1]), ("deep_inv_params: [1e-3, 50, 1e-3, 1e3, 1]", "deep_inv_params",
    [1e-3, 50.0, 1e-3, 1e3, 1.0]),
    ("train_aug: true", "train_aug", True), ("overwrite: true", "overwrite", 1)])
def test_yaml_values_become_the_fields_type(config, text, field, value):
    got = getattr(parse(["--config", config(text)]), field)
    assert (got, type(got)) == (value, type(value))


@pytest.mark.parametrize(("words", "value"), [
    ([], True), (["1"], True), (["true"], True), (["0"], False), (["FALSE"], False)])
def test_a_switch_takes_a_value_or_none_and_a_flag_turns_off_what_a_file_turned_on(config, words, value):
    path = config("DW: 1")
    assert parse(["--config", path, "--DW", *words, "--lr", "0.5"]).DW is value
    assert parse(["--config", path]).DW is True and parse([]).DW is False


def test_recorded_settings_repeat_the_run(tmp_path):
    settings = parse([*shlex.split(ABD), "--task_sizes", "50", "25", "25"])
    assert settings.first_split_size == 50
    write_yaml(tmp_path / "args.yaml", dataclasses.asdict(settings))
    assert parse(["--config", str(tmp_path / "args.yaml")]) == settings
    assert computed_from(settings).keys() == dataclasses.asdict(settings).keys() - set(NOT_IN_RESULTS)


def test_a_class_order_is_resolved_for_the_data_set_of_the_run_and_recorded_itself(config, tmp_path):
    order = parse(["--class_order", "numpy:1993", "--dataset", "CIFAR10"]).class_order
    assert sorted(order) == list(range(10))
    path = config(str(order), "order.yaml")
    assert parse(["--dataset", "Digits", "--class_order", path]).class_order == order
    assert parse(["--config", config(f"class_order: {path}\ndataset: Digits")]).class_order == order
    with pytest.raises(UserError, match="--class_order: class 0 is listed 0 times"):
        parse(shlex.split("--dataset Digits --class_order 1 2"))


def test_a_tilde_in_any_path_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "c.yaml").write_text("dataroot: ~/data\nload_model_dir: ~/base\nlog_dir: ~/never\n")
    settings = parse(["--config", "~/c.yaml", "--log_dir=~/run"])
    paths = [settings.dataroot, settings.load_model_dir, settings.log_dir]
    assert paths == [str(tmp_path / name) for name in ("data", "base", "run")]


def test_help_has_every_flag_with_its_bounds_and_default(capsys):
    with pytest.raises(SystemExit) as end:
        parse(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert end.value.code == 0 and [name for name in REGISTRY.flags if f"--{name} " not in shown] == []
    assert "learning rate; above 0; default: 0.01" in shown and "--DW [0|1]" in shown


# What is refused


@pytest.mark.parametrize(("flags", "named"), [
    ("--learner_name Nobody", "--learner_name: 'Nobody' is not one of"), ("--nonsense 1", "--nonsense"),
    ("stray", "stray"),
    ("--learner_type kd --learner_name NormalNN", "--learner_type kd"), ("--batch 64", "--batch"),
    ("--lr", "--lr"),
    ("--lr nan", "--lr: nan"), ("--lr 0", "--lr: 0.0 is not above 0"),
    ("--lr fast", "--lr: 'fast' is not a number"),
    ("--lr 1_0", "'1_0'"), ("--batch_size 010", "'010'"),
    ("--momentum 1", "--momentum: 1.0 is above 0.999999"),
    ("--repeat 1.5", "--repeat: '1.5' is not a whole number"),
    ("--batch_size 1", "--batch_size: 1 is below 2"),
    ("--max_task 0", "--max_task"), ("--overwrite", "--overwrite"),
    ("--overwrite 2", "--overwrite: 2 is not one of"),
    ("--DW maybe", "--DW: 'maybe' is not true or false"),
    ("--schedule 200 100", "--schedule: epochs must rise"),
    ("--deep_inv_params 1 2 3 4", "--deep_inv_params: takes 5 values, not 4"),
    ("--seed -1", "--seed: -1 is below 0"),
    ("--deep_inv_params -2", "--deep_inv_params"), ("--first_split_size 101", "--first_split_size 101"),
    ("--task_sizes 50 51", "--task_sizes"), ("--log_dir ''", "--log_dir: is empty"),
    ("--config nowhere.yaml", "nowhere.yaml"),
    ("--log_dir a --load_model_dir ./a", "--load_model_dir ./a: is this run's own"),
    ("--lr 1e400", "--lr: inf"),
    ("--learner_type datafree --learner_name AlwaysBeDreaming", "--deep_inv_params"),
    ("--bias_at_test", "these do: BIC"),
    ("--dataroot ~nobody-here/x", "the home folder ~nobody-here is not known")])
def test_a_wrong_command_line_is_refused_by_name_in_one_line(flags, named):
    with pytest.raises(UserError, match=r"^[^\n]+$") as error:
        parse(shlex.split(flags))
    assert named in str(error.value)


@pytest.mark.parametrize(("text", "named"), [
    ("learning_rate: 1", "'learning_rate'"), ("lr: [1, 2]", "lr: takes one value"), ("lr: .nan", "lr"),
    ("lr: null", "lr"),
    ("lr: 0.1\nmu: 1\nlr: 0.5", "lr is there twice"), ("batch_size: 010", "'010'"),
    ("batch_size: 1:30", "'1:30'"),
    ("schedule: [1, 0b10]", "'0b10'"), ("", "must hold lines"), ("- lr\n- mu", "must hold lines"),
    ("lr: true", "lr"),
    ("train_aug: 1.0", "train_aug"), ("log_dir: 7", "log_dir"), ("schedule: []", "schedule"),
    ("schedule: [[1]]", "schedule"),
    ("!!python/object/apply:os.system [true]", "not valid YAML"), ("lr: " + "[" * 5000, "not valid YAML"),
    ("1: 2", "no setting 1"), ("learner_name: [a, b]", "learner_name"), ('dataroot: "a\\nb"', "dataroot"),
    ("bias_at_test: 3", "bias_at_test: 3 is not true or false")])
def test_a_wrong_file_is_refused_with_its_name_and_field_in_one_line(config, text, named):
    path = config(text)
    with pytest.raises(UserError, match=r"^[^\n]+$") as error:
        parse(["--config", path])
    assert f"--config {path}" in str(error.value) and named in str(error.value)


# A learner's own settings


@dataclasses.dataclass
class SharpSettings(Settings):
    sharpness: float = setting(1.0, "method", "temperature in 100 %", above=0)


class Sharp(LWF):
    Settings = SharpSettings


def sharp(*flags, learners=(LWF, Sharp)):
    registry = Registry({learner.__name__: learner for learner in learners}, {"dataset": ["CIFAR100"]})
    return command_line.parse(registry, ["--learner_type", "kd", *flags])


def test_a_setting_of_its_own_has_the_type_bounds_and_help_that_it_declares(capsys):
    assert sharp("--learner_name", "Sharp", "--sharpness", "2").sharpness == 2.0
    with pytest.raises(UserError, match="--sharpness: 0.0 is not above 0"):
        sharp("--learner_name", "Sharp", "--sharpness", "0")
    with pytest.raises(SystemExit):
        sharp("--help")
    assert "temperature in 100 %; above 0; default: 1.0" in " ".join(capsys.readouterr().out.split())


def test_it_is_refused_as_a_flag_of_another_learner_and_left_out_of_a_file(config):
    with pytest.raises(UserError, match="^--sharpness: LWF does not read it; these do: Sharp$"):
        sharp("--learner_name", "LWF", "--sharpness", "2")
    settings = sharp("--learner_name", "LWF", "--config", config("sharpness: 2\n"))
    assert type(settings) is Settings and not hasattr(settings, "sharpness")
    assert parse([*BIC, "--config", config("bias_at_test: true\n")]).bias_at_test is True


def broken_settings():
    class Undecorated(Settings):
        sharper: float = setting(3.0, "method", "never read")

    @dataclasses.dataclass
    class Twice(Settings):
        mu: float = setting(3.0, "method", "what all have")

    @dataclasses.dataclass
    class Bare(Settings):
        sharper: float = 3.0

    @dataclasses.dataclass
    class Strange(Settings):
        sharper: dict = setting({}, "method", "no such type") if False else setting(None, "method",
            "no such type")

    return {"@dataclass": Undecorated, "'mu'": Twice, r"sharper: declare it": Bare,
        "int, str or a list": Strange}


@pytest.mark.parametrize("named", broken_settings())
def test_a_broken_settings_class_is_one_line_with_its_file(named):
    with pytest.raises(UserError, match=rf"^[^\n]*test_settings.py: [^\n]*{named}[^\n]*$"):
        flags_of(broken_settings()[named], flags_of(Settings, {}))
