"""How the classes are split into tasks, and their order."""

import dataclasses
import functools
import shlex

import pytest

from dataloaders.tasks import task_ranges
from learners import REGISTRY
from utils import command_line
from utils.errors import UserError
from utils.files import write_yaml

parse = functools.partial(command_line.parse, REGISTRY)


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
