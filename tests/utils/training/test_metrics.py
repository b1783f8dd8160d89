import json
import math

import numpy as np
import pytest
import torch
import yaml

from utils.files import read_tensors, write_tensors
from utils.training.measures import Measures
from utils.training.results import Results, mean_std


@pytest.fixture
def results():
    """Two repeats of three tasks, the second one not yet finished."""
    results = Results()
    results.add(0, Measures([90.0], [90.0]), 100, 1.0)
    results.add(0, Measures([40.0, 80.0], [70.0, 85.0]), 110, 2.0)
    results.add(0, Measures([10.0, 20.0, 60.0], [60.0, 80.0, 60.0]), 120, 3.0)
    results.add(1, Measures([80.0], [80.0]), 100, 5.0)
    return results


def read(path):
    return yaml.safe_load(path.read_text())


def test_accuracy_after_a_task_is_the_mean_over_tasks(results):
    assert results.accuracies() == [[90.0, 60.0, 30.0], [80.0]]


def test_global_yaml_is_tasks_by_repeats(results, tmp_path):
    results.save(tmp_path, 3)
    content = read(tmp_path / "results-acc" / "global.yaml")
    assert list(content) == ["mean", "std", "history"]
    np.testing.assert_equal(content["history"], [[90.0, 80.0], [60.0, math.nan], [30.0, math.nan]])
    assert content["mean"] == [85.0, 60.0, 30.0]
    assert content["std"] == [5.0, 0.0, 0.0]


def test_pt_yaml_is_on_task_after_task_repeat_as_published_and_says_so(results, tmp_path):
    results.save(tmp_path, 3)
    content = read(tmp_path / "results-acc" / "pt.yaml")
    assert content["axes"] == ["on task", "after task", "repeat"]
    whole, begun = np.moveaxis(np.array(content["history"]), 2, 0)
    assert whole.tolist() == [[90.0, 40.0, 10.0], [0.0, 80.0, 20.0], [0.0, 0.0, 60.0]]  # 0 where the task came later
    np.testing.assert_equal(begun, [[80.0, math.nan, math.nan], [0.0, math.nan, math.nan], [0.0, 0.0, math.nan]])  # .nan: not measured yet
    assert content["mean"] == [[85.0, 40.0, 10.0], [0.0, 80.0, 20.0], [0.0, 0.0, 60.0]]
    assert content["std"][0] == [5.0, 0.0, 0.0]


def test_a_plotting_script_of_the_published_code_reads_the_files(results, tmp_path):
    """As it did: accuracy on the tasks so far after each, and the first task's over time."""
    results.save(tmp_path, 3)
    history = np.array(read(tmp_path / "results-acc" / "pt.yaml")["history"])[..., 0]
    assert [history[: after + 1, after].mean() for after in range(3)] == [90.0, 60.0, 30.0]
    assert history[0].tolist() == [90.0, 40.0, 10.0]


def test_notes_are_in_the_files_with_accuracies(results, tmp_path):
    results.save(tmp_path, 3, notes={"load_any": "elsewhere"})
    for path, expected in (("acc/global", "elsewhere"), ("acc/pt", "elsewhere"), ("mem/global", None)):
        assert read(tmp_path / f"results-{path}.yaml").get("load_any") == expected


def test_accuracies_other_than_top_1_say_so(results, tmp_path):
    results.save(tmp_path, 3, top_k=5)
    paths = ("acc/global", "acc/pt", "acc/pt-local", "mem/global", "time/global")
    expected = {path: read(tmp_path / f"results-{path}.yaml").get("top_k") for path in paths}
    assert expected == {"acc/global": 5, "acc/pt": 5, "acc/pt-local": 5, "mem/global": None, "time/global": None}


def test_local_memory_and_time_have_their_files(results, tmp_path):
    results.save(tmp_path, 3)
    assert read(tmp_path / "results-acc" / "pt-local.yaml")["history"][1][2][0] == 80.0
    assert [row[0] for row in read(tmp_path / "results-mem" / "global.yaml")["history"]] == [100, 110, 120]
    assert read(tmp_path / "results-time" / "global.yaml")["history"][0] == [1.0, 5.0]


def test_the_deviation_is_the_populations():
    assert mean_std([1.0, 3.0]) == (2.0, 1.0)


def test_results_go_on_from_their_state(results):
    again = Results(results.state_dict())
    again.add(1, Measures([30.0, 70.0], [30.0, 70.0]), 110, 6.0)
    assert again.accuracies() == [[90.0, 60.0, 30.0], [80.0, 50.0]]


# Tasks of unequal size


@pytest.fixture
def uneven():
    """Two repeats of a task of 300 and one of 100 test images."""
    results = Results()
    for repeat in (0, 1):
        first = Measures([80.0 + repeat], [80.0], [300], 80.0 + repeat, 100.0, 70.0, torch.tensor([[5, 1], [0, 6]]))
        then = Measures([40.0 + repeat, 80.0], [80.0, 90.0], [300, 100], 50.0, 90.0, 60.0, torch.arange(16).view(4, 4))
        results.add(repeat, first, 1, 1.0)
        results.add(repeat, then, 1, 1.0)
    return results


