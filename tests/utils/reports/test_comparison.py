"""The figures of tables."""

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from PIL import Image

from tests.utils.reports.conftest import matrix
from utils.reports.comparison import COLOURS, GREY, MARKERS, bars, curves
from utils.reports.paper import METHODS
from utils.reports.tables import main

FALLING, HIGHER = matrix(5), matrix(5, 90.0)  # after each task 80 75 70 65 60, and 90 85 80 75 70
HALF, SIZES = [[60.0 - 5 * after, *[90.0] * after] for after in range(6)], [5000, *[1000] * 5]


@pytest.fixture
def panel(tables, monkeypatch):
    """One panel of the first table: panel(draw, argument, ...) -> Axes."""
    from matplotlib.figure import Figure

    def draw(function, *arguments):
        axes = Figure().subplots()
        function(tables()[0], axes, *arguments)
        return axes

    return draw


def lines(axes):
    """{name: accuracy after each task}."""
    return {line.get_label(): np.asarray(line.get_ydata()).tolist() for line in axes.lines
            if not line.get_label().startswith("_")}


def hollow(axes):
    return [float(line.get_ydata()[0]) for line in axes.lines if line.get_markerfacecolor() == "white"]


def widths(axes):
    """{name: values of its bars}, the published one last."""
    names = [label.get_text() for label in axes.get_yticklabels()]
    places = [(round(bar.get_y() + bar.get_height() / 2), bar.get_width()) for bar in axes.patches]
    return {name: [width for place, width in places if place == row and np.isfinite(width)]
            for row, name in enumerate(names)}


def test_a_curve_is_the_mean_over_finished_repeats_with_a_band_beside_the_papers_number(leave, panel):
    leave("abd-s0", [FALLING], repeat=1)
    leave("abd-s1", [HIGHER, HIGHER[:2]], repeat=2, seed=1)
    leave("base", [HIGHER[:3]], "base", repeat=1)
    axes = panel(curves)
    assert lines(axes)["ABD"] == [85, 80, 75, 70, 65]
    assert lines(axes)["Base"][:3] == [90, 85, 80] and np.isnan(lines(axes)["Base"][3:]).all()
    band = [drawn for drawn in axes.collections if isinstance(drawn, PolyCollection)][-1]
    edge = band.get_paths()[0].vertices[:, 1]
    assert (edge.min(), edge.max()) == pytest.approx((65 - 50**0.5, 85 + 50**0.5))
    assert hollow(axes) == [16.4, 43.9]


def test_bars_stand_above_the_papers_and_forgetting_has_none(leave, panel):
    leave("abd", [FALLING, HIGHER])
    leave("ub", [[[70.0]]], "base", first_split_size=100, other_split_size=100)
    assert widths(panel(bars, "final")) == {"UB": [70, 69.9], "ABD": [65, 43.9]}
    assert widths(panel(bars, "forgetting")) == {"UB": [], "ABD": [25]}
    assert lines(panel(curves))["UB"] == [70, 70]


def test_runs_half_first_are_drawn_over_images(leave, panel):
    leave("half", [HALF], "rdfcil", "cifar100-b50-t5", images=SIZES)
    axes = panel(curves)
    assert (axes.get_ylabel(), hollow(axes)) == ("accuracy over images (%)", [54.76])
    assert lines(axes)["R-DFCIL"][-1] == pytest.approx(62.5)


def test_own_learners_are_grey_and_runs_of_one_method_told_apart(leave, panel):
    leave("a", [FALLING], learner_name="Own", mse_weight=0.1)
    leave("b", [HIGHER], learner_name="Own", mse_weight=0.2)
    drawn = {line.get_label(): line for line in panel(curves).lines}
    mine = [drawn[f"Own ({name})"] for name in "ab"]
    assert {line.get_color() for line in mine} == {GREY} and len({line.get_marker() for line in mine}) == 2
    assert GREY not in COLOURS and len(METHODS) <= len(MARKERS) + 2


@pytest.mark.parametrize("form", ["png", "svg", "pdf"])
def test_the_command_draws_a_figure_per_table(leave, tmp_path, capsys, form):
    leave("abd", [FALLING])
    leave("half", [[[80.0]]], first_split_size=10, other_split_size=10, batch_size=64)
    leave("begun", [], dataset="Digits", first_split_size=2, other_split_size=2)
    main([str(tmp_path), "--figures", str(tmp_path / "drawn"), "--format", form])
    paths = sorted((tmp_path / "drawn").iterdir())
    assert [path.name for path in paths] == [
        f"{name}-classes-top-1-accuracy.{form}"
        for name in ("CIFAR100-10-x-10", "CIFAR100-5-x-20", "Digits-5-x-2")]
    assert capsys.readouterr().err.count("drawn:") == 3
    if form == "png":
        assert Image.open(paths[0]).size > (2000, 500)
