"""Which run stands in which cell of the paper's tables, and which stands apart."""

import pytest

from dataloaders.orders import read_order
from tests.utils.reports.conftest import PUBLISHED, TWO, matrix, warnings
from utils.files import read_yaml, write_yaml
from utils.reports.paper_tables import PaperTables
from utils.training.recorded import SINCE


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
    assert warnings(tmp_path) == ["in no table for their data set, split or learner: odd; name such a run itself to see its accuracy"]


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


def test_a_run_that_is_shorter_and_otherwise_as_published_has_the_papers_numbers_beside_it_by_name(leave, records, tmp_path):
    leave("tenth/abd", [matrix(5)], "abd", "cifar100-tenth")
    leave("tenth/base", [matrix(5)], "base", "cifar100-tenth")
    leave("fifth", [matrix(5)], schedule=[20, 30, 40, 50], power_iters=2000)
    leave("uneven", [matrix(5)], schedule=[10, 15, 20, 25], power_iters=2000)
    leave("more", [matrix(5)], schedule=[10, 15, 20, 25], power_iters=1000, mu=0.2)
    cells = {cell["run"]: cell for cell in records() if cell["run"]}
    tenth = "published protocol at a tenth of its length"
    assert [cells[name]["protocol"] for name in ("tenth/abd", "tenth/base", "fifth")] == [tenth, tenth, tenth.replace("tenth", "fifth")]
    assert {cells[name]["protocol"].partition(":")[0] for name in ("uneven", "more")} == {"scaled down or changed"}
    assert (cells["tenth/abd"]["method"], cells["tenth/abd"]["paper"]) == ("ABD (Ours)", "43.900000")
    assert cells["uneven"]["paper"] == cells["more"]["paper"] == ""
    text = PaperTables(tmp_path).show()
    heading = next(line for line in text.split(f"no coreset; {tenth}")[1].splitlines() if line.startswith("final"))
    assert heading.count("paper, full length") == 3 and "difference" not in heading


def test_a_schedule_that_is_none_is_no_shorter_one(leave, records):
    leave("odd", [matrix(5)], schedule="soon")
    assert records(run="odd")[0]["protocol"].startswith("scaled down or changed: schedule soon")


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
