"""Arrivals from what is certain: signals late or missing for a moment neither add any nor hide any."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from upswell.analysis.arrivals import Arrivals, in_flight_bounds


def test_what_was_there_at_the_first_look_did_not_come_since() -> None:
    arrivals = Arrivals(60.0, 3.0)
    arrivals.look(0.0, 0, 40, 5, 5)
    arrivals.look(2.0, 3, 38, 5, 5)
    assert arrivals.total == 1


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.booleans()),
        min_size=2,
        max_size=60,
    )
)
def test_arrivals_are_exact_wherever_everything_is_seen(
    rounds: list[tuple[int, int, int, bool]],
) -> None:
    """In each round some come, begin, end; in some rounds what is in flight is hidden, for two at most."""
    arrivals = Arrivals(60.0, 3.0)
    arrivals.look(0.0, 0, 0, 0, 0)
    came = waiting = running = ended = 0
    hidden_before = False
    for number, (new, begun, over, hidden) in enumerate(rounds, 1):
        came += new
        waiting += new
        start, stop = min(begun, waiting), min(over, running)
        waiting, running, ended = waiting - start, running + start - stop, ended + stop
        hide = hidden and not hidden_before
        hidden_before = hide
        before = arrivals.total
        in_flight = arrivals.look(2.0 * number, ended, waiting, 0 if hide else running, 1000)
        assert before <= arrivals.total <= came
        if not hide:
            assert arrivals.total == came
            assert in_flight == running


def test_uploads_that_vanish_hide_arrivals_for_a_window_at_most() -> None:
    """A purged queue: nobody can tell its uploads from late ones before a window has passed."""
    arrivals = Arrivals(60.0, 3.0)
    arrivals.look(0.0, 0, 0, 0, 0)
    arrivals.look(2.0, 0, 500, 0, 0)
    for at in range(4, 70, 2):
        arrivals.look(float(at), 0, 0, 0, 0)
    arrivals.look(70.0, 0, 7, 0, 0)
    assert arrivals.total == 507


def test_bounds_of_what_is_in_flight() -> None:
    assert in_flight_bounds(consumers=3, ready=3, held=5, ready_slots=12, slots=4) == (5, 17, 0)
    assert in_flight_bounds(consumers=5, ready=3, held=5, ready_slots=12, slots=4) == (5, 25, 8)
    assert in_flight_bounds(consumers=2, ready=3, held=5, ready_slots=12, slots=4) == (1, 17, 0)
    assert in_flight_bounds(consumers=0, ready=3, held=5, ready_slots=12, slots=4) == (0, 17, 0)
