import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from PIL import Image

from tests.utils.reports.conftest import matrix
from utils.errors import UserError
from utils.reports.comparison import GREY, STYLES, draw_comparison, figure_of
from utils.reports.paper import PAPER, TABLES, UB
from utils.reports.paper_tables import PaperTables
from utils.reports.tables import main

FALLING, HIGHER = matrix(5), matrix(5, 90.0)  # after each task 80 75 70 65 60, and 90 85 80 75 70
HALF, SIZES = [[60.0 - 5 * after, *[90.0] * after] for after in range(6)], [5000, *[1000] * 5]


@pytest.fixture
def draw(tmp_path):
    """A figure of the runs in tmp_path: draw(kind, label, column)."""
    return lambda kind, label=PAPER.name, column=5: figure_of(PaperTables(tmp_path), label, column, kind)


def curves(axes):
    """{name: accuracy after each task}."""
    return {
        line.get_label(): np.asarray(line.get_ydata()).tolist() for line in axes.lines
        if not line.get_label().startswith("_")}


def bars(axes):
    """{name: values of its bars}."""
    names = [label.get_text() for label in axes.get_yticklabels()]
    centres = [(round(bar.get_y() + bar.get_height() / 2), bar.get_width()) for bar in axes.patches]
    return {name: [width for place, width in centres if place == row] for row, name in enumerate(names)}


def hollow(axes):
    return {
        float(line.get_ydata()[0]) for line in axes.lines if line.get_markerfacecolor() in ("white", "none")}


def test_a_curve_is_the_mean_over_repeats_wherever_they_are_with_a_band_of_the_samples_deviation(leave, draw):
    leave("abd-s0", [FALLING], repeat=1)
    leave("abd-s1", [HIGHER], repeat=1, seed=1)
    figure = draw("accuracy")
    axes = figure.axes[0]
    assert curves(axes)["ABD (Ours) (2 repeats)"] == [85, 80, 75, 70, 65]
    band, = (
        drawn.get_paths()[0].vertices[:, 1] for drawn in axes.collections
        if isinstance(drawn, PolyCollection))
    assert (band.min(), band.max()) == pytest.approx((65 - 50**0.5, 85 + 50**0.5))
    assert all(part in figure.get_suptitle() for part in ("± is the sample's deviation (n-1)", "± std (n)"))


def test_a_repeat_under_way_does_not_bend_the_curve_of_those_finished(leave, draw):
    leave("abd", [FALLING, HIGHER[:2]])
    leave("base", [HIGHER[:3]], "base")
    shown = curves(draw("accuracy").axes[0])
    assert shown["ABD (Ours) (1 repeat)"] == [80, 75, 70, 65, 60]
    assert shown["Base (task 4/5)"][:3] == [90, 85, 80] and np.isnan(shown["Base (task 4/5)"][3:]).all()


def test_published_numbers_are_marked_beside_the_protocol_at_any_length_alone(leave, draw):
    leave("abd", [FALLING])
    leave("tenth", [FALLING], schedule=[10, 15, 20, 25], power_iters=1000)
    leave("small", [FALLING], batch_size=64)
    full, tenth, small = (draw("accuracy", label) for label in (
        PAPER.name, f"{PAPER.name} at a tenth of its length", "scaled down or changed: batch_size 64"))
    published = {numbers[5].mean for numbers in TABLES[1].rows.values() if numbers}
    assert hollow(full.axes[0]) == hollow(tenth.axes[0]) == published and hollow(small.axes[0]) == set()
    assert "the paper, at full length" in tenth.get_suptitle().replace("\n", " ")
    assert "the paper" not in small.get_suptitle()


def test_bars_stand_above_the_papers_and_forgetting_has_none_of_the_papers(leave, draw):
    leave("abd", [FALLING, HIGHER])
    leave("ub", [[[70.0]]], "base", first_split_size=100, other_split_size=100)
    accuracy = bars(draw("final-accuracy").axes[0])
    assert (accuracy["ABD (Ours)"], accuracy["UB"], accuracy["LwF"]) == ([65, 43.9], [70, 69.9], [17.0])
    assert bars(draw("forgetting").axes[0]) == {"ABD (Ours)": [25]}
    assert curves(draw("accuracy").axes[0])["UB (1 repeat)"] == [70, 70]


def test_learners_without_published_numbers_are_grey_and_variants_are_told_apart(leave, draw):
    leave("a", [FALLING], learner_name="Own", mse_weight=0.1)
    leave("b", [HIGHER], learner_name="Own", mse_weight=0.2)
    lines = {line.get_label(): line for line in draw("accuracy").axes[0].lines}
    mine = [lines[f"Own, mse_weight {value} (1 repeat)"] for value in (0.1, 0.2)]
    assert {line.get_color() for line in mine} == {GREY}
    assert len({(line.get_marker(), line.get_linestyle()) for line in mine}) == 2


def test_validation_accuracies_are_named(leave, draw):
    leave("held out", [FALLING], validation=True)
    axes = draw("accuracy", "scaled down or changed: validation True").axes[0]
    assert axes.get_ylabel() == "top-1 validation accuracy on all classes so far (%)"


def test_runs_half_first_are_drawn_over_images_beside_r_dfcils_numbers(leave, draw):
    leave("half", [HALF], "rdfcil", "cifar100-b50-t5", images=SIZES)
    leave("tiny", [HALF], "rdfcil", "tinyimagenet-b100-t5", images=SIZES)
    first, second = draw("accuracy", "R-DFCIL's protocol").axes
    assert first.get_title() == "CIFAR-100, half of the classes first, 50 + 5 x 10"
    assert curves(first)["R-DFCIL (1 repeat)"][-1] == pytest.approx(62.5)
    assert hollow(first) == {50.55, 54.76} and hollow(second) == {33.18, 40.44}


@pytest.mark.parametrize("number", TABLES)
def test_every_method_of_a_table_looks_its_own_way(number):
    looks = [STYLES[method.learner] for method in TABLES[number].rows if method is not UB]
    assert len({colour for colour, _ in looks}) == len(looks) == len({marker for _, marker in looks})


def test_the_command_draws_a_folder_per_protocol_and_says_so(leave, tmp_path, capsys):
    leave("abd", [FALLING])
    leave("half", [[[80.0]]], first_split_size=10, other_split_size=10)
    leave("small", [FALLING], batch_size=64)
    leave("begun", [], batch_size=32)
    for size in (1, 2):
        leave(f"long{size}", [FALLING], load_model_dir=f"{'x' * 200}{size}")
    main([str(tmp_path), "--figures", str(tmp_path / "drawn")])
    printed = capsys.readouterr()
    paths = list((tmp_path / "drawn").rglob("*.png"))
    assert printed.out.startswith("Table 1") and printed.err.count("drawn:") == len(paths)
    assert {path.name for path in paths if path.parent.name == "published-protocol"} == {
        *(f"{kind}-5-tasks.png" for kind in ("accuracy", "final-accuracy", "forgetting")),
        "accuracy-10-tasks.png"}
    assert len({path.parent for path in paths}) == 4
    assert all(
        500 < width < 2000 and 300 < height < 2000 for width,
        height in (Image.open(path).size for path in paths))


@pytest.mark.parametrize(
    ("runs", "message"), [([], "no run of the tables has finished a task"), ([FALLING], "cannot be written")])
def test_what_cannot_be_drawn_is_said(leave, tmp_path, runs, message):
    leave("run", runs)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=f"--figures.*{message}"):
        draw_comparison(PaperTables(tmp_path), tmp_path / "file")
