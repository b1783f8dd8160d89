import torch

from utils.streams import NAMES, Streams, seed_of


def test_a_place_gives_the_same_draws_again_and_places_and_names_all_differ():
    def draws(seed, task):
        streams = Streams()
        streams.start(seed, task)
        return [tuple(torch.rand(4, generator=getattr(streams, name)).tolist()) for name in NAMES]

    assert draws(1, 2) == draws(1, 2)
    assert len({*draws(0, 0), *draws(0, 1), *draws(1, 0)}) == 3 * len(NAMES)
    assert seed_of(1, 11, "order") != seed_of(11, 1, "order")
