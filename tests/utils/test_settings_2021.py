"""The command line and the args.yaml of the published code of 2021."""

import dataclasses
import functools
import shlex

import pytest
import yaml

from learners import REGISTRY
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


def test_recorded_settings_repeat_the_run(tmp_path):
    settings = parse([*shlex.split(ABD), "--load_model_dir", "x", "--no_figures"])
    write_yaml(tmp_path / "args.yaml", dataclasses.asdict(settings))
    assert parse(["--config", str(tmp_path / "args.yaml")]) == settings


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