def test_both_kinds_of_accuracy_have_their_file(uneven, tmp_path):
    uneven.save(tmp_path, 2)
    mean, images = (read(tmp_path / "results-acc" / f"{name}.yaml") for name in ("global", "over-images"))
    assert mean["history"] == [[80.0, 81.0], [60.0, 60.5]]
    assert images["history"] == [[80.0, 81.0], [50.0, 50.75]]
    assert list(images) == ["mean", "std", "history"] and images["mean"] == [80.5, 50.375]


def test_tasks_of_equal_size_have_one_accuracy_in_both_files(tmp_path):
    results = Results()
    results.add(0, Measures([10.1, 20.2, 60.7], [0.0] * 3, [100] * 3), 1, 1.0)
    results.save(tmp_path, 3)
    mean, images = (read(tmp_path / "results-acc" / f"{name}.yaml") for name in ("global", "over-images"))
    assert images["history"][0] == pytest.approx(mean["history"][0], abs=1e-12)
    assert not results.uneven and results.latest(0, "%") == "30.3 %"


def test_old_new_top_1_top_5_and_nearest_class_mean_have_their_files(uneven, tmp_path):
    uneven.save(tmp_path, 3, top_k=5)
    found = {name: read(tmp_path / "results-acc" / f"{name}.yaml") for name in ("old", "new", "top1", "top5", "ncm")}
    np.testing.assert_equal(found["old"]["history"], [[math.nan] * 2, [40.0, 41.0], [math.nan] * 2])
    np.testing.assert_equal(found["new"]["history"], [[80.0, 81.0], [80.0, 80.0], [math.nan] * 2])
    assert [found[name]["history"][1] for name in ("top1", "top5", "ncm")] == [[50.0] * 2, [90.0] * 2, [60.0] * 2]
    assert {name: content.get("top_k") for name, content in found.items()} == {"old": 5, "new": 5, "top1": None, "top5": None, "ncm": None}


def test_the_confusion_of_each_finished_repeat_has_its_file(uneven, tmp_path):
    uneven.add(2, Measures([1.0], [1.0], [300], confusion=torch.zeros(2, 2, dtype=torch.long)), 1, 1.0)
    uneven.save(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.rglob("*.npy")) == ["confusion-repeat-1.npy", "confusion-repeat-2.npy"]
    assert np.load(tmp_path / "results-acc" / "confusion-repeat-2.npy").tolist() == np.arange(16).reshape(4, 4).tolist()


def test_a_record_has_each_measure_by_name_and_is_valid_json(uneven):
    assert uneven.record(1) == {
        "accuracy": 60.5, "accuracy_over_images": 50.75, "by_task": [41.0, 80.0], "by_task_local": [80.0, 90.0],
        "old": 41.0, "new": 80.0, "top1": 50.0, "top5": 90.0, "ncm": 60.0}
    first = Results()
    first.add(0, Measures([90.0], [90.0]), 1, 1.0)
    unknown = {name for name, value in json.loads(json.dumps(first.record(0), allow_nan=False)).items() if value is None}
    assert unknown == {"accuracy_over_images", "old", "top1", "top5", "ncm"}


def test_each_kind_of_accuracy_is_named_where_tasks_are_uneven(uneven):
    assert uneven.uneven
    assert uneven.latest(1, "% (top-5)") == "60.5 % (top-5) mean of tasks, 50.8 % (top-5) over images"


def test_results_survive_a_checkpoint(uneven, tmp_path):
    write_tensors(tmp_path / "state", uneven.state_dict())
    again = Results(read_tensors(tmp_path / "state"))
    again.save(tmp_path / "again", 2)
    uneven.save(tmp_path / "first", 2)
    files = [sorted((tmp_path / name / "results-acc").iterdir()) for name in ("first", "again")]
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]] and len(files[0]) == 11


def test_a_run_of_before_goes_on_and_what_it_has_not_measured_is_unknown(results, tmp_path):
    before = {name: results.state_dict()[name] for name in ("matrix", "local", "memory", "seconds")}
    again = Results(before)
    again.add(1, Measures([30.0, 70.0], [30.0, 70.0], [10, 30], 60.0, 100.0, 65.0, torch.zeros(4, 4, dtype=torch.long)), 110, 6.0)
    again.save(tmp_path, 3)
    for name, last in (("top1", 60.0), ("top5", 100.0), ("ncm", 65.0), ("over-images", 60.0)):
        content = read(tmp_path / "results-acc" / f"{name}.yaml")
        np.testing.assert_equal(content["history"], [[math.nan, math.nan], [math.nan, last], [math.nan] * 2])
    np.testing.assert_equal(read(tmp_path / "results-acc" / "global.yaml")["history"][1], [60.0, 50.0])
