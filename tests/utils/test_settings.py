import dataclasses
import functools

import pytest
import yaml

from learners import REGISTRY
from utils import command_line
from utils.errors import UserError
from utils.files import write_yaml
from utils.settings import Settings

parse = functools.partial(command_line.parse, REGISTRY)


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


def test_the_last_of_several_files_wins_also_where_one_is_named_twice(config):
    first, second = config("lr: 0.2"), config("lr: 0.3", "second.yaml")
    assert parse(["--config", first, second, first]).lr == 0.2


def test_a_second_config_flag_adds_its_files_to_those_of_the_first(config):
    settings = parse(["--config", config("lr: 0.2\nmu: 0.5"), "--config", config("lr: 0.3", "second.yaml")])
    assert (settings.lr, settings.mu) == (0.3, 0.5)


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
