import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from utils.reports.confusion import by_task, confusion_figure, right_by_task
from utils.reports.figures import save_figure


@pytest.fixture
def confusion():
    """Of three classes in two tasks, the second of two."""
    return torch.tensor([[6, 1, 3], [0, 5, 5], [10, 0, 10]])


RANGES = [range(0, 1), range(1, 3)]


def test_shares_are_of_the_images_of_each_task(confusion):
    assert by_task(confusion, RANGES).tolist() == pytest.approx(np.array([[60.0, 40.0], [1000 / 30, 2000 / 30]]))
    assert right_by_task(confusion, RANGES).tolist() == [60.0, 50.0]


def test_a_cell_says_its_share_and_what_is_right_stands_apart(confusion):
    axes = confusion_figure(confusion, RANGES, "a title").axes[0]
    assert {text.get_position(): text.get_text() for text in axes.texts} == {
        (0, 0): "60", (1, 0): "40", (3, 0): "60", (0, 1): "33", (1, 1): "67", (3, 1): "50"}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "right"]


@pytest.mark.parametrize("tasks", [1, 20])
def test_any_number_of_tasks_fits_the_picture(tmp_path, tasks):
    confusion = torch.full((100, 100), 1)
    ranges = [range(start, start + 100 // tasks) for start in range(0, 100, 100 // tasks)]
    figure = confusion_figure(confusion, ranges, "DeepInversionGenBN: repeat 3, after task 20 of 20")
    save_figure(tmp_path / "confusion.png", figure)
    assert min(Image.open(tmp_path / "confusion.png").size) > 300
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    box, renderer = figure.get_window_extent(), canvas.get_renderer()
    axes = figure.axes[0]
    texts = [*axes.texts, axes.xaxis.label, axes.yaxis.label, *axes.get_xticklabels(), figure.axes[1].yaxis.label]
    extents = [text.get_window_extent(renderer) for text in texts]
    assert all(box.x0 <= one.x0 and one.x1 <= box.x1 and box.y0 <= one.y0 and one.y1 <= box.y1 for one in extents)
    cells = [text.get_window_extent(renderer) for text in axes.texts]
    assert not any(a.overlaps(b) for place, a in enumerate(cells) for b in cells[:place])
