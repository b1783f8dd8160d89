import torch

from utils.streams import NAMES, Streams, seed_of


def draws(streams):
    return {name: torch.rand(4, generator=getattr(streams, name)).tolist() for name in NAMES}


def started(seed=0, task=0):
    streams = Streams()
    streams.start(seed, task)
    return streams


def test_a_place_gives_the_same_draws_again_and_places_and_names_all_differ():
    assert draws(started(1, 2)) == draws(started(1, 2))
    seen = [tuple(values) for place in ((0, 0), (0, 1), (1, 0)) for values in draws(started(*place)).values()]
    assert len(set(seen)) == 3 * len(NAMES)
    assert seed_of(1, 11, "order") != seed_of(11, 1, "order")
