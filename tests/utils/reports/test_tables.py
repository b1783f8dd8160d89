import csv
import io
import subprocess
import sys

import numpy as np
import pytest
import yaml

from dataloaders.orders import read_order
from utils.errors import UserError
from utils.files import read_yaml, write_yaml
from utils.reports.paper import SPLITS, TABLES
from utils.reports.paper_tables import PaperTables
from utils.reports.tables import accuracy_table, main
from utils.training.measures import Measures
from utils.training.metrics import Results
from utils.training.recorded import SINCE


def matrix(tasks, start=80.0, drop=10.0, done=None):
    """[after task][on task]: ``start`` when learned, ``drop`` less with every later task; the mean falls by drop / 2 a task."""
    return [[start - drop * (after - on) for on in range(after + 1)] for after in range(tasks)][:done]


@pytest.fixture
def records(tmp_path):
    """The lines of --csv: records(protocol="published protocol", table=1, method="ABD (Ours)", tasks=5) -> [{column: text}]."""

    def read(**wanted):
        lines = csv.DictReader(io.StringIO(PaperTables(tmp_path).show("csv")))
        return [line for line in lines if all(line[name] == str(value) for name, value in wanted.items())]

    return read


def warnings(folder):
    return PaperTables(folder).warnings


PUBLISHED = {"protocol": "published protocol"}
TWO = [matrix(5), matrix(5, 90.0, 20.0)]  # after each task 80 75 70 65 60, and 90 80 70 60 50


def test_a_first_task_taken_from_a_run_of_the_same_protocol_is_no_departure(leave, records, tmp_path):
    leave("base", TWO, "base", log_dir="outputs/x/base")
    leave("lwf", TWO, "lwf", log_dir="outputs/x/lwf", load_model_dir="outputs/x/base")
    assert records(**PUBLISHED, table=1, method="LwF", tasks=5)[0]["run"] == "lwf"
    leave("base", TWO, "base", log_dir="outputs/x/base", schedule=[1])
    assert records(**PUBLISHED, table=1, method="LwF", tasks=5)[0]["run"] == ""


@pytest.mark.parametrize(("changes", "shown"), [
    ({}, "load_model_dir outputs/x/base"), ({"load_any": 1}, "load_model_dir outputs/x/base (load_any 1)")])
def test_abds_first_task_is_no_other_methods(leave, records, changes, shown):
    leave("base", TWO, "base", log_dir="outputs/x/base")
    leave("abd", TWO, log_dir="outputs/x/abd", load_model_dir="outputs/x/base", **changes)
    cell, = records(run="abd")
    assert cell["protocol"] == f"scaled down or changed: {shown}"


def test_a_first_task_taken_with_load_any_is_always_said(leave, records):
    leave("base", TWO, "base", log_dir="outputs/x/base")
    leave("lwf", TWO, "lwf", log_dir="outputs/x/lwf", load_model_dir="outputs/x/base", load_any=1)
    assert records(run="lwf")[0]["protocol"] == "scaled down or changed: load_model_dir outputs/x/base (load_any 1)"


@pytest.mark.parametrize(("learner", "memory", "read"), [
    ("NormalNN", 0, False), ("NormalNN", 2000, True), ("LWF", 0, False), ("LWF", 2000, True), ("ETE", 2000, False), ("BIC", 2000, False),
    ("DeepInversionGenBN", 0, True), ("AlwaysBeDreaming", 0, False)])
def test_dw_is_a_departure_where_it_is_read(leave, records, learner, memory, read):
    leave("run", TWO, "abd" if learner == "AlwaysBeDreaming" else "lwf", learner_name=learner, memory=memory, DW=True)
    cell = records(run="run")[0]
    assert cell["protocol"] == ("scaled down or changed: DW True" if read else "published protocol")


def without(path, *names):
    """A run of before these settings."""
    write_yaml(path / "args.yaml", {name: value for name, value in read_yaml(path / "args.yaml").items() if name not in names})


