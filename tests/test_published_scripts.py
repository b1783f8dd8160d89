"""Command lines of the 2021 scripts, shortened: what they computed there they compute here."""

import shlex

import torch

from learners import REGISTRY
from run import build_trainer
from utils.command_line import parse
from utils.training.folder import RunFolder

PUBLISHED = """--overwrite 0 --gpuid -1 --repeat 1 --rand_split --model_type resnet --optimizer SGD
    --momentum 0.9 --weight_decay 0.0002 --schedule_type decay --beta 1 --temp 2 --memory 200
    --learner_type kd --mu 1"""
# Three tasks, so that the classes of the coreset and the new ones have several frequencies.
SHORT = """--dataset Digits --first_split_size 4 --other_split_size 2 --max_task 3 --model_name resnet8
    --lr 0.05 --schedule 1 --batch_size 32 --threads 1 --no_figures"""


def test_e2e_and_bic_take_DW_as_published_and_do_not_read_it(digits, lasting, tmp_path):
    def files(method, *more):
        folder = tmp_path / "".join((method, *more))
        flags = shlex.split(f"{PUBLISHED} {SHORT} --learner_name {method} --log_dir {folder}")
        settings = parse(REGISTRY, [*flags, *more])
        assert settings.DW == bool(more)
        build_trainer(settings, digits, RunFolder(settings), torch.device("cpu")).run()
        return lasting(folder)

    assert files("ETE", "--DW") == files("ETE")
    assert files("BIC", "--DW") == files("BIC")
    assert files("LWF", "--DW") != files("LWF")  # which reads it
