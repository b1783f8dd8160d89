"""R-DFCIL's tables: half of the classes first."""

import pytest

from tests.utils.reports.conftest import PUBLISHED, TWO, warnings
from utils.reports.paper_tables import PaperTables

SIZES = [5000, *[1000] * 5]


def half(done=6, first=60.0):
    """Accuracies after each of six tasks, by task: the first's falls, a new one's is 90."""
    return [[first - 5 * after, *[90.0] * after] for after in range(done)]


def test_a_run_of_r_dfcils_protocol_stands_beside_its_papers_numbers_over_images(leave, records, tmp_path):
    leave("half", [half()], "rdfcil", "cifar100-b50-t5", images=SIZES)
    (cell,) = [cell for cell in records(protocol="R-DFCIL's protocol", tasks=5) if cell["run"]]
    assert (cell["table"], cell["method"], cell["paper"], cell["paper_std"]) == ("3", "R-DFCIL", "54.760000", "0.760000")
    assert float(cell["accuracy"]) == pytest.approx((5 * 35 + 5 * 90) / 10)
    assert warnings(tmp_path) == []
    table = next(part for part in PaperTables(tmp_path).show().split("\n\n") if "final accuracy over images" in part)
    heading, *lines = table.splitlines()
    assert [word for word in ("50 + 5 x 10", "50 + 10 x 5", "50 + 25 x 2", "average") if word in heading] == [
        "50 + 5 x 10", "50 + 10 x 5", "50 + 25 x 2", "average"]
    assert {line.split("  ")[0] for line in lines} == {"DeepInversion", "ABD", "R-DFCIL", "CwD", "RFD"}
    mine = next(line for line in lines if line.startswith("R-DFCIL"))
    assert "54.8 ± 0.8" in mine and "64.8" in mine and "+7.7" in mine
    other = next(line for line in lines if line.startswith("ABD"))
    assert "50.5 ± 1.1" in other or "50.6 ± 1.1" in other


@pytest.mark.parametrize(("sizes", "tables"), [([50, *[10] * 5], {"3"}), ([50, *[10] * 4], set())])
def test_a_split_may_be_given_task_by_task(leave, records, sizes, tables):
    leave("listed", [half(len(sizes))], "rdfcil", "cifar100-b50-t5", task_sizes=sizes, other_split_size=2, images=SIZES[: len(sizes)])
    assert {cell["table"] for cell in records() if cell["run"]} == tables


def test_tinyimagenets_numbers_have_no_deviation(leave, tmp_path):
    leave("half", [], "abd", "tinyimagenet-b100-t5")
    text = PaperTables(tmp_path).show()
    assert "TinyImageNet, half of the classes first; R-DFCIL's protocol" in text
    assert "33.2" in text and "nan" not in text


def test_r_dfcils_tables_are_not_shown_without_a_run_of_its_protocol(leave, records):
    leave("equal", TWO)
    assert {cell["table"] for cell in records()} == {"1", "2"}


def test_a_run_half_first_with_other_settings_stands_apart(leave, records):
    leave("half", [half()], "rdfcil", "cifar100-b50-t5", images=SIZES, weight_decay=1e-4)
    (cell,) = [cell for cell in records() if cell["run"]]
    assert cell["protocol"] == "R-DFCIL's protocol, scaled down or changed: weight_decay 0.0001"
    assert (cell["table"], cell["paper"]) == ("3", "")


def test_r_dfcil_under_the_papers_protocol_stands_in_its_table(leave, records):
    leave("equal", TWO, "rdfcil")
    (cell,) = [cell for cell in records(**PUBLISHED) if cell["run"]]
    assert (cell["table"], cell["method"], cell["tasks"], cell["paper"]) == ("1", "R-DFCIL", "5", "")
