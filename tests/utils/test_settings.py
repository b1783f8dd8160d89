"""Command lines and files of settings: what they mean, what is refused and how a learner declares its own."""

import dataclasses
import functools
import shlex

import pytest

from learners import REGISTRY
from learners.abd import ABDSettings
from utils import command_line
from utils.errors import UserError
from utils.files import write_yaml
from utils.settings import NOT_IN_RESULTS, Settings, computed_from

parse = functools.partial(command_line.parse, REGISTRY)
BIC = ["--learner_type", "kd", "--learner_name", "BIC", "--memory", "2000"]
ABD = """--overwrite 0 --gpuid 0 1 --repeat 3 --log_dir outputs/five-task/abd --dataset CIFAR100 --dataroot
    data --workers 4 --train_aug --rand_split --first_split_size 20 --other_split_size 20 --model_type resnet
    --model_name resnet32 --gen_model_type generator --gen_model_name CIFAR_GEN --learner_type datafree
    --learner_name AlwaysBeDreaming --optimizer SGD --lr 0.1 --momentum 0.9 --weight_decay 0.0002 --schedule
    100 150 200 250 --schedule_type decay --batch_size 128 --mu 1e-1 --memory 0 --beta 1 --temp 2
    --power_iters 10000 --deep_inv_params 1e-3 5e1 1e-3 1e3 1 --max_task -1 --load_model_dir outputs/base"""


def refused(*flags):
    with pytest.raises(UserError, match=r"^[^\n]+$") as error:
        parse(flags)
    return str(error.value)


# What is published


def test_a_published_command_line_means_what_it_meant():
    assert parse(shlex.split(ABD)) == ABDSettings(
        overwrite=0, gpuid=[0, 1], repeat=3, log_dir="outputs/five-task/abd", dataset="CIFAR100",
        dataroot="data", workers=4, train_aug=True, rand_split=True, first_split_size=20, other_split_size=20,
        model_type="resnet", model_name="resnet32", gen_model_type="generator", gen_model_name="CIFAR_GEN",
        learner_type="datafree", learner_name="AlwaysBeDreaming", optimizer="SGD", lr=0.1, momentum=0.9,
        weight_decay=2e-4, schedule=[100, 150, 200, 250], schedule_type="decay", batch_size=128, mu=0.1,
        memory=0, beta=1.0, temp=2.0, power_iters=10000, deep_inv_params=[1e-3, 50.0, 1e-3, 1e3, 1.0],
        max_task=-1, load_model_dir="outputs/base")


def test_published_values_that_look_out_of_bounds_are_accepted():
    settings = parse("--gpuid -1 --deep_inv_params -1 --max_task 0 --memory 0 --DW".split())
    assert (settings.gpuid, settings.deep_inv_params, settings.max_task) == ([-1], [-1.0], 0)
    assert settings.DW is True


def test_a_method_without_a_generator_takes_the_placeholders_of_2021():
    flags = ["--gen_model_type", "mlp", "--gen_model_name", "MLP"]
    assert parse(flags).gen_model_name == "CIFAR_GEN"
    assert parse(["--log_dir", "mlp", "--dataroot", "MLP"]).log_dir == "mlp"
    assert "'mlp'" in refused("--model_type", "mlp")
    assert "'mlp'" in refused("--learner_type", "datafree", "--learner_name", "AlwaysBeDreaming", *flags)


def test_a_published_flag_that_is_left_out_has_its_published_default():
    published = dict(
        lr=0.01, momentum=0, weight_decay=0, batch_size=64, schedule=[2], power_iters=10, workers=8,
        deep_inv_params=[-1], dataroot="data", memory=0, max_task=-1, mu=1, beta=0.5, temp=2,
        first_split_size=2, other_split_size=2)
    assert parse([]) == Settings(**published)


# Flags, files, types


def test_flags_win_over_files_and_later_files_over_earlier(config):
    first = config("lr: 0.5\nmu: 0.5\ntemp: 5.0\n", "first.yaml")
    second = config("mu: 0.6\ntemp: 6.0\n", "second.yaml")
    for files in (["--config", first, second], ["--config", first, "--config", second]):
        settings = parse(["--temp", "7", *files])
        assert (settings.lr, settings.mu, settings.temp) == (0.5, 0.6, 7.0)


@pytest.mark.parametrize(("text", "field", "value"), [
    ("weight_decay: 2e-4", "weight_decay", 2e-4), ("lr: 1", "lr", 1.0), ("gpuid: -1", "gpuid", [-1]),
    ("deep_inv_params: [1e-3, 50, 1e-3, 1e3, 1]", "deep_inv_params", [1e-3, 50.0, 1e-3, 1e3, 1.0])])
def test_yaml_values_become_the_settings_type(config, text, field, value):
    got = getattr(parse(["--config", config(text)]), field)
    assert (got, type(got)) == (value, type(value))


def test_a_switch_takes_a_value_or_none_and_a_flag_turns_off_what_a_file_turned_on(config):
    path = config("DW: 1")
    for flags in (["--config", path], ["--DW", "--lr", "1"], ["--DW", "1"]):
        assert parse(flags).DW is True
    assert all(parse(["--config", path, "--DW", word]).DW is False for word in ("0", "FALSE"))