def test_bic_tested_with_its_bias_layers_stands_apart(leave, records):
    leave("plain", TWO, "bic", bias_at_test=False)
    assert records(run="plain")[0]["protocol"] == "published protocol"
    for path in (leave("corrected", TWO, "bic", bias_at_test=True), leave("before", TWO, "bic")):
        if path.name == "before":
            without(path, *SINCE)
        cell = PaperTables(path.parent).cells
        apart, = (own for (label, method, own, split), run in cell.items() if run.name == path.name)
        assert apart == ("bias_at_test True",)
        (path / "args.yaml").unlink()


def test_what_this_project_computed_differently_before_stands_apart(leave, records):
    without(leave("abd", TWO), *SINCE)
    assert records(run="abd")[0]["method"] == "ABD (Ours), first task over the seen outputs alone"
    without(leave("e2e", TWO, "e2e", DW=True), *SINCE)
    assert records(run="e2e")[0]["protocol"] == "scaled down or changed: DW True"
    without(leave("base", TWO, "base"), *SINCE)
    assert records(run="base")[0]["protocol"] == "published protocol"


# Runs of other code


# On each task after each, of three tasks of a repeat that forgets 56.2 points.
FORGETS = [[90.0, 60.0, 30.0], [0.0, 80.0, 27.6], [0.0, 0.0, 70.0]]


def rewrite(path, history, **more):
    content = {"mean": 0, "history": [[[value] for value in row] for row in history], **more}
    for name in ("pt", "pt-local"):
        write_yaml(path / "results-acc" / f"{name}.yaml", content)


@pytest.fixture
def three(leave):
    """A run of the first three of five tasks, whose pt.yaml has no key axes."""
    path = leave("a", [[[90.0], [60.0, 80.0], [30.0, 27.6, 70.0]]], max_task=3)
    rewrite(path, FORGETS)
    return path


def test_a_folder_of_the_published_code_is_read_as_what_it_is(three, as_published, records, tmp_path):
    as_published(three)
    write_yaml(three / "results-time" / "global.yaml", {"mean": [0.1] * 3, "history": [[0.1]] * 3})
    write_yaml(three / "results-mem" / "global.yaml", {"mean": [7] * 3, "history": [[7]] * 3})
    cell, = records(run="a", table=1)
    assert float(cell["forgetting"]) == pytest.approx((90 - 30 + 80 - 27.6) / 2) == pytest.approx(56.2)
    assert float(cell["accuracy"]) == pytest.approx((30 + 27.6 + 70) / 3)
    assert (cell["seconds"], cell["stored_values"]) == ("", "")
    assert warnings(tmp_path) == []
    assert "| a (2021 code) | ABD (Ours)" in PaperTables(tmp_path).show("markdown")


def test_an_unset_generator_and_dw_of_the_published_code_change_nothing(leave, as_published, records):
    for name, changes in (("base", {}), ("e2e", {"DW": True}), ("bic", {"DW": True})):
        path = leave(name, [matrix(5)], name)
        as_published(path, **changes)
        rewrite(path, [[0.0] * 5] * 5)
        assert records(run=name)[0]["protocol"] == "published protocol"


def test_a_run_of_before_the_key_is_read_by_its_absence(three, records):
    rewrite(three, [[90.0, float("nan"), float("nan")], [60.0, 80.0, float("nan")], [30.0, 27.6, 70.0]])
    assert float(records(run="a", table=1)[0]["forgetting"]) == pytest.approx(56.2)


def test_a_run_of_today_is_read_by_the_key(three, records):
    rewrite(three, FORGETS, axes=["on task", "after task", "repeat"])
    assert float(records(run="a", table=1)[0]["forgetting"]) == pytest.approx(56.2)


@pytest.mark.parametrize(("published", "history", "more", "expected"), [
    (False, FORGETS, {}, "has no key axes and is not as this project wrote before that key"),
    (True, [[90.0, float("nan"), float("nan")], [60.0, 80.0, float("nan")], [30.0, 27.6, 70.0]], {}, "is not as the published code wrote"),
    (True, [[90.0, 0.0, 0.0], [60.0, 80.0, 0.0], [30.0, 27.6, 70.0]], {}, "is not as the published code wrote"),
    (False, FORGETS, {"axes": ["after task", "on task", "repeat"]}, "has axes"), (False, FORGETS, {"axes": 3}, "has axes")])
