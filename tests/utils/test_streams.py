import torch

from utils.streams import NAMES, Streams, global_state_seeded, seed_of


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


def test_a_draw_added_to_one_stream_shifts_no_other():
    streams = started()
    torch.rand(100, generator=streams.noise)
    shifted, plain = draws(streams), draws(started())
    assert [name for name in NAMES if shifted[name] != plain[name]] == ["noise"]


def test_streams_and_single_choices_go_on_from_a_saved_state():
    streams, other = started(1, 2), Streams()
    draws(streams)
    other.load_state_dict(streams.state_dict())
    assert draws(other) == draws(streams)
    choices = [torch.rand(4, generator=each.once("coreset")).tolist() for each in (streams, streams, other)]
    assert choices[0] == choices[1] == choices[2] not in draws(started(1, 2)).values()


def test_weights_repeat_with_the_place_and_leave_the_global_state_alone():
    before, weights = torch.get_rng_state(), []
    for place in ((0, 0), (0, 0), (0, 1), (1, 0)):
        with global_state_seeded(seed_of(*place, "weights")):
            weights.append(tuple(torch.randn(4).tolist()))
    assert weights[0] == weights[1] and len(set(weights)) == 3
    assert torch.equal(torch.get_rng_state(), before)
