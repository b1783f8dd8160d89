"""Any combination of settings runs to its end or is refused in one line before work starts.

    EXAMPLES=500 python -m pytest tests/test_fuzz.py         the long version
"""

import os
import tempfile
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from learners import LEARNERS, REGISTRY
from run import build_trainer
from utils.command_line import parse
from utils.errors import RunError, UserError
from utils.training.folder import RunFolder

EXAMPLES = int(os.environ.get("EXAMPLES", 25))
TINY = {
    "dataset": st.just("Digits"), "model_name": st.just("resnet8"), "gpuid": st.just([-1]),
    "threads": st.just(1), "batch_size": st.integers(2, 8) | st.just(400), "no_figures": st.just(True),
    "repeat": st.just(1), "schedule": st.sampled_from([[1], [2], [2, 1]]), "power_iters": st.integers(1, 2),
    "max_task": st.sampled_from([1, 2]), "images_per_class": st.sampled_from([0, 12]),
    "first_split_size": st.sampled_from([1, 2, 2, 10, 100]), "other_split_size": st.sampled_from([1, 2]),
    "gen_model_name": st.sampled_from(["CIFAR_GEN_SMALL"] * 4 + ["IMNET_GEN"]),
    "memory": st.sampled_from([0, 20, 60]),
    "deep_inv_params": st.sampled_from([[1e-3, 50.0, 1e-3, 1e3, 1.0]] * 9 + [[-1.0]])}
WRONG = st.sampled_from([
    "", "-1", "nan", "1e400", "0", "1.5", "x", "True", "99999999999999999999", "1_0", "\x00", "\udcff", None,
    True, {"a": 1}, [], [0, 1, 2], [[1]], 2.5])
NO_FILES = {"log_dir", "dataroot", "load_model_dir", "tensorboard", "workers"}


def proper(flag):
    """Values that the flag takes, its extremes too."""
    low, high = flag["low"] or 0, flag["high"] or 5
    value = st.sampled_from(flag["choices"]) if flag["choices"] else {
        bool: st.booleans(), int: st.integers(low, high), str: st.just(""),
        float: st.floats(low, high, exclude_min=flag["above"] is not None)}[flag["type"]]
    return st.lists(value, min_size=1, max_size=3) if flag["many"] else value


@st.composite
def commands(draw):
    """(flags, content of a --config file): mostly proper, sometimes with a wrong value or name."""
    name = draw(st.sampled_from(sorted(LEARNERS)))
    chosen = {flag: draw(values) for flag, values in TINY.items()} | {
        "learner_name": name, "learner_type": LEARNERS[name].learner_type,
        "gen_model_type": LEARNERS[name].generator_type or "generator"}
    others = sorted(LEARNERS[name].Settings.__dataclass_fields__.keys() - chosen.keys() - NO_FILES)
    for other in draw(st.sets(st.sampled_from(others), max_size=6)):
        chosen[other] = draw(proper(REGISTRY.flags[other]))
    content = {flag: chosen.pop(flag) for flag in draw(st.sets(st.sampled_from(sorted(chosen)), max_size=8))}
    flags = [word for flag, value in chosen.items()
             for word in (f"--{flag}", *map(str, value if isinstance(value, list) else [value]))]
    wrong = draw(st.sampled_from(["no"] * 9 + ["flag", "file", "name"]))
    if wrong == "file":
        content[draw(st.sampled_from(sorted(REGISTRY.flags)))] = draw(WRONG)
    elif wrong == "flag":
        flags += [f"--{draw(st.sampled_from(sorted(REGISTRY.flags)))}", str(draw(WRONG))]
    elif wrong == "name":
        flags += draw(st.sampled_from([["--nothing"], ["stray"], ["--lr="]]))
    return flags, content


@settings(max_examples=EXAMPLES, deadline=None, derandomize=EXAMPLES <= 25, database=None,
          suppress_health_check=list(HealthCheck))
@given(command=commands())
def test_any_settings_run_to_the_end_or_are_refused_in_one_line(digits, command):
    flags, content = command
    train, test = (type(part)(part.images[:150], part.labels[:150]) for part in (digits.train, digits.test))
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("config.yaml").write_text(yaml.safe_dump(content), encoding="utf-8", errors="surrogateescape")
        try:
            found = parse(REGISTRY, ["--config", "config.yaml", *flags])
            data = digits._replace(train=train, test=test)
            build_trainer(found, data, RunFolder(found), torch.device("cpu")).run()
        except (UserError, RunError) as error:  # a learning rate may be too high, which no check can foresee
            assert "\n" not in str(error) and (isinstance(error, UserError) or "not finite" in str(error))
            assert isinstance(error, RunError) or not list(Path().rglob("models"))
        else:
            assert list(Path().rglob("results-acc/global.yaml"))