def test_what_is_not_clear_is_left_out_in_one_line(three, as_published, records, tmp_path, published, history, more, expected):
    rewrite(three, history, **more)
    if published:
        as_published(three)
    assert (records(run="a", table=1)[0]["forgetting"], records(run="a", table=1)[0]["accuracy"][:4]) == ("", "42.5")
    line, = warnings(tmp_path)
    assert str(three / "results-acc" / "pt.yaml") in line and expected in line


@pytest.mark.parametrize("name", ["metrics.jsonl", "checkpoint.pt"])
def test_a_folder_with_files_of_both_is_named_and_left_out(three, as_published, records, tmp_path, name):
    as_published(three)
    (three / name).write_text("")
    assert records(run="a") == []
    line, = warnings(tmp_path)
    assert f"{three}: its args.yaml is none of this project's (no no_figures), its {name} is" in line


def test_repeats_that_are_under_way_side_by_side_are_no_runs_of_their_own(leave, records, tmp_path):
    leave("a", TWO[:1], repeat=2)
    leave("a/parallel/repeat-2", TWO[1:], repeat=2)
    line, = records(**PUBLISHED, table=1, method="ABD (Ours)", tasks=5)
    assert (line["run"], line["repeats"], warnings(tmp_path)) == ("a", "1", [])


# Measures


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


# Which run is whose


LEARNERS = [
    (1, "Base", "NormalNN", 0), (1, "LwF", "LWF", 0), (1, "LwF.MC", "LWF_MC", 0), (1, "DGR", "Generative_Replay", 0),
    (1, "DeepInversion", "DeepInversionGenBN", 0), (1, "LwF-Synthetic", "DeepInversionLWF", 0), (1, "ABD (Ours)", "AlwaysBeDreaming", 0),
    (2, "Naive Rehearsal", "NormalNN", 2000), (2, "LwF (coreset)", "LWF", 2000), (2, "E2E", "ETE", 2000), (2, "BiC", "BIC", 2000),
]


@pytest.mark.parametrize(("size", "tasks"), [(20, 5), (10, 10), (5, 20)])
@pytest.mark.parametrize(("table", "method", "learner", "memory"), LEARNERS)
def test_a_run_is_known_by_its_settings(leave, records, table, method, learner, memory, size, tasks):
    special = {"Generative_Replay": {"weight_decay": 0.0}, "AlwaysBeDreaming": {"mu": 0.1}, "DeepInversionLWF": {"mu": 0.1}}
    leave("any/name", [matrix(tasks)], "lwf", learner_name=learner, memory=memory, first_split_size=size, other_split_size=size,
          **special.get(learner, {}))
    cell, = [cell for cell in records(table=table) if cell["run"]]
    assert (cell["protocol"], cell["method"], cell["tasks"], cell["run"]) == ("published protocol", method, str(tasks), "any/name")


def test_a_run_whose_sizes_were_given_one_by_one_has_its_column(leave, records):
    leave("listed", [matrix(10)], task_sizes=[10] * 10)
    cell, = records(**PUBLISHED, table=1, method="ABD (Ours)", tasks=10)
    assert cell["run"] == "listed"


@pytest.mark.parametrize("sizes", [[20, "x"], [0, 100], [50.5, 49.5], 20])
def test_sizes_that_are_none_are_one_line(leave, records, tmp_path, sizes):
    leave("odd", [], task_sizes=sizes)
    line, = warnings(tmp_path)
    assert "task_sizes" in line and "args.yaml" in line


@pytest.mark.parametrize("changes", [
    {"dataset": "CIFAR10"}, {"first_split_size": 50, "other_split_size": 25}, {"learner_name": "SharpLWF"}, {"memory": 2000},
    {"first_split_size": 100, "other_split_size": 100}, {"other_split_size": 30}, {"task_sizes": [20, 20, 20, 20, 10, 10]},
    {"task_sizes": [20, 20, 20]}])
def test_a_run_of_no_cell_is_in_no_table_and_said(leave, records, tmp_path, changes):
    leave("odd", [], **changes)
    assert [cell for cell in records() if cell["run"]] == []
    assert warnings(tmp_path) == ["in no table for their data set, split or learner: odd"]


