"""The golden numbers, and that their replay notices what differs."""

import json
import shutil

import conformance
import pytest
from conformance import GOLDEN, SUCCESSORS

PATHS = [path for folder in (GOLDEN, SUCCESSORS) for path in sorted(folder.glob("*.json"))]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_the_code_computes_what_the_published_implementation_does(path):
    assert conformance.replay(path) <= 1


def varied(folder, name, like, **recipe):
    """A case with the numbers of another one, but these in its recipe."""
    golden = json.loads((GOLDEN / f"{like}.json").read_text())
    path = folder / f"{name}.json"
    path.write_text(json.dumps({**golden, "case": name, "recipe": {**golden["recipe"], **recipe}}))
    return path


@pytest.mark.parametrize("setting", [
    {"weight_decay": 0.05}, {"learning_rate": 0.05}, {"momentum": 0.5}, {"distillation_weight": 0.5},
    {"temperature": 3.0}, {"DW": True, "images_per_class": [*range(1, 41)]}])
def test_the_settings_of_a_recipe_are_used(tmp_path, setting):
    assert conformance.replay(varied(tmp_path, "lwf_varied", "lwf", **setting)) > 1


@pytest.mark.parametrize(("name", "like", "recipe", "reason"), [
    ("of_no_learner", "lwf", {}, "no case of this name"), ("lwf_twisted", "lwf", {"twist": 1}, "twist"),
    ("inversion_twisted", "inversion", {"weights": {"twist": 1}}, "twist")])
def test_what_cannot_be_replayed_has_failed(tmp_path, capsys, name, like, recipe, reason):
    varied(tmp_path, name, like, **recipe)
    shutil.copy(GOLDEN / "class_order.json", tmp_path)
    assert conformance.main(tmp_path) == 1
    *lines, last = capsys.readouterr().out.splitlines()
    assert any(line.startswith(name) and " failed " in line and reason in line for line in lines)
    assert last == "1 passed, 1 failed, 0 skipped"


@pytest.mark.parametrize("change", ["loss", "weights", "a quantity that nothing compares"])
def test_a_number_that_is_off_fails(tmp_path, change):
    golden = json.loads((GOLDEN / "base_first_task.json").read_text())
    if change == "loss":
        golden["expected"]["total"][-1] *= 1 + 1e-4
    elif change == "weights":
        next(iter(golden["expected"]["state"].values()))[0] *= 1 + 1e-4
    else:
        golden["expected"]["entropy"] = [1.0]
    (tmp_path / "base_first_task.json").write_text(json.dumps(golden))
    assert conformance.main(tmp_path) == 1


def test_a_nan_is_no_agreement_and_a_missing_golden_number_a_failure(tmp_path, capsys):
    assert len(PATHS) >= 64
    assert conformance.worst([0.0, float("nan")]) == float("inf")
    assert conformance.main(tmp_path) == 1
    assert "no golden files" in capsys.readouterr().err
