import json
import shutil
import subprocess
import sys
from pathlib import Path

import conformance
import pytest

GOLDEN = Path(__file__).resolve().parents[2] / "shared" / "golden"


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_the_code_computes_what_the_published_implementation_does(path):
    assert conformance.replay(path) <= 1


def test_the_script_counts_its_cases_and_exits_with_0(golden, tmp_path, environment, root):
    for name in ("class_order", "base_first_task"):
        shutil.copy(golden / f"{name}.json", tmp_path)
    renamed = json.loads((golden / "lwf.json").read_text()) | {"case": "of_no_learner"}
    (tmp_path / "of_no_learner.json").write_text(json.dumps(renamed))
    command = [sys.executable, str(root / "tests" / "conformance.py"), str(tmp_path)]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    *cases, last = done.stdout.splitlines()
    assert [line.split()[0] for line in cases] == ["base_first_task", "class_order", "of_no_learner"]
    assert last == "2 passed, 0 failed, 1 skipped"


@pytest.mark.parametrize("change", ["loss", "weights"])
def test_a_number_that_is_off_by_a_ten_thousandth_fails(golden, tmp_path, capsys, change):
    case = json.loads((golden / "base_first_task.json").read_text())
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