def test_of_two_runs_of_a_cell_the_one_with_more_finished_repeats_is_shown(leave, records, tmp_path):
    leave("first", [matrix(5), matrix(5, done=3)])
    leave("second", TWO)
    assert records(method="ABD (Ours)", table=1, tasks=5)[0]["run"] == "second"
    assert warnings(tmp_path) == ["ABD (Ours), 5 tasks: second (2 finished) is shown, first (1) is not"]


# Other protocols


def test_a_scaled_down_run_stands_apart_with_what_differs_and_without_the_papers_numbers(leave, records, tmp_path):
    leave("laptop/abd", [matrix(5)], "abd", "cifar100-laptop")
    leave("laptop/base", [matrix(5)], "base", "cifar100-laptop")
    leave("abd", TWO)
    assert {cell["run"] for cell in records(**PUBLISHED)} == {"", "abd"}
    apart = [cell for cell in records() if cell["run"].startswith("laptop")]
    assert len({cell["protocol"] for cell in apart}) == 1
    assert apart[0]["protocol"].startswith("scaled down or changed: model_name resnet8, schedule ")
    assert {cell["paper"] + cell["difference"] for cell in apart} == {""}
    assert [cell["method"].split(",")[0] for cell in apart] == ["Base", "ABD (Ours)"]
    assert "power_iters" in apart[1]["method"] and "power_iters" not in apart[0]["method"]
    heading = next(line for line in PaperTables(tmp_path).show().split("scaled down")[1].splitlines() if line.startswith("final"))
    assert "paper" not in heading


@pytest.mark.parametrize("changes", [
    {"model_name": "resnet8"}, {"schedule": [1, 2]}, {"batch_size": 64}, {"max_task": 2}, {"validation": True}, {"train_aug": False},
    {"rand_split": False}, {"lr": 0.2}, {"weight_decay": 0.0}, {"optimizer": "Adam"}, {"load_model_dir": "elsewhere"},
    {"mu": 1.0}, {"power_iters": 100}, {"gen_model_name": "CIFAR_GEN_SMALL"}, {"deep_inv_params": [1e-3, 0.0, 1e-3, 1e3, 1.0]}])
def test_no_changed_setting_lands_beside_the_papers_numbers(leave, records, changes):
    leave("changed", [matrix(5, done=changes.get("max_task"))], **changes)
    cell, = [cell for cell in records() if cell["run"]]
    assert cell["accuracy"]
    assert cell["protocol"].startswith("scaled down or changed: ")
    (name, value), = changes.items()
    assert f"{name} {' '.join(map(str, value)) if isinstance(value, list) else value}" in f"{cell['protocol']}, {cell['method']}"


def test_runs_with_another_order_or_seed_stand_apart(leave, records, tmp_path):
    orders = ["numpy:1993", "numpy:1994", [*range(100)]]
    for place, order in enumerate(orders):
        leave(f"order-{place}", [matrix(5)], class_order=read_order(order, 100, ""))
    leave("seed", [matrix(5)], seed=3)
    leave("published", [matrix(5)])
    labels = [cell["protocol"] for cell in records() if cell["run"]]
    assert len(set(labels)) == 5 and all(len(label) < 80 for label in labels)
    assert {label.split(": ")[-1].split(" … ")[0] for label in labels} >= {
        "published protocol", "class_order 68 56 78", "class_order 0 1 2", "seed 3"}
    assert warnings(tmp_path) == []


def test_settings_that_a_method_does_not_read_change_nothing(leave, records):
    leave("base", [matrix(5)], "base", mu=0.3, power_iters=7, gpuid=[3], repeat=1)
    assert records(**PUBLISHED, method="Base", tasks=5)[0]["run"] == "base"


def test_another_coreset_size_is_named(leave, records):
    leave("small", [matrix(5)], "lwf", learner_name="BIC", memory=200)
    cell, = [cell for cell in records() if cell["run"]]
    assert (cell["table"], cell["method"]) == ("2", "BiC, memory 200")
    assert cell["protocol"] != "published protocol"


# R-DFCIL's tables: half of the classes first

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


# What is missing


def test_a_folder_without_runs_gives_both_tables_of_the_papers_numbers_alone(tmp_path, records):
    cells = records()
    assert len(cells) == sum(len(TABLES[number][1]) for number in (1, 2)) * len(SPLITS)
    assert {cell[name] for cell in cells for name in ("accuracy", "difference", "repeats", "run", "forgetting", "seconds")} == {""}
    assert [cell["paper"] for cell in cells if cell["method"] == "LwF-Synthetic"] == ["", "", ""]
    assert warnings(tmp_path) == []


