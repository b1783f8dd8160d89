"""Any combination of settings runs to its end or is refused in one line before work starts; a traceback is neither.

    EXAMPLES=500 python -m pytest tests/test_fuzz.py         the long version
"""

import contextlib
import dataclasses
import io
import os
import sys
import tempfile
from pathlib import Path
from typing import get_args, get_origin

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

import run
from dataloaders.datasets import DATASETS, Data, Split
from learners import LEARNERS, REGISTRY
from utils.arithmetic import set_deterministic, set_precision

FLAGS = REGISTRY.flags

EXAMPLES = int(os.environ.get("EXAMPLES", 25))

# What keeps a run tiny; everything else comes from the fields themselves.
SIZES = {
    "batch_size": st.integers(2, 8) | st.just(40),
    "repeat": st.integers(1, 2), "max_task": st.sampled_from([1, 2, 2, 2, 3, -1]), "threads": st.just(1),
    "schedule": st.sampled_from([[1], [2], [1, 2], [1, 2], [1, 3], [2, 1]]), "power_iters": st.integers(1, 3), "model_name": st.just("resnet8"),
    "dataset": st.sampled_from(["Digits"] * 8 + ["CIFAR10"] + ["CIFAR100"]), "gpuid": st.just([-1]),
    "first_split_size": st.sampled_from([2] * 6 + [4, 5, 10, 1, 3, 100]), "other_split_size": st.sampled_from([2] * 6 + [1, 1, 3, 5]),
    "gen_model_name": st.sampled_from(["CIFAR_GEN_SMALL"] * 6 + ["CIFAR_GEN", "TINYIMNET_GEN", "IMNET_GEN"]),
}
# How a value may be written that is not one: as a flag, in a file.
NONSENSE = st.sampled_from([
    "", "-1", "nan", "inf", "1e400", "0", "1.5", "x", "1e-45", "True", "99999999999999999999", "ü", "--", "1e30", "\x00", "\udcff"])
WILD = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates()
    | st.lists(st.integers(0, 3), max_size=6) | st.just({"a": 1}))


def proper(field):
    """Values that the field takes, its extremes too."""
    bounds, kind = field.metadata, field.type
    element = get_args(kind)[0] if get_origin(kind) is list else kind
    if "choices" in bounds:
        value = st.sampled_from(bounds["choices"])
    elif element is bool:
        value = st.booleans()
    elif element is int:
        value = st.integers(bounds.get("low", 0), bounds.get("high", 5))
    elif element is float:
        low = max(bounds.get("low", 0.0), bounds.get("above", 0.0))
        value = st.floats(low, bounds.get("high", 10.0), exclude_min="above" in bounds) | st.sampled_from([1e-300, 0.9, 0.01, 0.01])
    else:
        value = st.just("")
    return value if element is kind else st.lists(value, min_size=bounds.get("length", 1), max_size=bounds.get("length", 3))


@st.composite
def commands(draw):
    """(flags, content of a --config file): mostly proper, now and then a wrong value or name among them."""
    learner = draw(st.sampled_from(sorted(LEARNERS)))
    matching = {
        "learner_name": learner, "learner_type": LEARNERS[learner].learner_type,
        "gen_model_type": getattr(LEARNERS[learner], "generator_type", "") or "generator"}
    chosen = {name: draw(SIZES[name]) for name in SIZES}
    mine = {field.name for field in dataclasses.fields(LEARNERS[learner].Settings)}
    others = sorted(mine - SIZES.keys() - matching.keys() - {"memory", "log_dir", "dataroot", "load_model_dir"})
    for name in draw(st.sets(st.sampled_from(others), max_size=6)):
        chosen[name] = draw(proper(FLAGS[name]))
    chosen.setdefault("deep_inv_params", draw(st.sampled_from([[1e-3, 50.0, 1e-3, 1e3, 1.0]] * 9 + [[-1.0]])))
    if chosen["dataset"] == "CIFAR100" and chosen["max_task"] < 0:
        chosen["max_task"] = 2  # not a hundred
    chosen |= matching
    sizes = [20, 60, 10**6] if LEARNERS[learner].takes_coreset else [0]
    chosen["memory"] = draw(st.sampled_from(sizes * 3 + [0, 20]))
    if learner != "NormalNN" and draw(st.booleans()):
        chosen.pop("oracle_flag", None)
    inside = draw(st.sets(st.sampled_from(sorted(chosen)), max_size=8))
    content = {name: chosen.pop(name) for name in inside}
    wrong = draw(st.sampled_from(["no"] * 9 + ["flag", "file", "name", "pair"]))
    if wrong == "file":
        content[draw(st.sampled_from(sorted(FLAGS)))] = draw(WILD)
    if wrong == "pair":
        chosen["learner_type"] = draw(proper(FLAGS["learner_type"]))
    flags = [word for name, value in chosen.items()
             for word in (f"--{name}", *([] if value is True else map(str, value) if isinstance(value, list) else [str(value)]))]
    if wrong == "flag":
        flags += [f"--{draw(st.sampled_from(sorted(FLAGS)))}", *draw(st.lists(NONSENSE, max_size=3))]
    if wrong == "name":
        flags += [draw(st.sampled_from(["--nothing", "stray", "--lr=", "-x"]))]
    return flags, content


def few(name):
    """The data set with a few random images a class."""
    known = DATASETS[name]

    def split(count):
        labels = np.repeat(np.arange(known.classes), count)
        images = np.random.RandomState(0).randint(0, 256, (len(labels), 3, known.image_size, known.image_size)).astype(np.uint8)
        return Split(images, labels)

    data = Data(split(16 if known.classes == 10 else 5), split(2), tuple(map(str, range(known.classes))))
    return dataclasses.replace(known, read=lambda root, *options: data)


@pytest.fixture(scope="module")
def small():
    with pytest.MonkeyPatch.context() as patch:
        for name in ("Digits", "CIFAR10", "CIFAR100"):
            patch.setitem(DATASETS, name, few(name))
        yield


def start(flags):
    """(exit status, stdout, lines of stderr) of run.py in this process."""
    output, errors = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        patch.setattr(sys, "argv", ["run.py", *flags])
        threads = torch.get_num_threads()
        try:
            status = run.main()
        finally:  # what a run sets for its process
            torch.set_num_threads(threads)
            set_deterministic(False)
            set_precision("fp32")
    return status, output.getvalue(), errors.getvalue().splitlines()


@settings(max_examples=EXAMPLES, deadline=None, derandomize=EXAMPLES <= 25, database=None, suppress_health_check=list(HealthCheck))
@given(command=commands())
def test_any_settings_run_to_the_end_or_are_refused_in_one_line(small, command):
    flags, content = command
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # a wrong --log_dir is a folder in here
        Path("config.yaml").write_text(yaml.safe_dump(content), encoding="utf-8", errors="surrogateescape")
        status, output, errors = start(["--config", "config.yaml", "--log_dir", "run", *flags])
        event(f"status {status}")
        if status == 0:
            assert errors == []
            assert output.splitlines()[-1].startswith("final accuracy: ")
            assert list(Path().rglob("results-acc/global.yaml"))
        else:
            line, = errors
            assert line.startswith("run.py: ")
            # Numbers that no check can foresee: a learning rate may be too high for a model.
            assert status == 2 or (status == 1 and "not finite" in line)
            if status == 2:
                assert output == ""
                assert not list(Path().rglob("models"))
