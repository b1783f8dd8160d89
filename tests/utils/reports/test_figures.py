"""The figures that a run draws: dreams beside real images, accuracies, confusion, losses."""

import functools
import subprocess
import sys

import numpy as np
import torch
from PIL import Image

from utils.reports.dreams import COLUMNS, ROWS, Gallery, dreams_figure, look, pictured_classes
from utils.reports.figures import accuracy_figure, confusion_figure, losses_figure, save_figure
from utils.reports.run_figures import RunFigures

NAMES = [f"class {k}" for k in range(30)]


def dreams(images, labels, sure=None, names=NAMES):
    """The figure of dreams beside white real images."""
    labels = torch.tensor(labels)
    sure = torch.linspace(0.1, 0.9, len(labels)) if sure is None else torch.tensor(sure)
    real = Gallery(torch.ones_like(images), labels, sure)
    return dreams_figure(Gallery(images, labels, sure), real, names, "a title")


def next_of(answers, images):
    return next(answers)


def pixels(axes):
    return np.asarray(axes.images[0].get_array())


def texts(labels):
    return [label.get_text() for label in labels]


def test_the_surest_dreams_of_a_class_are_shown_first_in_their_colours():
    greys = (torch.arange(30) / 255).view(-1, 1, 1, 1).expand(-1, 3, 4, 4)
    left, right = dreams(greys, [0] * 30).axes
    assert pixels(left)[0, :: 4 + 1, 0].tolist() == list(range(29, 29 - COLUMNS, -1))
    assert (pixels(right) == 255).all()
    red = torch.zeros(12, 3, 32, 32)
    red[:, 0] = 1
    left, _ = dreams(red, [0, 1, 2] * 4).axes
    assert (pixels(left) == [255, 0, 0]).all(2).sum() == 12 * 32 * 32


def test_a_row_says_its_class_how_many_images_it_has_and_how_sure_the_teacher_is():
    names = ["great white shark, white shark, man-eater", "cost $5_$"]
    figure = dreams(torch.rand(3, 3, 8, 8), [0, 1, 0], [0.25, 0.5, 0.75], names)
    left, right = figure.axes
    assert texts(left.get_yticklabels()) == [
        "great white shark\n2 dreams, 50 % sure", "cost $5_$\n1 dreams, 50 % sure"]
    assert texts(right.get_yticklabels()) == ["2 images, 50 % sure", "1 images, 50 % sure"]
    assert "only for this picture" in right.get_title()


def test_of_many_classes_some_of_every_time_are_shown():
    labels = [k % 30 for k in range(60)]
    classes = pictured_classes(torch.tensor(labels))
    assert len(set(classes)) == ROWS and (classes[0], classes[-1]) == (0, 29)
    assert pictured_classes(torch.tensor([5, 2, 5])) == [2, 5]
    assert f"({ROWS} of 30 classes)" in dreams(torch.rand(60, 3, 8, 8), labels).get_suptitle()


def test_dreams_are_under_the_class_that_the_teacher_sees_and_real_images_under_their_own():
    batches, logits = [torch.randn(3, 3, 4, 4), torch.randn(2, 3, 4, 4)], torch.randn(5, 6)
    for own in (None, torch.tensor([0, 1, 2, 3, 4])):
        answers = iter(logits.split([3, 2]))
        seen = look(functools.partial(next_of, answers), lambda images: images + 1, batches, own)
        expected = logits.argmax(1) if own is None else own
        assert torch.equal(seen.labels, expected) and torch.equal(seen.images, torch.cat(batches) + 1)
        assert torch.equal(seen.sure, logits.softmax(1)[range(5), expected])


def test_the_heat_map_shows_every_accuracy_and_the_mean_after_each_task(tmp_path):
    figure = accuracy_figure([[90.0], [40.0, 80.0]], 3, "a title")
    axes = figure.axes[0]
    expected = [[90, np.nan, np.nan, np.nan, 90], [40, 80, np.nan, np.nan, 60], [np.nan] * 5]
    np.testing.assert_array_equal(np.ma.filled(axes.images[0].get_array(), np.nan), expected)
    assert texts(axes.texts) == ["90", "90", "40", "80", "60"] and axes.images[0].get_clim() == (0, 100)
    save_figure(tmp_path / "new" / "a.png", figure)
    assert all(300 < side < 1600 for side in Image.open(tmp_path / "new" / "a.png").size)


def test_confusion_is_in_shares_of_each_tasks_images_and_what_is_right_stands_apart():
    confusion = torch.tensor([[6, 1, 3], [0, 5, 5], [10, 0, 10]])  # three classes, the second task of two
    axes = confusion_figure(confusion, [0, 1], "a title", "validation images").axes[0]
    assert {text.get_position(): text.get_text() for text in axes.texts} == {
        (0, 0): "60", (1, 0): "40", (3, 0): "60", (0, 1): "33", (1, 1): "67", (3, 1): "50"}
    assert texts(axes.get_xticklabels()) == ["1", "2", "right"]
    assert axes.get_ylabel() == "validation images of task"


def record(task, stage, **losses):
    return {"repeat": 1, "task": task, "stage": stage, "losses": losses}


def test_every_loss_has_a_panel_and_no_line_leads_from_one_task_to_the_next():
    records = [
        record(1, "learn", classification=2.0), record(1, "learn", classification=1.0),
        record(2, "dream", content=3.0), record(2, "learn", local=5.0), record(2, "learn", local=4.0),
        record(3, "learn", local=6.0)]
    panels = {
        axes.get_title(): [line.get_xydata().tolist() for line in axes.lines]
        for axes in losses_figure(records, "a title").axes if axes.lines}
    assert panels == {
        "learn: classification": [[[1, 2], [2, 1]]], "learn: local": [[[3, 5], [4, 4]], [[5, 6]]],
        "dream: content": [[[1, 3]]]}


def test_a_run_draws_its_figures_and_says_what_its_accuracies_are(trainer, tmp_path):
    drawn = {}
    started = trainer(tmp_path, "AlwaysBeDreaming", "--no_figures", 0, "--validation")
    listener, = (one for one in started.listeners if isinstance(one, RunFigures))
    listener.drawn = lambda name, figure, tasks: drawn.setdefault((name, tasks), figure)
    started.run()
    assert drawn.keys() == {
        ("accuracy", 1), ("losses", 1), ("dreams-after-task-1", 1), ("accuracy", 2), ("confusion", 2),
        ("losses", 2)}
    files = (tmp_path / "figures" / "repeat-1").iterdir()
    assert {path.stem for path in files} == {name for name, _ in drawn}
    assert drawn["accuracy", 2].axes[1].get_ylabel() == "top-1 validation accuracy (%)"
    assert drawn["confusion", 2].axes[0].get_ylabel() == "validation images of task"
    titles = texts(axes.title for axes in drawn["dreams-after-task-1", 1].axes)
    assert "real validation images of that class, only for this picture" in titles


def test_importing_figures_leaves_the_formulas_of_a_host_program_alone(root):
    code = "import matplotlib, utils.reports.figures; print(matplotlib.rcParams['text.parse_math'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout == "True\n"
