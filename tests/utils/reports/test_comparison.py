"""The figures of tables."""

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from tests.utils.reports.conftest import HALF, SIZES, matrix
from utils.errors import UserError
from utils.reports.comparison import GREY, bars, curves
from utils.reports.tables import main

FALLING, HIGHER = matrix(5), matrix(5, 90.0)  # after each task 80 75 70 65 60, and 90 85 80 75 70


@pytest.fixture
def panel(tables):
    """A panel of the first table: panel(draw, argument, ...) -> Axes."""

    def draw(function, *arguments):
        axes = Figure().subplots()
        function(tables()[0], axes, *arguments)
        return axes

    return draw


def lines(axes):
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


def hollow(axes):
    values = [line.get_ydata()[0] for line in axes.lines if line.get_markerfacecolor() == "white"]
    return [value for value in values if np.isfinite(value)]


def widths(axes):
    return [bar.get_width() for bar in axes.patches if np.isfinite(bar.get_width())]


def test_a_curve_is_the_mean_over_finished_repeats_with_a_band_beside_the_papers_number(leave, panel):
    leave("abd", [FALLING, HIGHER, HIGHER[:2]])
    leave("base", [HIGHER[:3]], "base")
    axes = panel(curves)
    assert lines(axes)["ABD (abd)"].get_ydata().tolist() == [85, 80, 75, 70, 65]
    assert lines(axes)["Base (base)"].get_ydata().tolist()[:3] == [90, 85, 80]
    assert hollow(axes) == [16.4, 43.9]
    band = [drawn for drawn in axes.collections if isinstance(drawn, PolyCollection)][-1]
    edge = band.get_paths()[0].vertices[:, 1]
    assert (edge.min(), edge.max()) == pytest.approx((65 - 50**0.5, 85 + 50**0.5))


def test_bars_stand_above_the_papers_and_forgetting_has_none(leave, panel):
    leave("abd", [FALLING, HIGHER])
    leave("ub", [[[70.0]]], "base", first_split_size=100, other_split_size=100)
    assert widths(panel(bars, "final")) == [70, 69.9, 65, 43.9] and widths(panel(bars, "forgetting")) == [25]
    assert lines(panel(curves))["UB (ub)"].get_ydata().tolist() == [70, 70]


def test_runs_half_first_are_drawn_over_images(leave, panel):
    leave("half", [HALF], "rdfcil", "cifar100-b50-t5", images=SIZES)
    axes = panel(curves)
    assert (axes.get_ylabel(), hollow(axes)) == ("accuracy over images (%)", [54.76])
    assert lines(axes)["R-DFCIL (half)"].get_ydata()[-1] == pytest.approx(62.5)


def test_own_learners_are_grey_and_runs_of_one_method_told_apart(leave, panel):
    leave("a", [FALLING], learner_name="Own", mse_weight=0.1)
    leave("b", [HIGHER], learner_name="Own", mse_weight=0.2)
    a, b = lines(panel(curves)).values()
    assert (a.get_color(), b.get_color()) == (GREY, GREY) and a.get_marker() != b.get_marker()


def test_the_command_draws_a_figure_per_table(leave, tmp_path, capsys):
    leave("abd", [FALLING])
    leave("begun", [], dataset="Digits", first_split_size=2, other_split_size=2)
    for form in ("png", "svg", "pdf"):
        main([str(tmp_path), "--figures", str(tmp_path / form), "--format", form])
        assert capsys.readouterr().err.count("drawn ") == 2
        names = [f"{name}-classes-top-1-accuracy.{form}" for name in ("CIFAR100-5-x-20", "Digits-5-x-2")]
        assert sorted(path.name for path in (tmp_path / form).iterdir()) == names
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--figures .*file: cannot be written"):
        main([str(tmp_path), "--figures", str(tmp_path / "file")])
