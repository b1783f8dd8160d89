import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from dataloaders.batches import Images, InMemory, Pixels
from utils.reports.dreams import (
    COLUMNS,
    NAME,
    PICTURED,
    ROWS,
    SIDE,
    Gallery,
    dreams_figure,
    dreams_seen,
    pictured_classes,
    real_seen,
    short_name,
)
from utils.reports.figures import accuracy_figure, confusion_figure, loss_records, losses_figure, save_figure
from utils.reports.run_figures import RunFigures

NAMES = tuple(f"class {k}" for k in range(30))


def gallery(images, labels, confidence=None):
    confidence = torch.linspace(0.1, 0.9, len(labels)) if confidence is None else confidence
    return Gallery(images, labels, torch.ones_like(labels, dtype=torch.bool), confidence)


@pytest.fixture
def draw():
    """The figure of dreams beside real images, all white where none are given."""

    def figure(images, labels, confidence=None, real=None):
        real = gallery(torch.ones_like(images), labels) if real is None else real
        return dreams_figure(gallery(images, labels, confidence), real, NAMES, "a title")

    return figure


def pixels(axes):
    return np.asarray(axes.images[0].get_array())


def captions(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


# Dreams


def test_dreams_are_shown_in_the_colours_they_have(draw):
    red = torch.zeros(12, 3, 32, 32)
    red[:, 0] = 1
    left, right = draw(red, torch.arange(12) % 3).axes
    assert (pixels(left) == [255, 0, 0]).all(2).sum() == 12 * 32 * 32
    assert (pixels(right) == 255).all()


def test_the_surest_dreams_are_shown_the_surest_first(draw):
    greys = (torch.arange(30) / 255).view(-1, 1, 1, 1).expand(-1, 3, 4, 4)
    left, _ = draw(greys, torch.zeros(30, dtype=torch.long)).axes
    assert pixels(left)[0, :: 4 + 1, 0].tolist() == list(range(29, 29 - COLUMNS, -1))


def test_a_row_says_its_class_how_many_dreams_it_has_and_how_sure_the_teacher_is(draw):
    real = Gallery(
        torch.rand(4, 3, 8, 8), torch.tensor([7, 7, 7, 9]), torch.tensor([True, False, True, False]),
        torch.tensor([0.5, 0.1, 0.9, 0.2]))
    left, right = draw(
        torch.rand(3, 3, 8, 8), torch.tensor([7, 9, 7]), torch.tensor([0.25, 0.5, 0.75]), real).axes
    assert captions(left) == ["class 7\n2 seen, 50 % sure", "class 9\n1 seen, 50 % sure"]
    assert captions(right) == ["2 of 3 right\n50 % sure", "0 of 1 right\n20 % sure"]


def test_the_real_images_are_said_to_be_for_the_picture_only(draw):
    titles = {axes.get_title() for axes in draw(torch.rand(2, 3, 8, 8), torch.tensor([0, 1])).axes}
    assert "real test images of that class, for this picture only" in titles


def test_of_many_classes_some_of_every_time_are_shown(draw):
    labels = torch.arange(60) % 30
    classes = pictured_classes(labels)
    assert len(classes) == ROWS == len(set(classes))
    assert (classes[0], classes[-1]) == (0, 29)
    figure = draw(torch.rand(60, 3, 8, 8), labels)
    assert len(captions(figure.axes[0])) == ROWS
    assert figure.get_suptitle() == f"a title ({ROWS} of the 30 classes dreamed)"


def test_images_that_are_larger_than_their_place_are_reduced(draw):
    halves = torch.zeros(3, 3, 4 * SIDE, 4 * SIDE)
    halves[..., 2 * SIDE :] = 1
    left, _ = draw(halves, torch.zeros(3, dtype=torch.long)).axes
    first = pixels(left)[:SIDE, :SIDE, 0]
    assert (first[:, : SIDE // 2 - 2] == 0).all() and (first[:, SIDE // 2 + 2 :] == 255).all()
    assert (pixels(left)[:, SIDE : SIDE + 4] == 255).all() and (pixels(left)[:SIDE, SIDE + 4, 0] == 0).all()


@pytest.mark.parametrize("classes", [1, 20])
def test_a_dot_of_an_image_is_as_wide_as_high_and_whole_dots_of_the_picture(draw, tmp_path, classes):
    count = classes * COLUMNS
    red = torch.zeros(count, 3, 32, 32)
    red[:, 0] = 1
    save_figure(tmp_path / "a.png", draw(red, torch.arange(count) % classes))
    picture = np.asarray(Image.open(tmp_path / "a.png").convert("RGB"))
    assert (picture == [255, 0, 0]).all(2).sum() == count * SIDE * SIDE


@pytest.mark.parametrize(("name", "shown"), [
    ("aquarium_fish", "aquarium_fish"), ("great white shark, white shark, man-eater", "great white shark"),
    ("x" * 30, "x" * (NAME - 1) + "…")])
def test_long_names_are_cut(name, shown):
    assert short_name(name) == shown


def test_a_dollar_in_a_class_name_is_a_dollar(tmp_path):
    white = gallery(torch.ones(2, 3, 4, 4), torch.tensor([0, 0]))
    figure = dreams_figure(white, white, ["cost $5_$"], "a title")
    save_figure(tmp_path / "a.png", figure)
    assert captions(figure.axes[0])[0].startswith("cost $5_$\n")


def test_a_class_that_nobody_dreams_has_no_row():
    assert pictured_classes(torch.tensor([5, 2, 5])) == [2, 5]


def test_dreams_are_under_the_class_that_the_teacher_sees():
    dreams = [torch.randn(3, 3, 4, 4), torch.randn(2, 3, 4, 4)]
    logits = torch.randn(5, 6)
    answers = iter(logits.split([3, 2]))
    seen = dreams_seen(lambda images: next(answers), dreams, lambda images: images + 1)
    assert seen.labels.tolist() == logits.argmax(1).tolist()
    torch.testing.assert_close(seen.confidence, logits.softmax(1).max(1).values)
    torch.testing.assert_close(seen.images, torch.cat(dreams) + 1)
    assert seen.right.all()


def test_real_images_are_under_their_own_class_whatever_the_teacher_sees():
    images, labels = torch.arange(
        120, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 2, 2), torch.arange(120) % 4
    source = InMemory(images, labels, Pixels((0.5,) * 3, (0.5,) * 3))
    tests = [Images(source, (labels // 2 == task).nonzero().flatten()) for task in (0, 1)]

    def always_two(x):
        return torch.tensor([0.0, 0.0, 1.0, 0.0]).expand(len(x), 4)

    real = real_seen(always_two, tests, [0, 2])
    assert real.labels.tolist() == [0] * PICTURED + [2] * PICTURED
    assert real.right.tolist() == [False] * PICTURED + [True] * PICTURED
    assert real.confidence[0].item() == pytest.approx(1 / (3 + np.e))
    assert (real.images[:, 0, 0, 0] * 255).round().tolist() == [
        *range(0, 4 * PICTURED, 4), *range(2, 2 + 4 * PICTURED, 4)]


# Accuracies and losses


def test_the_heat_map_shows_every_accuracy_and_the_mean_after_each_task():
    axes = accuracy_figure([[90.0], [40.0, 80.0]], 3, "a title").axes[0]
    expected = [[90, np.nan, np.nan, np.nan, 90], [40, 80, np.nan, np.nan, 60], [np.nan] * 5]
    np.testing.assert_array_equal(np.ma.filled(axes.images[0].get_array(), np.nan), expected)
    assert [text.get_text() for text in axes.texts] == ["90", "90", "40", "80", "60"]
    assert axes.images[0].get_clim() == (0, 100)


def test_the_heat_map_has_a_place_for_what_is_to_come():
    to_come = accuracy_figure([[90.0]], 2, "a title").axes[0].images[1].get_array()
    assert to_come.filled(0).tolist() == [[1, 0, 0, 1], [1, 1, 0, 1]]


def record(task, stage, epoch, **losses):
    return {
        "repeat": 1, "task": task, "stage": stage, "epoch": epoch, "lr": 0.1, "losses": losses,
        "seconds": 1.0}


def test_every_loss_has_a_panel_by_name_and_a_row_a_stage():
    records = [
        record(1, "learn", 1, classification=2.0), record(1, "learn", 2, classification=1.0), record(
            2, "dream", 1, content=3.0, balance=0.0),
        record(2, "learn", 1, local=5.0, distillation=0.5), record(
            2, "learn", 2, local=4.0, distillation=0.25)]
    panels = {
        axes.get_title(): axes.lines[0].get_xydata().tolist()
        for axes in losses_figure(records, "a title").axes if axes.get_visible()}
    assert panels == {
        "learn: classification": [[1, 2], [2, 1]], "learn: local": [[3, 5], [4, 4]], "learn: distillation": [
            [3, 0.5], [4, 0.25]],
        "dream: content": [[1, 3]], "dream: balance": [[1, 0]]}


def test_no_line_leads_from_one_task_to_the_next():
    axes, = losses_figure(
        [record(task, "learn", epoch, a=1.0) for task in (1, 2) for epoch in (1, 2)], "a title").axes
    assert np.isnan(axes.lines[0].get_ydata()).tolist() == [False, False, True, False, False]


def test_a_small_loss_has_no_factor_over_its_title():
    axes, = losses_figure(
        [record(1, "learn", epoch, a=value) for epoch, value in ((1, 2e-5), (2, 4e-5))], "a title").axes
    axes.figure.draw_without_rendering()
    assert axes.yaxis.get_offset_text().get_text() == ""
    assert "3e-05" in [label.get_text() for label in axes.get_yticklabels()]


def test_the_number_of_a_task_is_below_the_middle_of_its_epochs():
    axes, = losses_figure(
        [record(task, "learn", epoch, a=1.0) for task, epochs in ((1, 2), (2, 4)) for epoch in range(epochs)],
        "a title").axes
    assert dict(zip([label.get_text() for label in axes.get_xticklabels()], axes.get_xticks())) == {
        "1": 1.5, "2": 4.5}


def test_the_losses_of_a_repeat_are_those_of_its_epochs(tmp_path):
    mine, other = record(1, "learn", 1, a=1.0), record(1, "learn", 1, a=2.0) | {"repeat": 2}
    lines = [mine, {"repeat": 1, "task": 1, "accuracy": 50.0}, other]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert loss_records(tmp_path / "metrics.jsonl", 1) == [mine]


@pytest.mark.parametrize("tasks", [2, 20])
def test_a_saved_figure_is_a_picture(tmp_path, tasks):
    save_figure(
        tmp_path / "new" / "a.png",
        accuracy_figure([[50.0] * (after + 1) for after in range(tasks)], tasks, "a title"))
    width, height = Image.open(tmp_path / "new" / "a.png").size
    assert 400 < height <= width < 1600


# Confusion


def test_confusion_is_in_shares_of_each_tasks_images_and_what_is_right_stands_apart():
    confusion = torch.tensor(
        [[6, 1, 3], [0, 5, 5], [10, 0, 10]])  # three classes in two tasks, the second of two
    axes = confusion_figure(confusion, [range(0, 1), range(1, 3)], "a title", "validation images").axes[0]
    assert {text.get_position(): text.get_text() for text in axes.texts} == {
        (0, 0): "60", (1, 0): "40", (3, 0): "60", (0, 1): "33", (1, 1): "67", (3, 1): "50"}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "right"]
    assert axes.get_ylabel() == "validation images of task"


# A run's own


def test_a_run_draws_its_figures_and_says_what_its_accuracies_are(trainer, tmp_path):
    drawn = {}
    started = trainer(tmp_path, "AlwaysBeDreaming", "--no_figures", 0, "--validation")
    listener, = (one for one in started.listeners if isinstance(one, RunFigures))
    listener.drawn = lambda name, figure, tasks: drawn.setdefault((name, tasks), figure)
    started.run()
    assert drawn.keys() == {
        ("accuracy", 1), ("losses", 1), ("dreams-after-task-1", 1), ("accuracy", 2), ("confusion", 2),
        ("losses", 2)}
    assert {path.name for path in (tmp_path / "figures" / "repeat-1").iterdir()} == {
        f"{name}.png" for name, _ in drawn}
    assert drawn["accuracy", 2].get_suptitle().split("\n")[1].count("% (validation)")
    assert drawn["accuracy", 2].axes[1].get_ylabel() == "top-1 validation accuracy (%)"
    assert drawn["confusion", 2].axes[0].get_ylabel() == "validation images of task"
    titles = {axes.get_title() for axes in drawn["dreams-after-task-1", 1].axes}
    assert "real validation images of that class, for this picture only" in titles


def test_importing_figures_leaves_the_formulas_of_a_host_program_alone(root):
    code = "import matplotlib, utils.reports.figures; print(matplotlib.rcParams['text.parse_math'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout == "True\n"


def test_a_long_title_is_not_cut_off_by_the_edge_of_the_picture():
    title = "accuracy 33.3 % (top-5, validation) mean of tasks, 33.0 % (top-5, validation) over images"
    figure = accuracy_figure([[60.0], [50.0, 40.0]], 2, f"ABD: repeat 1\n{title}")
    text = figure.get_suptitle()
    assert " ".join(text.split()) == f"ABD: repeat 1 {title}" and text.startswith("ABD: repeat 1\n")
    drawn = figure._suptitle.get_window_extent(FigureCanvasAgg(figure).get_renderer())
    assert drawn.width < figure.bbox.width
