import pytest
import torch

from dataloaders.batches import Images, InMemory, Pixels
from dataloaders.coreset import Coreset, first_of_each_class, herding, nearest_to_mean, shares

LABELS = torch.arange(10).repeat(30)


@pytest.fixture
def source():
    return InMemory(torch.zeros(300, 3, 4, 4, dtype=torch.uint8), LABELS, Pixels((0.0,) * 3, (1.0,) * 3))


@pytest.fixture
def features():
    return torch.randn(300, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def images_of(source, *classes):
    return Images(source, torch.isin(source.labels, torch.tensor(classes)).nonzero().flatten())


@pytest.mark.parametrize(("memory", "counts", "expected"), [
    (10, [30] * 4, [2, 2, 3, 3]), (3, [30] * 4, [0, 1, 1, 1]), (0, [30] * 2, [0, 0]), (10, [], []),
    # The remainder goes to the latest classes that have more than the equal share.
    (10, [2, 30, 30], [2, 3, 4]), (11, [30, 3, 2], [4, 3, 2]), (8, [2, 2, 2], [2, 2, 2]),
])
def test_shares(memory, counts, expected):
    assert shares(memory, counts) == expected


def test_nearest_to_mean_ranks_by_distance(features):
    distance = (features - features.mean(0)).norm(dim=1)
    assert torch.equal(distance[nearest_to_mean(features, 20)], distance.sort().values[:20])


def test_herding_is_the_greedy_choice_written_out(features):
    features = features[:40]
    mean, chosen = features.mean(0), []
    for _ in range(15):
        left = [place for place in range(40) if place not in chosen]
        chosen.append(min(left, key=lambda place: (mean - features[[*chosen, place]].mean(0)).norm().item()))
    assert herding(features, 15).tolist() == chosen
    for count, expected in ((0, 0), (40, 40), (99, 40)):  # no image twice, and no more than there are
        assert len(set(herding(features, count).tolist())) == expected


def test_random_choice_takes_of_each_class_its_share_of_the_data(source):
    coreset = Coreset(50)
    coreset.draw(images_of(source, 0, 1, 2, 3), 4, torch.Generator().manual_seed(0))
    chosen = coreset.images(source)
    assert chosen.labels.tolist() == [0] * 12 + [1] * 12 + [2] * 13 + [3] * 13
    assert len(set(chosen.rows.tolist())) == 50


def test_a_ranked_class_keeps_the_first_of_its_own_list(source, features):
    coreset = Coreset(20)
    coreset.rank(images_of(source, 0, 1), 2, lambda images: features[images.rows], herding)
    before = [rows.tolist() for rows in coreset.classes]
    coreset.rank(images_of(source, 2, 3), 4, lambda images: -features[images.rows], nearest_to_mean)
    assert [rows.tolist() for rows in coreset.classes[:2]] == [rows[:5] for rows in before]
    assert coreset.images(source).labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5 + [3] * 5


def test_a_coreset_goes_on_from_its_state(source, features):
    coreset, other = Coreset(5), Coreset(5)
    assert len(other.images(source)) == 0
    for last in (1, 3, 5):  # fewer images than classes in the end
        new = images_of(source, last - 1, last)
        coreset.rank(new, last + 1, lambda images: features[images.rows], herding)
        other.load_state_dict(coreset.state_dict())
        assert [rows.tolist() for rows in other.classes] == [rows.tolist() for rows in coreset.classes]
        assert len(other) == len(coreset) == 5


@pytest.mark.parametrize("count", [0, 3, 99])
def test_the_first_of_each_class_are_found_in_any_order(count):
    labels = LABELS[torch.randperm(300)]
    first = first_of_each_class(labels, count)
    assert all(first[labels == label].tolist() == [k < count for k in range(30)] for label in range(10))
