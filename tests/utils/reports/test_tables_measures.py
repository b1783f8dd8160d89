"""Accuracies, forgetting, time and memory of a cell of the paper's tables, and UB."""

import numpy as np
import pytest
import yaml

from tests.utils.reports.conftest import PUBLISHED, TWO, matrix
from utils.files import write_yaml
from utils.reports.paper import SPLITS
from utils.reports.paper_tables import PaperTables


def test_a_cell_is_the_mean_and_deviation_of_its_repeats_beside_the_papers_number(leave, records):
    leave("a", TWO)
    cell, = records(**PUBLISHED, table=1, method="ABD (Ours)", tasks=5)
    assert (float(cell["accuracy"]), float(cell["accuracy_std"]), cell["repeats"]) == (55.0, 5.0, "2")
    assert (float(cell["paper"]), float(cell["paper_std"])) == (43.9, 0.9)
    assert float(cell["difference"]) == pytest.approx(55 - 43.9)


def test_average_incremental_accuracy_and_forgetting(leave, records):
    leave("a", TWO)
    cell, = records(**PUBLISHED, table=1, method="ABD (Ours)", tasks=5)
    assert (float(cell["average_incremental_accuracy"]), float(cell["average_incremental_accuracy_std"])) == (70.0, 0.0)
    # Of the first four tasks 40 30 20 10 are lost, and twice as much.
    assert (float(cell["forgetting"]), float(cell["forgetting_std"])) == (37.5, 12.5)


def test_forgetting_is_from_the_best_earlier_accuracy(leave, records):
    better_later = matrix(5)
    better_later[2][0] = 88.0  # 8 above what it was when learned: 48 30 20 10 are lost
    leave("a", [better_later])
    assert float(records(table=1, method="ABD (Ours)", tasks=5)[0]["forgetting"]) == 27.0


def test_what_was_gained_counts_against_forgetting(leave, records):
    leave("a", [matrix(5, 50.0, -2.0)])  # 8 6 4 2 above when learned, 2 above the best of the earlier times
    assert float(records(table=1, method="ABD (Ours)", tasks=5)[0]["forgetting"]) == -2.0


def test_time_is_summed_over_tasks_and_memory_that_of_the_last(leave, records, tmp_path):
    path = leave("a", TWO)
    memory = yaml.safe_load((path / "results-mem" / "global.yaml").read_text())
    memory["history"][-1] = [3000.0, 3000.0]
    write_yaml(path / "results-mem" / "global.yaml", memory)
    cell, = records(**PUBLISHED, table=1, method="ABD (Ours)", tasks=5)
    assert (float(cell["seconds"]), float(cell["stored_values"])) == (5 * 3600, 3000)
    line, = (line for line in PaperTables(tmp_path).show().splitlines() if line.startswith("a "))
    assert line.split()[-3:] == ["5.0", "h", "3,000"]


def test_accuracy_over_the_joint_models_is_taken_repeat_by_repeat(leave, records):
    leave("a", TWO)
    leave("joint", [matrix(5, 80.0, 0.0)], "base", oracle_flag=True)
    cell, = records(**PUBLISHED, table=1, method="ABD (Ours)", tasks=5)
    # The second repeat has no joint model. (80 + 75 + 70 + 65 + 60) / 5 / 80
    assert (float(cell["normalised_accuracy"]), float(cell["normalised_accuracy_std"])) == (0.875, 0.0)
    leave("joint", [matrix(5, 80.0, 0.0), matrix(5, 100.0, 0.0)], "base", oracle_flag=True)
    cell, = records(**PUBLISHED, table=1, method="ABD (Ours)", tasks=5)
    assert (float(cell["normalised_accuracy"]), float(cell["normalised_accuracy_std"])) == pytest.approx((0.7875, 0.0875))


@pytest.mark.parametrize("changes", [{"batch_size": 64}, {"first_split_size": 10, "other_split_size": 10}])
def test_a_joint_model_of_another_protocol_or_split_normalises_nothing(leave, records, changes):
    leave("a", TWO)
    leave("joint", [matrix(10 if "first_split_size" in changes else 5)], "base", oracle_flag=True, **changes)
    assert records(**PUBLISHED, table=1, method="ABD (Ours)", tasks=5)[0]["normalised_accuracy"] == ""


def test_a_scaled_down_run_is_normalised_by_the_joint_model_of_its_protocol(leave, records):
    leave("small", [matrix(5)], batch_size=64)
    leave("joint", [matrix(5, 100.0, 0.0)], "base", oracle_flag=True)
    assert [cell["normalised_accuracy"] for cell in records() if cell["run"] == "small"] == [""]
    leave("small joint", [matrix(5, 80.0, 0.0)], "base", oracle_flag=True, batch_size=64)
    assert [cell["normalised_accuracy"] for cell in records() if cell["run"] == "small"] == ["0.875000"]


def test_a_joint_model_that_knows_nothing_normalises_nothing(leave, records):
    leave("a", TWO)
    leave("joint", [matrix(5, 0.0, 0.0)], "base", oracle_flag=True)
    assert records(**PUBLISHED, table=1, method="ABD (Ours)", tasks=5)[0]["normalised_accuracy"] == ""


# UB


def test_ub_on_all_classes_is_that_of_every_split_and_forgets_nothing(leave, records):
    leave("ub", [matrix(1, 70.0)], "base", first_split_size=100, other_split_size=100)
    cells = records(**PUBLISHED, method="UB")
    assert [(cell["table"], cell["tasks"]) for cell in cells] == [(table, str(split)) for table in "12" for split in SPLITS]
    assert {(cell["accuracy"], cell["forgetting"], cell["run"]) for cell in cells} == {("70.000000", "", "ub")}


def test_the_last_joint_model_is_ub_of_its_split(leave, records):
    leave("joint", TWO, "base", oracle_flag=True)
    assert [cell["accuracy"] for cell in records(**PUBLISHED, table=1, method="UB")] == ["55.000000", "", ""]
    assert {cell["normalised_accuracy"] for cell in records(method="UB")} == {""}
    assert {cell["run"] for cell in records(method="Base")} == {""}


def test_the_papers_tables_have_both_kinds_in_csv_and_beside_each_other_where_they_differ(leave, records, tmp_path):
    leave("even", TWO, "base")
    assert "over images" not in PaperTables(tmp_path).show()
    line, = records(**PUBLISHED, table=1, method="Base", tasks=5)
    for name in ("accuracy", "average_incremental_accuracy"):
        assert float(line[f"{name}_over_images"]) == float(line[name]) and line[f"{name}_over_images_std"] == line[f"{name}_std"]
    leave("uneven", TWO[:1], images=[400, 100, 100, 100, 100])
    line, = records(**PUBLISHED, table=1, method="ABD (Ours)", tasks=5)
    assert (float(line["accuracy"]), float(line["accuracy_over_images"])) == (60.0, 52.5)
    assert float(line["average_incremental_accuracy_over_images"]) == pytest.approx(np.mean([80, 72, 65, 410 / 7, 52.5]), abs=1e-5)
    shown = PaperTables(tmp_path).show("markdown")
    assert "| tasks | final, over images | average, over images | average incremental accuracy |" in shown
    assert "| uneven | ABD (Ours) | 5 | 52.5 | 65.6 | 70.0 |" in shown
