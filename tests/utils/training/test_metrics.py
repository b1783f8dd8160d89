import math

import numpy as np
import pytest
import torch
import yaml

from dataloaders.batches import Images, InMemory, Pixels
from utils.training.metrics import Results, accuracy, mean_std


@pytest.fixture
def results():
    """Two repeats of three tasks, the second one not yet finished."""
    results = Results()
    results.add(0, [90.0], [90.0], 100, 1.0)
    results.add(0, [40.0, 80.0], [70.0, 85.0], 110, 2.0)
    results.add(0, [10.0, 20.0, 60.0], [60.0, 80.0, 60.0], 120, 3.0)
    results.add(1, [80.0], [80.0], 100, 5.0)
    return results


def read(path):
    return yaml.safe_load(path.read_text())


class Fixed(torch.nn.Module):
    """A learner whose logits are the images' first pixels."""

    def predict(self, images):
        return images[:, 0, 0]


@pytest.fixture
def shown():
    """Images of class 2, 3, 2, 3: the best of all four outputs, of the first three, of the last two."""
    logits = torch.tensor([[0, 0, 9, 1], [0, 9, 1, 2], [9, 0, 1, 2], [0, 1, 9, 10]], dtype=torch.uint8)
    images = torch.zeros(4, 3, 4, 4, dtype=torch.uint8)
    images[:, 0, 0] = logits
    return Images.all_of(InMemory(images, torch.tensor([2, 3, 2, 3]), Pixels((0.0,) * 3, (1.0,) * 3)))


def test_accuracy_is_among_all_seen_classes_and_among_the_tasks_own(shown):
    everywhere, local = accuracy(Fixed(), shown, 4, range(2, 4))
    assert (everywhere, local) == (50.0, 75.0)


def test_outputs_that_have_not_been_learned_do_not_count(shown):
    assert accuracy(Fixed(), shown[torch.tensor([0, 2])], 3, range(2, 3)) == (50.0, 100.0)
    shown.source.stored[0, 0, 0, 3] = 255
    assert accuracy(Fixed(), shown[torch.tensor([0])], 3, range(2, 3))[0] == 100.0


@pytest.mark.parametrize(("top_k", "seen", "expected"), [
    (1, 4, (50.0, 75.0)), (2, 4, (75.0, 100.0)), (3, 4, (100.0, 100.0)), (5, 4, (100.0, 100.0)), (2, 3, (50.0, 50.0))])
def test_top_k_counts_a_class_among_the_k_best_of_those_that_compete(shown, top_k, seen, expected):
    assert accuracy(Fixed(), shown, seen, range(2, seen), top_k) == expected


def test_accuracy_after_a_task_is_the_mean_over_tasks(results):
    assert results.accuracies() == [[90.0, 60.0, 30.0], [80.0]]


def test_global_yaml_is_tasks_by_repeats(results, tmp_path):
    results.save(tmp_path, 3)
    content = read(tmp_path / "results-acc" / "global.yaml")
    assert list(content) == ["mean", "std", "history"]
    np.testing.assert_equal(content["history"], [[90.0, 80.0], [60.0, math.nan], [30.0, math.nan]])
    assert content["mean"] == [85.0, 60.0, 30.0]
    assert content["std"] == [5.0, 0.0, 0.0]


def test_pt_yaml_is_tasks_by_tasks_by_repeats(results, tmp_path):
    results.save(tmp_path, 3)
    content = read(tmp_path / "results-acc" / "pt.yaml")
    assert np.shape(content["history"]) == (3, 3, 2)
    assert [column[0] for column in content["history"][1]] == pytest.approx([40.0, 80.0, math.nan], nan_ok=True)
    assert content["mean"][0][0] == 85.0
    assert math.isnan(content["mean"][0][2])


def test_accuracies_other_than_top_1_say_so(results, tmp_path):
    results.save(tmp_path, 3, top_k=5)
    paths = ("acc/global", "acc/pt", "acc/pt-local", "mem/global", "time/global")
    said = {path: read(tmp_path / f"results-{path}.yaml").get("top_k") for path in paths}
    assert said == {"acc/global": 5, "acc/pt": 5, "acc/pt-local": 5, "mem/global": None, "time/global": None}


def test_local_memory_and_time_have_their_files(results, tmp_path):
    results.save(tmp_path, 3)
    assert read(tmp_path / "results-acc" / "pt-local.yaml")["history"][2][1][0] == 80.0
    assert [row[0] for row in read(tmp_path / "results-mem" / "global.yaml")["history"]] == [100, 110, 120]
    assert read(tmp_path / "results-time" / "global.yaml")["history"][0] == [1.0, 5.0]


def test_the_deviation_is_the_populations():
    assert mean_std([1.0, 3.0]) == (2.0, 1.0)


def test_results_go_on_from_their_state(results):
    again = Results(results.state_dict())
    again.add(1, [30.0, 70.0], [30.0, 70.0], 110, 6.0)
    assert again.accuracies() == [[90.0, 60.0, 30.0], [80.0, 50.0]]
