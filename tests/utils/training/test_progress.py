import pytest

from utils.training import progress
from utils.training.log import PACE, Progress, duration


@pytest.fixture
def clock(monkeypatch):
    """A clock to be moved by hand."""
    class Clock:
        now = 0.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


@pytest.fixture
def run(clock):
    """10 steps of Base and 5 of dreaming, guessed to be three times as long."""
    run = Progress(shown=False)
    run.add("learn", 10, 1.0)
    run.add("dream", 5, 3.0)
    return run


def spend(run, clock, kind, steps, seconds):
    run.start(kind, kind)
    for _ in range(steps):
        clock.now += seconds
        run.step()


def test_before_the_first_step_nothing_is_known(run):
    assert run.remaining() == 0


def test_untimed_work_is_estimated_by_its_cost(run, clock):
    spend(run, clock, "learn", 4, 2.0)
    assert run.remaining() == pytest.approx(6 * 2 + 5 * 3 * 2)


def test_timed_work_is_estimated_by_its_own_time(run, clock):
    spend(run, clock, "learn", 4, 2.0)
    spend(run, clock, "dream", 1, 10.0)
    assert run.remaining() == pytest.approx(6 * 2 + 4 * 10)


def test_nothing_remains_at_the_end(run, clock):
    spend(run, clock, "learn", 10, 2.0)
    spend(run, clock, "dream", 5, 1.0)
    assert run.remaining() == 0


def test_time_between_stages_is_nobodys(run, clock):
    spend(run, clock, "learn", 1, 2.0)
    clock.now += 1000
    spend(run, clock, "learn", 1, 2.0)
    assert run.remaining() == pytest.approx(8 * 2 + 5 * 3 * 2)


def test_an_hour_in_which_the_run_was_suspended_is_soon_forgotten(run, clock):
    run.add("learn", 990, 1.0)
    spend(run, clock, "learn", 10, 2.0)
    spend(run, clock, "learn", 1, 3600.0)
    for _ in range(12):
        spend(run, clock, "learn", 10, 2.0)
    assert run.remaining() == pytest.approx(869 * 2 + 5 * 3 * 2, rel=0.1)


def test_work_of_one_kind_adds_up(run, clock):
    run.add("learn", 10, 1.0)
    spend(run, clock, "learn", 1, 1.0)
    assert run.remaining() == pytest.approx(19 + 15)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (89.4, "89 s"), (90, "2 min"), (3600, "60 min"), (5400, "1.5 h"), (86400, "24.0 h")])
def test_durations_are_said_as_a_person_says_them(seconds, text):
    assert duration(seconds) == text


def test_nothing_is_drawn_where_nobody_watches(run, clock, capsys):
    spend(run, clock, "learn", 3, 2.0)
    run.close()
    assert capsys.readouterr() == ("", "")


def test_the_updating_line_has_the_text_and_the_time_left(clock, capsys):
    run = Progress(shown=True)
    run.add("learn", 20, 1.0)
    spend(run, clock, "learn", 10, 2.0)
    assert run.bar.n == pytest.approx(50)
    run.close()
    *_, last = [line for line in capsys.readouterr().err.split("\r") if line.strip()]
    assert " 50% " in last and "20 s left  learn" in last


def test_the_wait_for_the_device_after_the_last_step_counts(run, clock):
    """A host that starts 5 steps in no time, and the 20 s that they take."""
    spend(run, clock, "learn", 5, 0.0)
    clock.now += 20
    run.spend()
    assert run.remaining() == pytest.approx(5 * 4 + 5 * 3 * 4)


def test_plain_lines_are_the_edges_of_a_stage_and_one_from_time_to_time(run, clock):
    epochs = []
    for epoch in range(8):
        clock.now += PACE / 2.5
        if run.plain_line(edge=epoch in (0, 7)):
            epochs.append(epoch)
    assert epochs == [0, 3, 6, 7]


def test_beside_an_updating_line_there_are_no_plain_ones(clock, capsys):
    run = Progress(shown=True)
    assert not run.plain_line(edge=True)
    run.close()
