import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from PIL import Image

from utils.reports.comparison_figures import STYLES, ProtocolFigures, colour_marker, draw_comparison
from utils.reports.paper import TABLES
from utils.reports.paper_tables import PaperTables
from utils.reports.runs import PUBLISHED
from utils.reports.tables import main

FALLING = [[80.0], [60.0, 80.0], [40.0, 60.0, 80.0], [20.0, 40.0, 60.0, 80.0], [0.0, 20.0, 40.0, 60.0, 80.0]]  # 80 70 60 50 40, forgets 50
HIGHER = [[value + 10 for value in row] for row in FALLING]
SCALED = {"batch_size": 64}
HALF_FIRST, HALF_FIRST_IMAGES = [[60.0 - 5 * after, *[90.0] * after] for after in range(6)], [5000, *[1000] * 5]


@pytest.fixture
def protocol(tmp_path):
    """The figures of a protocol with the runs in tmp_path."""

    def of(published=True):
        tables = PaperTables(tmp_path)
        return ProtocolFigures(tables, next(label for label in tables.labels() if (label == PUBLISHED) == published))

    return of


def curves(axes):
    """{name: accuracy after each task}."""
    return {line.get_label(): np.asarray(line.get_ydata()).tolist() for line in axes.lines if not line.get_label().startswith("_")}


def widths(axes):
    return [bar.get_width() for bar in axes.patches]


