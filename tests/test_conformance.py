import itertools
import json
import shutil
import subprocess
import sys

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


def test_the_golden_numbers_are_in_the_repository_with_what_is_needed_to_read_them():
    learners = {authors.LEARNER_OF_CASE[name] for case in CASES if (name := conformance.known(case, authors.LEARNER_OF_CASE))}
    assert learners == set(authors.LEARNER_OF_CASE.values())
    assert {*conformance.CASES} - {*authors.LEARNER_OF_CASE} <= {conformance.known(case, conformance.CASES) for case in CASES}
    assert len([case for case in CASES if case.endswith("_first_task")]) >= 8
    assert "bic_weighted" in CASES
    found = [successors.kind_of(*(json.loads(path.read_text())[part] for part in ("recipe", "expected")))[0] for path in SUCCESSORS.glob("*.json")]
    assert {*found} == {run for *_, run in successors.KINDS}
    assert all((folder / "README.md").is_file() for folder in (GOLDEN, SUCCESSORS))


def run_script(root, environment, folder, *arguments):
    command = [sys.executable, str(root / "tests" / "conformance.py"), *arguments]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=120)


def test_the_script_counts_its_cases_and_exits_with_0(tmp_path, environment, root):
    for name in ("class_order", "base_first_task"):
        shutil.copy(GOLDEN / f"{name}.json", tmp_path)
    done = run_script(root, environment, tmp_path, str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    *cases, last = done.stdout.splitlines()
    assert [line.split()[0] for line in cases] == ["base_first_task", "class_order"]
    assert last == "2 passed, 0 failed, 0 skipped"


def test_without_a_folder_the_script_takes_those_of_the_repository(capsys, monkeypatch, root):
    asked = []
    monkeypatch.setattr(conformance, "main", lambda *folders: asked.append([str(folder) for folder in folders]))
    source = (root / "tests" / "conformance.py").read_text()
    last = source[source.index('if __name__ == "__main__":') :].splitlines()[1].strip()
    for arguments in ([], ["elsewhere"]):
        monkeypatch.setattr(sys, "argv", ["conformance.py", *arguments])
        with pytest.raises(SystemExit):
            exec(last, vars(conformance))
    assert asked == [[str(GOLDEN), str(SUCCESSORS)], ["elsewhere"]]


# Cases that are not there, of the kinds that are


def case_of(tmp_path, name, like, **recipe):
    """A case of another name with the numbers of ``like`` and these in its recipe."""
    golden = json.loads((GOLDEN / f"{like}.json").read_text())
    golden["case"] = name
    golden["recipe"] |= recipe
    path = tmp_path / f"{name}.json"
    path.write_text(json.dumps(golden))
    return path


@pytest.mark.parametrize("like", ["abd", "dgr", "lwf_mc", "bic", "e2e", "base_second_task"])
def test_learners_that_do_not_read_DW_have_their_numbers_with_it_and_a_recipe_may_name_the_published_settings(tmp_path, like):
    seen = json.loads((GOLDEN / f"{like}.json").read_text())["recipe"]["seen_classes"]
    published = {"weight_decay": 0.0 if like == "dgr" else 2e-4, "learning_rate": 0.1, "momentum": 0.9}
    more = {**published, "DW": True, "images_per_class": list(range(1, seen + 1))}
    assert conformance.replay(case_of(tmp_path, f"{like}_weighted", like, **more)) <= 1


@pytest.mark.parametrize("like", ["deep_inversion", "lwf_synthetic", "lwf"])
def test_learners_that_read_DW_have_their_numbers_where_all_classes_are_equally_frequent(tmp_path, like):
    seen = json.loads((GOLDEN / f"{like}.json").read_text())["recipe"]["seen_classes"]
    assert conformance.replay(case_of(tmp_path, f"{like}_weighted", like, DW=True, images_per_class=[7] * seen)) <= 1
    assert conformance.replay(case_of(tmp_path, f"{like}_weighted", like, DW=True, images_per_class=list(range(1, seen + 1)))) > 1


VARIED = [{"weight_decay": 0.05}, {"learning_rate": 0.05}, {"momentum": 0.5}]


@pytest.mark.parametrize(("like", "setting"), [*itertools.product(["abd", "bic"], VARIED), ("dgr", VARIED[0])])
def test_settings_of_any_recipe_are_used(tmp_path, like, setting):
    assert conformance.replay(case_of(tmp_path, f"{like}_varied", like, **setting)) > 1


@pytest.mark.parametrize("setting", [{"distillation_weight": 0.5}, {"temperature": 3.0}])
def test_settings_of_the_distillation_are_used(tmp_path, setting):
    assert conformance.replay(case_of(tmp_path, "lwf_synthetic_varied", "lwf_synthetic", **setting)) > 1


def test_the_weight_of_the_class_balance_is_used(tmp_path):
    weights = json.loads((GOLDEN / "inversion.json").read_text())["recipe"]["weights"]
    assert conformance.replay(case_of(tmp_path, "inversion_unbalanced", "inversion", weights=weights | {"class_balance": 0.5})) > 1


@pytest.mark.parametrize(("name", "like", "recipe", "expected"), [
    ("of_no_learner", "lwf", {}, "no case of this name"),
    ("baseline", "base_second_task", {}, "no case of this name"),
    ("lwf_twisted", "lwf", {"twist": 1}, "twist"),
    ("dgr_twisted", "dgr", {"twist": 1}, "twist"),
    ("coreset_twisted", "coreset", {"twist": 1}, "twist"),
    ("inversion_twisted", "inversion", {"twist": 1}, "twist"),
])
def test_what_cannot_be_replayed_has_failed(tmp_path, capsys, name, like, recipe, expected):
    case_of(tmp_path, name, like, **recipe)
    assert conformance.main(tmp_path) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith(name)
    assert " failed " in first
    assert expected in first
    assert last == "0 passed, 1 failed, 0 skipped"


def test_a_quantity_that_nothing_compares_has_failed(tmp_path, capsys):
    case = json.loads((GOLDEN / "base_first_task.json").read_text())
    case["expected"]["entropy"] = [1.0]
    (tmp_path / "base_first_task.json").write_text(json.dumps(case))
    assert conformance.main(tmp_path) == 1
    assert "entropy" in capsys.readouterr().out


def test_a_damaged_file_has_failed_and_hides_no_other(tmp_path, capsys):
    (tmp_path / "a.json").write_text("{")
    shutil.copy(GOLDEN / "class_order.json", tmp_path)
    assert conformance.main(tmp_path) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "1 passed, 1 failed, 0 skipped"


@pytest.mark.parametrize("change", ["loss", "weights"])
def test_a_number_that_is_off_by_a_ten_thousandth_fails(tmp_path, capsys, change):
    case = json.loads((GOLDEN / "base_first_task.json").read_text())
    if change == "loss":
        case["expected"]["total"][-1] *= 1 + 1e-4
    else:
        next(iter(case["expected"]["state"].values()))[0] *= 1 + 1e-4
    (tmp_path / "base_first_task.json").write_text(json.dumps(case))
    assert conformance.main(tmp_path) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert "failed" in first
    assert last == "0 passed, 1 failed, 0 skipped"


def test_a_nan_is_no_agreement():
    assert conformance.worst([0.0, float("nan")]) == float("inf")


def test_an_empty_folder_is_a_failure(tmp_path, capsys):
    assert conformance.main(tmp_path) == 1
    assert "no golden files" in capsys.readouterr().err
