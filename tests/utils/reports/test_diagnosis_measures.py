import math

import numpy as np
import pytest
import torch

from utils.reports.diagnosis_measures import DIAGNOSTICS, diagnose_model, linear_cka, median_distance, squared_mmd

OF_DREAMS = {name for name in DIAGNOSTICS if "dreams" in name}


@pytest.fixture
def sample():
    random = torch.Generator().manual_seed(0)
    return lambda *shape: torch.randn(*shape, generator=random)


def column(*values):
    return torch.tensor(values, dtype=torch.float).unsqueeze(1)


# Maximum mean discrepancy


def test_points_that_lie_apart_have_the_distance_of_the_kernel():
    # Every pair within a sample has kernel 1, every pair between them exp(-d^2 / (2 s^2)).
    assert squared_mmd(column(0, 0), column(3, 3, 3), 2.0) == pytest.approx(2 - 2 * math.exp(-9 / 8))


def test_a_pair_with_itself_is_not_counted():
    k = math.exp(-1 / 2)
    assert squared_mmd(column(0, 1), column(0, 1), 1.0) == pytest.approx(k + k - 2 * (1 + k) / 2)


def test_it_is_0_on_average_for_one_distribution_and_above_for_two(sample):
    same = [squared_mmd(sample(40, 3), sample(50, 3), 1.5) for _ in range(200)]
    assert abs(np.mean(same)) < 3 * np.std(same) / math.sqrt(200)
    assert min(same) < 0
    assert squared_mmd(sample(40, 3), sample(50, 3) + 1, 1.5) > max(same)


def test_it_depends_on_distances_alone(sample):
    x, y = sample(20, 4), sample(30, 4) + 0.5
    turn = torch.linalg.qr(sample(4, 4)).Q
    expected = squared_mmd(x, y, 1.0)
    assert squared_mmd(y, x, 1.0) == pytest.approx(expected)
    assert squared_mmd(3 * (x @ turn) + 7, 3 * (y @ turn) + 7, 3.0) == pytest.approx(expected, rel=1e-4)


def test_the_bandwidth_is_the_median_of_all_distances():
    assert median_distance(column(0, 1, 3)) == 2
    assert squared_mmd(column(5, 5), column(5, 5), median_distance(column(5, 5, 5, 5))) == 0


# Centred kernel alignment


def test_representations_are_the_same_but_for_rotation_scale_and_place(sample):
    x, turn = sample(30, 5), torch.linalg.qr(sample(5, 5)).Q
    assert linear_cka(x, x) == pytest.approx(1)
    assert linear_cka(x, 3 * x @ turn + 2) == pytest.approx(1)
    assert linear_cka(x, x * torch.tensor([9.0, 1, 1, 1, 1])) < 0.9


def test_alignment_by_hand():
    assert linear_cka(column(1, -1, 0, 0), column(0, 0, 1, -1)) == pytest.approx(0)
    assert linear_cka(column(1, -1, 1, -1), column(1, -1, 0, 0)) == pytest.approx(2**2 / (4 * 2))


def test_alignment_with_a_constant_is_unknown():
    assert math.isnan(linear_cka(column(1, 2, 3), column(4, 4, 4)))


# A model


@pytest.fixture
def learned(problem, sample):
    """A learner whose second task is done, and images of the three kinds."""
    learner, (_, task) = problem("NormalNN")
    learner.eval().start_task(task)
    return learner, task, [sample(6, 3, 32, 32), sample(4, 3, 32, 32)], [sample(8, 3, 32, 32)], [sample(7, 3, 32, 32)]


def test_rows_confusion_and_alignment_of_a_known_model(learned):
    learner, task, *images = learned
    with torch.no_grad():
        learner.model.last.weight[:2] = torch.eye(64)[:2] * 3
        learner.model.last.weight[2:4] = torch.eye(64)[:2] * 5
        learner.model.last.weight[4:] = torch.eye(64)[0] * 100
        learner.model.last.bias[:] = torch.tensor([0, 0, 1e3, 0, *[1e6] * 6])  # classes not seen yet don't count
    found = diagnose_model(learner, task, *images)
    assert (found["norm_old"], found["norm_new"]) == pytest.approx((3, 5))
    assert (found["old_as_new"], found["dreams_as_new"], found["new_as_old"]) == (100, 100, 0)
    assert (found["cka_old"], found["cka_dreams"], found["cka_new"]) == pytest.approx((1, 1, 1))  # the teacher has the model's features


def test_dreams_like_the_real_images_are_as_near_as_they_are(learned):
    learner, task, old, new, _ = learned
    found = diagnose_model(learner, task, old, new, new)
    assert found["mmd_dreams"] == found["mmd_new"]
    assert found["dreams_as_new"] == 100 - found["new_as_old"]


def test_a_learner_that_dreams_nothing_has_no_numbers_of_dreams(learned):
    learner, task, old, new, _ = learned
    assert {name for name, value in diagnose_model(learner, task, old, new, []).items() if math.isnan(value)} == OF_DREAMS