def test_a_repeat_that_has_not_finished_is_marked_and_in_no_mean(leave, records, tmp_path):
    leave("a", [*TWO, matrix(5, 10.0, done=2)])
    cell, = records(table=1, method="ABD (Ours)", tasks=5)
    assert (float(cell["accuracy"]), cell["repeats"], cell["unfinished"]) == (55.0, "2", "task 3/5")
    assert (float(cell["forgetting"]), float(cell["seconds"])) == (37.5, 5 * 3600)
    assert "2 + 1 unfinished (task 3/5)" in PaperTables(tmp_path).show()


@pytest.mark.parametrize(("matrices", "repeats", "place"), [([], "0", "task 1/5"), (TWO, "2", "task 1/5"), ([*TWO, matrix(5)], "3", "")])
def test_a_repeat_without_results_yet_is_marked_where_it_is_wanted(leave, records, matrices, repeats, place):
    leave("a", matrices, repeat=3)
    cell, = records(table=1, method="ABD (Ours)", tasks=5)
    assert (cell["repeats"], cell["unfinished"]) == (repeats, place)


@pytest.mark.parametrize(("part", "lost"), [
    ("results-acc/pt.yaml", "forgetting"), ("results-time/global.yaml", "seconds"), ("results-mem/global.yaml", "stored_values")])
def test_a_missing_part_of_the_results_is_an_empty_cell(leave, records, tmp_path, part, lost):
    (leave("a", TWO) / part).unlink()
    cell, = records(table=1, method="ABD (Ours)", tasks=5)
    assert [name for name in ("accuracy", "forgetting", "seconds", "stored_values") if not cell[name]] == [lost]
    assert warnings(tmp_path) == []


DAMAGED = ["", "[1, 2", "text", "- 1", "history: [[1.0, 2.0], [3.0]]", "history: [[a, b]]", "history: 3", "history: {a: 1}", "mean: [1]", "\x00"]


@pytest.mark.parametrize("content", DAMAGED)
@pytest.mark.parametrize(("part", "shown"), [
    ("args.yaml", ""), ("results-acc/global.yaml", ""), ("results-acc/pt.yaml", "55.000000"), ("results-time/global.yaml", "55.000000")])
def test_a_damaged_file_is_one_line_that_names_it_and_the_rest_is_shown(leave, records, tmp_path, part, shown, content):
    leave("whole", [matrix(5)], "base")
    path = leave("damaged", TWO) / part
    path.write_text(content)
    warning, = warnings(tmp_path)
    assert str(path) in warning
    assert "\n" not in warning
    assert records(method="Base", tasks=5)[0]["accuracy"] == "60.000000"
    assert records(table=1, method="ABD (Ours)", tasks=5)[0]["accuracy"] == shown


def test_settings_not_written_to_their_end_are_one_line(leave, tmp_path):
    path = leave("a", TWO) / "args.yaml"
    lines = path.read_text().splitlines(keepends=True)
    for count in range(1, next(place for place, line in enumerate(lines) if line.startswith("repeat:"))):
        path.write_text("".join(lines[:count]))
        tables = PaperTables(tmp_path)
        text, (warning,) = tables.show(), tables.warnings
        assert f"{path} lacks" in warning
        assert "55.0" not in text


def test_settings_of_another_kind_are_one_line(leave, tmp_path):
    path = leave("a", TWO, repeat="three") / "args.yaml"
    assert warnings(tmp_path) == [f"{path}: repeat 'three' is not a whole number"]


def test_results_of_other_tasks_than_the_settings_are_not_shown(leave, records, tmp_path):
    path = leave("a", TWO)
    leave("a", [], first_split_size=10, other_split_size=10)
    assert [cell["accuracy"] for cell in records(table=1, method="ABD (Ours)")] == ["", "", ""]
    assert warnings(tmp_path)[0] == f"{path / 'results-acc/global.yaml'} is not about 10 tasks, as args.yaml is"


# Forms


