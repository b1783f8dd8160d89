"""Any combination of settings runs to its end or is refused in one line before work starts.

    EXAMPLES=500 python -m pytest tests/test_fuzz.py         the long version
"""

import os
import tempfile
from pathlib import Path

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
FIXED = {
    "dataset": "Digits", "model_name": "resnet8", "gpuid": -1, "threads": 1, "no_figures": True, "repeat": 1,
    "deep_inv_params": [1e-3, 50.0, 1e-3, 1e3, 1.0], "gen_model_name": "CIFAR_GEN_SMALL",
    "images_per_class": 12}
SMALL = {
    "batch_size": [2, 7, 8, 400], "schedule": [[1], [2], [2, 1]], "power_iters": [1, 2], "max_task": [1, 2],
    "first_split_size": [1, 2, 10, 100], "other_split_size": [1, 2], "memory": [0, 20, 60]}
OTHERS = {"log_dir", "dataroot", "load_model_dir", "tensorboard", "wandb", "workers"}  # need more


def proper(flag):
    """Values that the flag takes, its extremes too."""
    low, high = flag.get("low", 0), flag.get("high", 5)
    value = st.sampled_from(flag["choices"]) if "choices" in flag else {
        bool: st.booleans(), int: st.integers(low, high), str: st.just(""),
        float: st.floats(low, high, exclude_min="above" in flag)}[flag["type"]]
    return st.lists(value, min_size=1, max_size=3) if flag["many"] else value


@st.composite
def configs(draw):
    learner = LEARNERS[name := draw(st.sampled_from(sorted(LEARNERS)))]
    chosen = FIXED | {flag: draw(st.sampled_from(values)) for flag, values in SMALL.items()} | {
        "learner_name": name, "learner_type": learner.learner_type,
        "gen_model_type": learner.generator_type or "generator"}
    others = sorted(learner.Settings.__dataclass_fields__.keys() - chosen.keys() - OTHERS)
    extra = draw(st.sets(st.sampled_from(others), max_size=6))
    return chosen | {other: draw(proper(REGISTRY.flags[other])) for other in sorted(extra)}


@settings(max_examples=EXAMPLES, deadline=None, derandomize=EXAMPLES <= 25, database=None,
          suppress_health_check=list(HealthCheck))
@given(config=configs())
def test_any_settings_run_to_the_end_or_are_refused_in_one_line(digits, config):
    with tempfile.TemporaryDirectory() as folder:
        path, run = Path(folder, "config.yaml"), Path(folder, "run")
        path.write_text(yaml.safe_dump(config))
        try:
            chosen = parse(REGISTRY, ["--config", str(path), "--log_dir", str(run)])
            build_trainer(chosen, digits, RunFolder(chosen), torch.device("cpu")).run()
        except (UserError, RunError) as error:  # a learning rate may be too high, which no check can foresee
            assert "\n" not in str(error) and (isinstance(error, UserError) or "not finite" in str(error))
            assert isinstance(error, RunError) or not (run / "models").exists()
        else:
            assert (run / "results-acc" / "global.yaml").exists()
