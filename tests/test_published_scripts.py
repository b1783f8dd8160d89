"""Command lines of the 2021 scripts, shortened: what they computed there they compute here."""

import shlex

import pytest
import torch

from learners import REGISTRY
from run import build_trainer
from utils.command_line import parse
from utils.training.checkpoint import RunFolder

COMMON = """--overwrite 0 --gpuid -1 --repeat 1 --rand_split --model_type resnet --optimizer SGD --momentum 0.9 --weight_decay 0.0002
    --schedule_type decay --beta 1 --temp 2 --memory 200 --DW"""
PUBLISHED = {
    "E2E": f"{COMMON} --learner_type kd --learner_name ETE --mu 1",
    "BiC": f"{COMMON} --learner_type kd --learner_name BIC --mu 1",
}
# Three tasks, so that the coreset's classes and the new ones are of several frequencies.
SHORT = """--dataset Digits --first_split_size 4 --other_split_size 2 --max_task 3 --model_name resnet8 --lr 0.05 --schedule 1
    --batch_size 32 --threads 1 --no_figures"""


@pytest.mark.parametrize("method", PUBLISHED)
def test_the_published_lines_of_methods_that_do_not_read_DW_give_the_bytes_of_those_without(method, digits, lasting, tmp_path):
    flags = shlex.split(f"{PUBLISHED[method]} {SHORT}")
    files = {}
    for name, line in (("with", flags), ("without", [flag for flag in flags if flag != "--DW"])):
        settings = parse(REGISTRY, [*line, "--log_dir", str(tmp_path / name)])
        assert settings.DW == (name == "with")
        build_trainer(settings, digits, RunFolder(settings), torch.device("cpu")).run()
        files[name] = lasting(tmp_path / name)
    assert {path.split("/")[0] for path in files["with"]} == {"models", "results-acc", "results-mem"}
    assert files["with"] == files["without"]


def test_a_method_that_reads_DW_gives_others(digits, lasting, tmp_path):
    """Else the test above could not fail."""
    flags = shlex.split(f"{PUBLISHED['E2E'].replace('ETE', 'LWF')} {SHORT} --max_task 2")
    found = []
    for name, line in (("with", flags), ("without", [flag for flag in flags if flag != "--DW"])):
        settings = parse(REGISTRY, [*line, "--log_dir", str(tmp_path / name)])
        build_trainer(settings, digits, RunFolder(settings), torch.device("cpu")).run()
        found.append(lasting(tmp_path / name))
    assert found[0] != found[1]