def test_text_has_its_columns_under_each_other(leave, tmp_path):
    leave("a", TWO, repeat=2)
    title, _, heading, *lines = PaperTables(tmp_path).show().splitlines()
    assert title == "Table 1, no coreset; published protocol"
    ours = lines[[line.split("  ")[0] for line in lines].index("ABD (Ours)")]
    for name, value in (("5 tasks", "55.0 ± 5.0"), ("repeats", "2"), ("paper", "43.9 ± 0.9"), ("difference", "+11.1")):
        end = heading.index(name) + len(name)
        assert ours[:end].endswith(value)


def test_one_repeat_has_no_deviation_but_in_csv_and_beside_the_papers(leave, records, tmp_path):
    leave("a", TWO[:1], repeat=1)
    text = PaperTables(tmp_path).show("markdown")
    assert "| ABD (Ours) | 60.0 | 1 | 43.9 ± 0.9 | +16.1 |" in text
    assert "| a | ABD (Ours) | 5 | 70.0 | 25.0 |  | 5.0 h | 1,000 |" in text
    assert records(**PUBLISHED, table=1, method="ABD (Ours)", tasks=5)[0]["accuracy_std"] == "0.000000"
    assert accuracy_table([tmp_path / "a"]).splitlines()[1].split()[-3:] == ["60.0", "70.0", "1"]


def test_markdown_is_tables_of_equally_many_cells(leave, tmp_path):
    leave("a|b", TWO, repeat=2)
    text = PaperTables(tmp_path).show("markdown").replace("a\\|b", "a-b")
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert [block[1] for block in blocks] == ["|" + " --- |" * (block[0].count("|") - 1) for block in blocks]
    assert all(line.count("|") == block[0].count("|") for block in blocks for line in block)
    assert "| ABD (Ours) | 55.0 ± 5.0 | 2 | 43.9 ± 0.9 | +11.1 |" in text
    assert "| a-b | ABD (Ours) | 5 | 70.0 ± 0.0 | 37.5 ± 12.5 |  | 5.0 h | 1,000 |" in text


def test_csv_has_every_column_on_every_line(leave, tmp_path):
    leave('comma, "quote"', TWO)
    heading, *lines = csv.reader(io.StringIO(PaperTables(tmp_path).show("csv")))
    assert {len(line) for line in lines} == {len(heading)}
    assert len(set(heading)) == len(heading)
    assert sum('comma, "quote"' in line for line in lines) == 2


def test_the_papers_numbers_are_those_of_its_tables():
    assert {method.name: [method.numbers[split][0] for split in SPLITS] for method in TABLES[2][1]} == {
        "UB": [69.9] * 3, "Naive Rehearsal": [34.0, 24.0, 14.9], "LwF (coreset)": [39.4, 27.4, 16.6], "E2E": [47.4, 38.4, 32.7],
        "BiC": [53.7, 45.9, 37.5], "ABD (Ours)": [43.9, 33.7, 20.0]}
    assert [method.numbers.get(20) for method in TABLES[1][1]] == [
        (69.9, 0.2), (4.4, 0.3), (4.7, 0.1), (7.7, 0.5), (4.1, 0.3), (5.7, 0.3), None, (20.0, 1.4), None, None, None]


# Side by side


@pytest.fixture
def runs(tmp_path):
    """Two finished repeats of three tasks, and one repeat in its second task."""
    finished, stopped = Results(), Results()
    for repeat in (0, 1):
        for task in (0, 1, 2):
            finished.add(repeat, Measures([90.0 - 20 * task + 2 * repeat] * (task + 1), [0.0] * (task + 1)), 1, 1.0)
    stopped.add(0, Measures([71.0], [71.0]), 1, 1.0)
    finished.save(tmp_path / "abd", 3)
    stopped.save(tmp_path / "base", 3)
    return [tmp_path / "abd", tmp_path / "base"]


def test_a_table_shows_accuracy_after_each_task_and_the_final_one(runs):
    _, line, _ = accuracy_table(runs).splitlines()
    assert line.split() == ["abd", "91.0", "71.0", "51.0", "51.0", "±", "1.0", "71.0", "±", "1.0", "2"]


def test_a_run_that_has_not_ended_shows_what_it_has(runs):
    line = accuracy_table(runs).splitlines()[2]
    assert line.split() == "base 71.0 0 + 1 unfinished (task 2/3)".split()


