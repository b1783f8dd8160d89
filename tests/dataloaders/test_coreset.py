import pytest
import torch

from dataloaders.coreset import rank_in_class, shares


@pytest.mark.parametrize(("memory", "counts", "expected"), [
    (10, [30] * 4, [2, 2, 3, 3]), (3, [30] * 4, [0, 1, 1, 1]), (0, [30] * 2, [0, 0]), (10, [], []),
    # The remainder goes to the latest classes that have more than the equal share.
    (10, [2, 30, 30], [2, 3, 4]), (11, [30, 3, 2], [4, 3, 2]), (8, [2, 2, 2], [2, 2, 2]),
])
def test_shares(memory, counts, expected):
    assert shares(memory, counts) == expected


@pytest.mark.parametrize("count", [0, 3, 99])
def test_the_first_of_each_class_are_found_in_any_order(count):
    labels = torch.arange(10).repeat(30)[torch.randperm(300)]
    first = rank_in_class(labels) < count
    assert all(first[labels == label].tolist() == [k < count for k in range(30)] for label in range(10))
