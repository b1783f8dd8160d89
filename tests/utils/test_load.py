"""A trained model is loaded and used in three lines."""

import numpy as np
import pytest
import torch

from utils.errors import UserError
from utils.files import read_tensors
from utils.load import load_run
from utils.training.listeners import Listener


@pytest.mark.parametrize("name", ["AlwaysBeDreaming", "Generative_Replay"])
def test_a_loaded_model_is_as_accurate_as_the_run_measured(finished, digits, name):
    run = load_run(finished(name))
    assert run.task == 2 and len(run.class_names) == 4
    images, labels = digits.test
    chosen = np.isin(labels, run.numbers)
    predicted = run.predict(images[chosen])
    assert predicted.names == [digits.names[k] for k in predicted.classes]
    assert predicted.probabilities.shape == (chosen.sum(), 4)
    right = 100 * np.mean(np.array(predicted.classes) == labels[chosen])
    assert right == pytest.approx(run.results["over-images"][1, 0])


@pytest.mark.parametrize("name", ["AlwaysBeDreaming", "Generative_Replay"])
def test_dreams_are_those_that_the_next_task_replays(finished, name):
    run = load_run(finished(name), task=1)
    dreams = run.dream(5)
    assert dreams.dtype == torch.uint8 and dreams.shape == (5, 3, 32, 32) and dreams.float().std() > 1
    assert torch.equal(dreams, run.dream(5)) and not torch.equal(dreams, run.dream(5, seed=1))
    assert len(run.class_names) == 2 and torch.isfinite(run.features(dreams)).all()


def test_a_run_under_way_is_loaded_from_its_checkpoint(trainer, tmp_path):
    stopped = trainer(tmp_path / "run", "AlwaysBeDreaming")

    class StopInSecondTask(Listener):
        def epoch_ended(self, run, *_):
            if run.place.task == 1 and run.stage.name == "learn":
                raise KeyboardInterrupt

    stopped.listeners.append(StopInSecondTask())
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    run = load_run(tmp_path / "run", task=0)
    weights = read_tensors(tmp_path / "run" / "checkpoint.pt")["learner"]["model.conv1.weight"]
    assert run.task == 2 and torch.equal(run.learner.model.conv1.weight, weights)
    assert run.dream(3).shape == (3, 3, 32, 32)


def test_what_cannot_be_loaded_is_one_line(finished, tmp_path):
    with pytest.raises(UserError, match="no dreams after task 2"):
        load_run(finished("AlwaysBeDreaming")).dream(5)
    run = load_run(finished("AlwaysBeDreaming"))
    with pytest.raises(UserError, match=r"uint8 \[N, 3, 32, 32\]"):
        run.predict(torch.rand(2, 3, 32, 32))
    with pytest.raises(UserError, match="args.yaml: cannot be read"):
        load_run(tmp_path)
    with pytest.raises(UserError, match="no model of task 5 of repeat 1"):
        load_run(finished("AlwaysBeDreaming"), task=5)
