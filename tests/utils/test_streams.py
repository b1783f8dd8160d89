import torch

from utils.streams import NAMES, Streams, seed_of, seeded_weights


def draws(streams):
    return {name: torch.rand(4, generator=getattr(streams, name)).tolist() for name in NAMES}


def started(repeat=0, task=0):
    streams = Streams()
    streams.start(repeat, task)
    return streams


def test_a_place_gives_the_same_draws_again():
    assert draws(started(1, 2)) == draws(started(1, 2))


def test_repeats_tasks_and_names_all_differ():
    seen = [tuple(values) for place in ((0, 0), (0, 1), (1, 0)) for values in draws(started(*place)).values()]
    assert len(set(seen)) == 3 * len(NAMES)


def test_a_draw_added_to_one_stream_shifts_no_other():
    streams = started()
    torch.rand(100, generator=streams.noise)
    shifted, plain = draws(streams), draws(started())
    assert [name for name in NAMES if shifted[name] != plain[name]] == ["noise"]


def test_streams_go_on_from_a_saved_state():
    streams = started()
    draws(streams)
    saved, following = streams.state_dict(), None
    following = draws(streams)
    other = Streams()
    other.load_state_dict(saved)
    assert draws(other) == following


def test_a_single_choice_is_the_same_however_often_it_is_asked_for_and_after_loading():
    def choice(streams, name="coreset"):
        return torch.rand(4, generator=streams.once(name)).tolist()

    streams, other = started(1, 2), Streams()
    first = choice(streams)
    draws(streams)
    other.load_state_dict(streams.state_dict())
    assert choice(streams) == choice(other) == first
    assert first not in (choice(streams, "resampling"), choice(started(1, 3)), *draws(started(1, 2)).values())


def test_weights_repeat_with_the_place_and_leave_the_global_state_alone():
    before = torch.get_rng_state()
    weights = []
    for place in ((0, 0), (0, 0), (0, 1), (1, 0)):
        with seeded_weights(*place):
            weights.append(torch.randn(4).tolist())
    assert weights[0] == weights[1]
    assert len(set(map(tuple, weights))) == 3
    assert torch.equal(torch.get_rng_state(), before)


def test_a_seed_fits_torch_and_never_changes():
    assert seed_of(0, 0, "order") == seed_of(0, 0, "order") != seed_of(0, 0, "noise")
    assert 0 <= seed_of(2, 19, "weights") < 2**63
    assert seed_of(1, 11, "order") != seed_of(11, 1, "order")