def test_recorded_and_printed_settings_repeat_the_run(tmp_path, config, capsys):
    line = [*shlex.split(ABD), "--task_sizes", "50", "25", "25"]
    settings = parse(line)
    assert settings.first_split_size == 50
    write_yaml(tmp_path / "args.yaml", dataclasses.asdict(settings))
    assert parse(["--config", str(tmp_path / "args.yaml")]) == settings
    assert computed_from(settings).keys() == dataclasses.asdict(settings).keys() - set(NOT_IN_RESULTS)
    with pytest.raises(SystemExit, match="^0$"):
        parse([*line, "--print_config"])
    assert parse(["--config", config(capsys.readouterr().out)]) == settings


def test_a_class_order_is_resolved_for_the_data_set_of_the_run_and_recorded_itself(config):
    order = parse(["--class_order", "numpy:1993", "--dataset", "CIFAR10"]).class_order
    path = config(str(order), "order.yaml")
    assert parse(["--config", config(f"class_order: {path}\ndataset: Digits")]).class_order == order
    assert sorted(order) == list(range(10))


def test_a_path_may_begin_with_the_home_folder_or_a_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SCRATCH", "/scratch/me")
    (tmp_path / "c.yaml").write_text("dataroot: ~/data\nload_model_dir: $SCRATCH/base\nlog_dir: ~/never\n")
    settings = parse(["--config", "~/c.yaml", "--log_dir=~/run"])
    paths = [settings.dataroot, settings.load_model_dir, settings.log_dir]
    assert paths == [str(tmp_path / "data"), "/scratch/me/base", str(tmp_path / "run")]


def test_help_has_every_flag_or_those_that_a_learner_reads_with_bounds_and_default(capsys):
    def shown(*flags):
        with pytest.raises(SystemExit, match="^0$"):
            parse(["--help", *flags])
        return " ".join(capsys.readouterr().out.split())

    assert [name for name in REGISTRY.flags if f"--{name} " not in shown()] == []
    assert "learning rate; above 0; default: 0.01" in shown() and "--DW [0|1]" in shown()
    bic, abd = shown(*BIC).split(), shown("--learner_name", "AlwaysBeDreaming").split()
    assert {"--bias_at_test", "--lr", "--temp", "--memory"} <= {*bic}
    assert not {"--head_share", "--mu", "--power_iters", "--gen_model_name", "--DW"} & {*bic}
    assert {"--mu", "--power_iters", "--finetune_seen"} <= {*abd} and not {"--temp", "--memory"} & {*abd}


# What is refused


@pytest.mark.parametrize(("flags", "named"), [
    ("--learner_name Nobody", "--learner_name: 'Nobody' is not one of"), ("stray", "stray"),
    *((f"--learner_name {name}", f"; did you mean {meant}?") for name, meant in (
        ("ABD", "AlwaysBeDreaming"), ("Ours", "AlwaysBeDreaming"), ("BiC", "BIC"), ("E2E", "ETE"))),
    ("--learner_nam BIC", "did you mean --learner_name?"), ("--batch 64", "--batch"), ("--lr", "--lr"),
    ("--learner_type kd --learner_name NormalNN", "--learner_type kd"), ("--lr nan", "--lr: 'nan' is not a"),
    ("--lr 0", "--lr: 0.0 is not above 0"), ("--lr fast", "--lr: 'fast' is not a number"),
    ("--momentum 1", "--momentum: 1.0 is not at most 0.999999"),
    ("--repeat 1.5", "--repeat: '1.5' is not a whole number"), ("--overwrite", "--overwrite"),
    ("--batch_size 1", "--batch_size: 1 is not at least 2"), ("--overwrite 2", "2 is not one of 0, 1"),
    ("--DW maybe", "--DW: 'maybe' is not true or false"), ("--schedule 200 100", "epochs must increase"),
    *((f"--learner_type datafree --learner_name AlwaysBeDreaming {values}", "dreams and needs its five")
      for values in ("", "--deep_inv_params 1 2 3 4")), ("--deep_inv_params -2", "--deep_inv_params"),
    ("--first_split_size 101", "--first_split_size 101"), ("--task_sizes 50 51", "--task_sizes"),
    ("--log_dir ''", "--log_dir: is empty"), ("--config nowhere.yaml", "nowhere.yaml: cannot be read"),
    ("--bias_at_test", "these do: BIC"), ("--dataroot ~nobody-here/x", "--dataroot: '~nobody-here/x' names"),
    ("--log_dir $NO_SUCH/x", "--log_dir: '$NO_SUCH/x' names")])
def test_a_wrong_command_line_is_refused_by_name_in_one_line(flags, named):
    assert named in refused(*shlex.split(flags))


@pytest.mark.parametrize(("text", "named"), [
    ("learning_rate: 1", "learning_rate: there is no"), ("batchsize: 64", "did you mean batch_size?"),
    ("lr: [1, 2]", "lr: takes one value"), ("lr: .nan", "lr"), ("lr: null", "lr"), ("lr: true", "lr"),
    ("", "must hold lines"), ("- lr\n- mu", "must hold lines"), ("log_dir: 7", "log_dir: 7 is not"),
    ("schedule: []", "schedule: takes at least one"), ("schedule: [[1]]", "schedule"),
    ("1: 2", "1: there is no such setting"),
    ("!!python/object/apply:os.system [true]", "not valid YAML"), ("lr: [", "not valid YAML"),
    ("learner_name: [a, b]", "learner_name"), ('dataroot: "a\\nb"', "dataroot"),
    ("bias_at_test: 3", "bias_at_test: 3 is not true or false")])
def test_a_wrong_file_is_refused_with_its_name_and_field_in_one_line(config, text, named):
    message = refused("--config", path := config(text))
    assert path in message and named in message
