import json
import shutil

import authors
import conformance
import pytest
import successors
from conformance import GOLDEN, SUCCESSORS

CASES = sorted(path.stem for path in GOLDEN.glob("*.json"))
PATHS = [path for folder in (GOLDEN, SUCCESSORS) for path in sorted(folder.glob("*.json"))]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_the_code_computes_what_the_published_implementation_does(path):
    assert conformance.replay(path) <= 1


def test_the_golden_numbers_are_in_the_repository_for_every_learner_and_kind():
    known = {name for case in CASES if (name := conformance.known(case, conformance.CASES))}
    assert {authors.LEARNER_OF_CASE[name] for name in known & {*authors.LEARNER_OF_CASE}} \
        == set(authors.LEARNER_OF_CASE.values())
    assert {*conformance.CASES} - {*authors.LEARNER_OF_CASE} <= known
    assert len([case for case in CASES if case.endswith("_first_task")]) >= 8 and "bic_weighted" in CASES
    goldens = [json.loads(path.read_text()) for path in SUCCESSORS.glob("*.json")]
    kinds = {successors.kind_of(golden["recipe"], golden["expected"])[0] for golden in goldens}
    assert kinds == {run for *_, run in successors.KINDS}
    assert all((folder / "README.md").is_file() for folder in (GOLDEN, SUCCESSORS))


def recipe_of(name):
    return json.loads((GOLDEN / f"{name}.json").read_text())["recipe"]


def case_of(folder, name, like, **recipe):
    """A case of another name with the numbers of ``like`` and these in its recipe."""
    golden = json.loads((GOLDEN / f"{like}.json").read_text())
    golden["case"] = name
    golden["recipe"] |= recipe
    path = folder / f"{name}.json"
    path.write_text(json.dumps(golden))
    return path


@pytest.mark.parametrize("like", ["abd", "lwf_mc", "bic", "e2e"])
def test_learners_that_do_not_read_DW_have_their_numbers_with_it(tmp_path, like):
    counts = list(range(1, recipe_of(like)["seen_classes"] + 1))
    published = {"weight_decay": 2e-4, "learning_rate": 0.1, "momentum": 0.9}
    case = case_of(tmp_path, f"{like}_weighted", like, DW=True, images_per_class=counts, **published)
    assert conformance.replay(case) <= 1


@pytest.mark.parametrize("like", ["deep_inversion", "lwf_synthetic", "lwf"])
def test_learners_that_read_DW_have_their_numbers_where_all_classes_are_equally_frequent(tmp_path, like):
    seen = recipe_of(like)["seen_classes"]
    for counts, same in (([7] * seen, True), (list(range(1, seen + 1)), False)):
        case = case_of(tmp_path, f"{like}_weighted", like, DW=True, images_per_class=counts)
        assert (conformance.replay(case) <= 1) == same


@pytest.mark.parametrize(("like", "setting"), [
    ("lwf", {"weight_decay": 0.05}), ("lwf", {"learning_rate": 0.05}), ("lwf", {"momentum": 0.5}),
    ("lwf", {"distillation_weight": 0.5}), ("lwf", {"temperature": 3.0})])
def test_settings_of_any_recipe_are_used(tmp_path, like, setting):
    assert conformance.replay(case_of(tmp_path, f"{like}_varied", like, **setting)) > 1


def test_the_weight_of_the_class_balance_is_used(tmp_path):
    weights = recipe_of("inversion")["weights"] | {"class_balance": 0.5}
    assert conformance.replay(case_of(tmp_path, "inversion_unbalanced", "inversion", weights=weights)) > 1


@pytest.mark.parametrize(("name", "like", "recipe", "expected"), [
    ("of_no_learner", "lwf", {}, "no case of this name"), ("lwf_twisted", "lwf", {"twist": 1}, "twist"),
    ("dgr_twisted", "dgr", {"twist": 1}, "twist"), ("coreset_twisted", "coreset", {"twist": 1}, "twist"),
    ("inversion_twisted", "inversion", {"twist": 1}, "twist")])
def test_what_cannot_be_replayed_has_failed(tmp_path, capsys, name, like, recipe, expected):
    case_of(tmp_path, name, like, **recipe)
    shutil.copy(GOLDEN / "class_order.json", tmp_path)
    assert conformance.main(tmp_path) == 1
    *lines, last = capsys.readouterr().out.splitlines()
    assert any(line.startswith(name) and " failed " in line and expected in line for line in lines)
    assert last == "1 passed, 1 failed, 0 skipped"


@pytest.mark.parametrize("change", ["loss", "weights", "a quantity", "damaged"])
def test_a_number_that_is_off_or_that_nothing_compares_fails(tmp_path, capsys, change):
    case = json.loads((GOLDEN / "base_first_task.json").read_text())
    if change == "loss":
        case["expected"]["total"][-1] *= 1 + 1e-4
    elif change == "weights":
        next(iter(case["expected"]["state"].values()))[0] *= 1 + 1e-4
    else:
        case["expected"]["entropy"] = [1.0]
    (tmp_path / "base_first_task.json").write_text("{" if change == "damaged" else json.dumps(case))
    assert conformance.main(tmp_path) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "0 passed, 1 failed, 0 skipped"


def test_a_nan_is_no_agreement_and_an_empty_folder_a_failure(tmp_path, capsys):
    assert conformance.worst([0.0, float("nan")]) == float("inf")
    assert conformance.main(tmp_path) == 1
    assert "no golden files" in capsys.readouterr().err