def test_columns_lie_under_each_other(runs):
    heading, *lines = accuracy_table(runs).splitlines()
    assert [line.index("91.0") + 4 for line in lines[:1]] == [heading.index(" 1 ") + 2]
    assert lines[1].index("71.0") == lines[0].index("91.0")


def test_side_by_side_has_the_other_forms_too(runs):
    assert accuracy_table(runs, "csv").splitlines()[1] == "abd,91.0,71.0,51.0,51.0 ± 1.0,71.0 ± 1.0,,,2"
    assert accuracy_table(runs, "markdown").splitlines()[1:3] == ["|" + " --- |" * 7, "| abd | 91.0 | 71.0 | 51.0 | 51.0 ± 1.0 | 71.0 ± 1.0 | 2 |"]


def test_a_folder_without_results_is_named(tmp_path):
    with pytest.raises(UserError, match="nothing.*global.yaml"):
        accuracy_table([tmp_path / "nothing"])


# Tasks of unequal size


def test_side_by_side_has_both_kinds_of_accuracy_where_tasks_are_uneven(tmp_path):
    for name, counts in (("even", [100, 100]), ("uneven", [300, 100])):
        results = Results()
        for repeat in (0, 1):
            results.add(repeat, Measures([80.0 + repeat], [0.0], counts[:1]), 1, 1.0)
            results.add(repeat, Measures([60.0, 20.0], [0.0] * 2, counts), 1, 1.0)
        results.save(tmp_path / name, 2)
    assert accuracy_table([tmp_path / "uneven", tmp_path / "even"], "markdown").splitlines() == [
        "| accuracy (%) after task | 1 | 2 | final | average | final, over images | average, over images | repeats |", "|" + " --- |" * 8,
        "| uneven | 80.5 | 40.0 | 40.0 ± 0.0 | 60.2 ± 0.2 | 50.0 ± 0.0 | 65.2 ± 0.2 | 2 |",
        "| even | 80.5 | 40.0 | 40.0 ± 0.0 | 60.2 ± 0.2 | 40.0 ± 0.0 | 60.2 ± 0.2 | 2 |"]
    assert "over images" not in accuracy_table([tmp_path / "even"])
    assert "over images" in accuracy_table([tmp_path / "even"], "csv")
    (tmp_path / "even" / "results-acc" / "over-images.yaml").unlink()  # a run from before
    assert "over images" not in accuracy_table([tmp_path / "even"])
    assert accuracy_table([tmp_path / "uneven", tmp_path / "even"], "markdown").splitlines()[3].endswith("| 60.2 ± 0.2 |  |  | 2 |")


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


# The command


def test_runs_are_set_side_by_side_and_a_folder_of_runs_gives_the_tables(runs, tmp_path, capsys):
    assert main([str(run) for run in runs]) == main([str(runs[0])]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["accuracy", "abd", "base", "accuracy", "abd"]
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("Table 1")


def test_outputs_is_where_runs_are_sought_by_itself(leave, tmp_path, monkeypatch, capsys):
    leave("outputs/a", TWO)
    monkeypatch.chdir(tmp_path)
    assert main(["--csv"]) == 0
    assert "55.000000" in capsys.readouterr().out


def test_warnings_stay_out_of_the_tables(leave, tmp_path, capsys):
    (leave("a", TWO) / "args.yaml").write_text("[")
    assert main([str(tmp_path), "--csv"]) == 0
    printed = capsys.readouterr()
    assert printed.err == f"utils.reports.tables: {tmp_path / 'a' / 'args.yaml'} cannot be read (ParserError)\n"
    assert "args.yaml" not in printed.out


@pytest.mark.parametrize("arguments", [["nowhere"], ["--html"], [".", "--csv", "--markdown"], [".", "."]])
def test_wrong_input_is_one_line_and_status_2(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    line, = printed.err.splitlines()
    assert line.startswith("utils.reports.tables: ")


def test_the_command_as_a_user_starts_it(root, tmp_path, environment):
    done = subprocess.run(
        ["sh", str(root / "experiments" / "tables.sh"), str(tmp_path), "--markdown"],
        cwd=tmp_path, env={**environment, "PYTHON": sys.executable}, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("### Table 1")
