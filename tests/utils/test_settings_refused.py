"""Command lines and files of settings that are refused."""

import functools
import shlex

import pytest

from learners import REGISTRY
from models import GENERATORS
from utils import command_line
from utils.errors import UserError

parse = functools.partial(command_line.parse, REGISTRY)

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
    ("--repeat 2 --load_model_dir outputs/../a --log_dir a", ["--load_model_dir outputs/../a", "--log_dir"]),
    ("--log_dir ''", ["--log_dir", "empty"]),
    ("--dataroot ''", ["--dataroot", "empty"]),
    ("--power_iters 99999999999999999999999", ["--power_iters", "10000000"]),
    ("--repeat 99999999999999999999", ["--repeat", "10000"]),
    ("--schedule 99999999999999999999", ["--schedule", "100000"]),
    ("--memory 99999999999999999999", ["--memory", "1000000000"]),
    ("--workers 99999999999999999999", ["--workers", "256"]),
    ("--lr 1_0", ["--lr", "'1_0'"]),
    ("--batch_size 010", ["--batch_size", "'010'"]),
    ("--batch_size 0x10", ["--batch_size", "'0x10'"]),
    ("--config ''", ["--config", "empty"]),
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
    ("lr: 0.1\nmu: 1\nlr: 0.5", "lr is there twice"),
    ("lr: {a: 1, a: 2}", "a is there twice"),
    ("batch_size: 010", "'010'"),
    ("lr: 010", "'010'"),
    ("batch_size: 0x10", "'0x10'"),
    ("batch_size: 1_0", "'1_0'"),
    ("batch_size: 1:30", "'1:30'"),
    ("lr: 1:30.5", "'1:30.5'"),
    ("schedule: [1, 0b10]", "'0b10'"),
    ("class_order: [010, 1]", "'010'"),
    ("", "no settings"),
    ("# lr: 0.1", "no settings"),
    ("lr: true", "lr"),
    ("lr: null", "lr"),
    ("lr: {a: 1}", "lr"),
    ("repeat: 1.5", "repeat"),
    ("repeat: .inf", "repeat"),
    ("train_aug: 2", "train_aug"),
    ("train_aug: 'maybe'", "train_aug"),
    ("train_aug: 1.0", "train_aug"),
    ("log_dir: 7", "log_dir"),
    ("log_dir: ''", "log_dir"),
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
