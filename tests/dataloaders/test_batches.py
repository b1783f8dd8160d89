from dataclasses import replace

import pytest
import torch
from conftest import serve

from dataloaders.batches import Images, InMemory, Iterations, Pixels, ShuffledBatches
from utils.streams import Streams


@pytest.fixture
def data():
    """70 images; every pixel of an image is its place, its label the place times 3."""
    images = torch.arange(70, dtype=torch.uint8).view(-1, 1, 1, 1).repeat(1, 3, 32, 32)
    return Images.all_of(InMemory(images, 3 * torch.arange(70), Pixels((0.0,) * 3, (1.0,) * 3)))


@pytest.fixture
def batches(data):
    def build(augmented=False, choose=lambda: data):
        streams = Streams()
        streams.start(0, 0)
        return ShuffledBatches(choose, 16, augmented, streams)

    return build


def labels(epoch):
    return torch.cat([y for _, y in epoch]).tolist()


@pytest.mark.parametrize("augmented", [False, True])
def test_an_epoch_serves_whole_batches_of_distinct_images_in_an_order_of_its_own_stream(batches, augmented):
    served = list(serve(batches(augmented=augmented)))
    assert [len(y) for _, y in served] == [16] * 4
    assert {x.shape for x, _ in served} == {(16, 3, 32, 32)}
    assert len(set(labels(served))) == 64 and labels(served) == labels(serve(batches()))
    for x, y in served if not augmented else ():
        assert torch.equal((x[:, 0, 0, 0] * 255 * 3).round().long(), y)


def test_images_are_chosen_once_when_the_first_epoch_begins(batches, data):
    asked = []
    chosen = batches(choose=lambda: asked.append(1) or data)
    assert asked == []
    for epoch in range(2):
        assert len(list(serve(chosen, epoch))) == chosen.steps(epoch) == 4
    assert asked == [1]


def test_a_set_smaller_than_a_batch_is_one_batch(batches, data):
    few = batches(choose=lambda: data[torch.arange(5)])
    (_, served), = serve(few)
    assert sorted(served.tolist()) == [0, 3, 6, 9, 12] and few.steps(0) == 1
    assert batches(choose=lambda: data[:0]).steps(0) == 0


@pytest.mark.parametrize("size", [1, 32, 500])
def test_in_order_serves_every_image_once_as_it_is(data, size):
    data = Images.all_of(replace(data.source, evaluation_batch=size))
    served = list(data.in_order())
    assert max(len(y) for _, y in served) == min(size, 70)
    assert labels(served) == data.labels.tolist()
    assert torch.equal((torch.cat([x for x, _ in served]) * 255).round(), data.source.stored.float())
    both = data[torch.tensor([5, 5, 7])] + data[torch.tensor([0])]
    assert labels(both.in_order()) == both.labels.tolist() == [15, 15, 21, 0]


def test_denormalise_undoes_normalise():
    images, pixels = torch.randint(256, (8, 3, 4, 4)).byte(), Pixels((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    torch.testing.assert_close(pixels.denormalise(pixels.normalise(images)), images / 255, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("total", "rounds"), [(250, [250]), (251, [250, 1])])
def test_steps_without_data_are_cut_into_rounds(total, rounds):
    iterations = Iterations(total)
    assert [iterations.steps(epoch) for epoch in range(iterations.rounds)] == rounds
    assert [len(list(serve(iterations, epoch))) for epoch in range(iterations.rounds)] == rounds