def names(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


def test_a_line_is_the_mean_after_each_task_with_a_band_of_one_deviation(leave, protocol):
    leave("abd", [FALLING, HIGHER])
    axes = protocol().accuracy_after_each_task(5).axes[0]
    assert curves(axes) == {"ABD (Ours)": [85, 75, 65, 55, 45]}
    band, = (drawn.get_paths()[0].vertices[:, 1] for drawn in axes.collections if isinstance(drawn, PolyCollection))
    assert (band.min(), band.max()) == (40, 90)


def test_a_repeat_under_way_does_not_bend_the_line_of_those_finished(leave, protocol):
    leave("abd", [FALLING, HIGHER[:2]])
    leave("base", [HIGHER[:3]], "base")
    axes, _ = protocol().accuracy_after_each_task(5).axes
    shown = curves(axes)
    assert shown["ABD (Ours) (1 repeat)"] == [80, 70, 60, 50, 40]
    assert shown["Base (task 4/5)"][:3] == [90, 80, 70] and np.isnan(shown["Base (task 4/5)"][3:]).all()


@pytest.mark.parametrize(("abd", "base", "title", "name"), [
    ([FALLING, HIGHER], [HIGHER, FALLING], "CIFAR-100, published protocol; mean ± deviation of 2 repeats", "ABD (Ours)"),
    ([FALLING], [HIGHER], "CIFAR-100, published protocol; one repeat", "ABD (Ours)"),
    ([FALLING, HIGHER], [HIGHER], "CIFAR-100, published protocol", "ABD (Ours) (2 repeats)"),
])
def test_the_repeats_are_said_once_where_all_have_as_many(leave, protocol, abd, base, title, name):
    leave("abd", abd)
    leave("base", base, "base")
    figure = protocol().accuracy_after_each_task(5)
    assert figure.get_suptitle() == title
    assert name in curves(figure.axes[0])


def test_the_joint_model_is_a_line_across(leave, protocol):
    leave("abd", [FALLING])
    leave("ub", [[[70.0]]], "base", first_split_size=100, other_split_size=100)
    assert curves(protocol().accuracy_after_each_task(5).axes[0])["UB, at once"] == [70, 70]


def test_the_papers_final_numbers_are_marked_beside_the_published_protocol_alone(leave, protocol):
    leave("abd", [FALLING])
    leave("small", [FALLING], **SCALED)
    published, scaled = (protocol(which).accuracy_after_each_task(5).axes for which in (True, False))
    marks = {float(line.get_ydata()[0]) for line in published[0].lines if line.get_markerfacecolor() == "white"}
    assert marks == {method.numbers[5][0] for method in TABLES[1][1] if method.numbers}
    assert [text.get_text() for text in published[0].texts] == ["the paper"]
    assert not [line for axes in scaled for line in axes.lines if line.get_markerfacecolor() == "white"]
    assert not [text for axes in scaled for text in axes.texts]


def test_the_papers_final_numbers_are_marked_beside_shorter_runs_too_and_named_so(leave, protocol):
    leave("tenth", [FALLING], schedule=[10, 15, 20, 25], power_iters=1000)
    tenth = protocol(False)
    axes = tenth.accuracy_after_each_task(5).axes[0]
    assert {float(line.get_ydata()[0]) for line in axes.lines if line.get_markerfacecolor() == "white"} >= {43.9, 32.5, 69.9}
    assert [text.get_text() for text in axes.texts] == ["the paper\nfull length"]
    assert "at a tenth of its length" in tenth.accuracy_after_each_task(5).get_suptitle()
    labels = [text.get_text() for text in tenth.bars("accuracy", "").legends[0].get_texts()]
    assert labels == ["here", "the paper, full length"]


def test_the_bars_of_the_published_protocol_stand_beside_the_papers(leave, protocol):
    leave("abd", [FALLING, HIGHER])
    axes = protocol().bars("accuracy", "").axes[0]
    ours = names(axes).index("ABD (Ours)")
    mine = [bar.get_width() for bar in axes.patches if abs(bar.get_y() + bar.get_height() / 2 - ours) < 0.5]
    assert mine == [45, 43.9]
    assert {"45.0", "43.9", "69.9"} <= {text.get_text() for text in axes.texts}


def test_the_bars_of_scaled_down_runs_stand_alone(leave, protocol):
    leave("small", [FALLING], **SCALED)
    axes, = protocol(False).bars("accuracy", "").axes
    assert (names(axes), widths(axes)) == (["ABD (Ours)"], [40])


def test_forgetting_has_a_bar_a_method_and_none_of_the_paper(leave, protocol):
    leave("abd", [FALLING])
    leave("ub", [[[70.0]]], "base", first_split_size=100, other_split_size=100)
    first, second = protocol().bars("forgetting", "").axes  # ABD is in both tables
    assert (names(first), widths(first)) == (names(second), widths(second)) == (["ABD (Ours)"], [50])


def test_accuracy_stands_over_memory_the_papers_at_the_same_place(leave, protocol):
    leave("abd", [FALLING], stored=2_000_000)
    leave("small", [FALLING], stored=1_000_000, **SCALED)
    points = {tuple(line.get_xydata()[0]) for line in protocol().accuracy_against_memory().axes[0].lines if line.get_marker() == "P"}
    assert points == {(2, 40), (2, 43.9)}
    marks = [line for line in protocol().accuracy_against_memory().axes[0].lines if line.get_marker() == "P"]
    sizes = {line.get_markersize(): line.get_markerfacecolor() for line in marks}
    assert max(sizes) > 1.5 * min(sizes) and sizes[max(sizes)] == "none"  # neither hides the other
    points = {tuple(line.get_xydata()[0]) for line in protocol(False).accuracy_against_memory().axes[0].lines if line.get_marker() == "P"}
    assert points == {(1, 40)}


def test_variants_of_a_method_are_told_apart(leave, protocol):
    leave("a", [FALLING], mu=0.2)
    leave("b", [FALLING], mu=0.3)
    axes, = protocol(False).accuracy_after_each_task(5).axes
    assert {line.get_label(): line.get_linestyle() for line in axes.lines} == {"ABD (Ours), mu 0.2": "-", "ABD (Ours), mu 0.3": "--"}


def test_runs_half_first_are_drawn_beside_r_dfcils_numbers(leave, tmp_path):
    leave("half", [HALF_FIRST], "rdfcil", "cifar100-b50-t5", images=HALF_FIRST_IMAGES)
    protocol = ProtocolFigures(PaperTables(tmp_path), "R-DFCIL's protocol")
    assert (protocol.title, protocol.splits) == ("CIFAR-100, R-DFCIL's protocol; one repeat", [5])
    axes, = protocol.accuracy_after_each_task(5).axes
    assert axes.get_title() == "CIFAR-100, half of the classes first, 50 + 5 x 10"
    curve, = (line for line in axes.lines if line.get_label() == "R-DFCIL")
    assert curve.get_ydata()[-1] == pytest.approx(62.5)  # over images
    assert {name for name, _ in protocol.figures()} >= {"accuracy-5-tasks", "final-accuracy"}
    assert axes.get_xticks().tolist() == curve.get_xdata().tolist() == [1, 2, 3, 4, 5, 6]
    strip = axes.patches[0]  # of published numbers, right of the last task
    assert strip.get_x() > 6
    assert all(strip.get_x() < x < strip.get_x() + strip.get_width() for line in axes.containers for x in line[0].get_xdata())


def test_two_data_sets_half_first_have_a_panel_each(leave, tmp_path):
    leave("cifar100", [HALF_FIRST], "rdfcil", "cifar100-b50-t5", images=HALF_FIRST_IMAGES)
    leave("tinyimagenet", [HALF_FIRST], "rdfcil", "tinyimagenet-b100-t5", images=HALF_FIRST_IMAGES)
    protocol = ProtocolFigures(PaperTables(tmp_path), "R-DFCIL's protocol")
    panels = protocol.accuracy_against_memory().axes
    assert [axes.get_title() for axes in panels] == ["CIFAR-100, 50 + 5 x 10", "TinyImageNet, 100 + 5 x 20"]
    assert [len(axes.containers) for axes in panels] == [2, 2]  # one's own and the published


def test_a_bar_has_its_number_where_its_deviation_is_not_known(leave, tmp_path):
    leave("half", [HALF_FIRST], "rdfcil", "tinyimagenet-b100-t5", images=HALF_FIRST_IMAGES)
    axes, = ProtocolFigures(PaperTables(tmp_path), "R-DFCIL's protocol").bars("accuracy", "final accuracy (%)").axes
    places = {text.get_text(): text.xy[0] for text in axes.texts}
    assert places["33.2"] == pytest.approx(33.18)  # ABD's


@pytest.mark.parametrize("number", TABLES)
def test_every_method_of_a_table_looks_its_own_way(number):
    looks = [colour_marker(method) for method in TABLES[number][1]]
    assert len({colour for colour, _ in looks}) == len(looks) == len({marker for _, marker in looks})
    assert {method.learner_name for method in TABLES[number][1]} <= STYLES.keys()


def test_a_folder_a_protocol_and_a_picture_a_split(leave, tmp_path):
    leave("abd", [FALLING])
    leave("half", [[[80.0]]], first_split_size=10, other_split_size=10)
    leave("small", [FALLING], **SCALED)
    leave("begun", [], batch_size=32)
    paths = draw_comparison(PaperTables(tmp_path), tmp_path / "drawn")
    folders = {path.parent.name for path in paths}
    assert folders == {"published-protocol", "scaled-down-or-changed-batch_size-64"}
    assert {path.name for path in paths if path.parent.name == "published-protocol"} == {
        "accuracy-5-tasks.png", "accuracy-10-tasks.png", "final-accuracy.png", "forgetting.png", "accuracy-against-memory.png"}
    assert {path.name for path in paths if path.parent.name != "published-protocol"} == {
        "accuracy-5-tasks.png", "final-accuracy.png", "forgetting.png", "accuracy-against-memory.png"}
    for path in paths:
        width, height = Image.open(path).size
        assert 500 < width < 2000 and 300 < height < 2000


def test_protocols_whose_names_are_long_alike_do_not_overwrite_each_other(leave, tmp_path):
    for size in (1, 2):
        leave(f"run{size}", [FALLING], load_model_dir=f"{'x' * 200}{size}")
    assert len({path.parent for path in draw_comparison(PaperTables(tmp_path), tmp_path / "drawn")}) == 2


def test_the_command_draws_after_its_tables(leave, tmp_path, capsys):
    leave("abd", [FALLING])
    assert main([str(tmp_path), "--figures", str(tmp_path / "drawn")]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("Table 1") and "drawn" not in printed.out
    assert len(printed.err.splitlines()) == len(list((tmp_path / "drawn").rglob("*.png"))) == 4


@pytest.mark.parametrize(("runs", "folders", "message"), [
    ([], ["."], "no run of the paper's methods has finished a task"),
    ([FALLING], ["run"], "name one folder that holds runs"),
    ([FALLING], ["."], "cannot be written"),
])
def test_what_cannot_be_drawn_is_said_in_a_line(leave, tmp_path, capsys, monkeypatch, runs, folders, message):
    monkeypatch.chdir(tmp_path)
    leave("run", runs)
    (tmp_path / "file").write_text("")
    assert main([*folders, "--figures", "file"]) == 2
    line, = capsys.readouterr().err.splitlines()
    assert line.startswith("utils.reports.tables: --figures") and message in line
