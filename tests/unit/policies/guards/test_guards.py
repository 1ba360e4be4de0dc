"""Stabilisation, tolerance and bounds: what each changes, and that it says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upswell.analysis.decision import Decision
from upswell.policies.guarded import Guarded
from upswell.policies.guards.bounds import Bounds
from upswell.policies.guards.stabilization import Stabilization
from upswell.policies.guards.tolerance import Tolerance
from upswell.testing.snapshots import ordinary

if TYPE_CHECKING:
    from upswell.analysis.snapshot import Snapshot


class Wishes:
    """A policy that wants what the test says, in turn; None is a hold."""

    def __init__(self, *wishes: int | None) -> None:
        self._wishes = iter(wishes)

    def decide(self, snapshot: Snapshot) -> Decision:
        """Return the next wish."""
        wish = next(self._wishes)
        if wish is None:
            return Decision.hold("wishes", snapshot.workers.desired, "nothing is known")
        return Decision.of("wishes", snapshot.workers.desired, wish, "wants {wish}", {"wish": wish})


def test_scale_in_waits_until_nothing_in_the_window_wished_for_more() -> None:
    policy = Guarded(Wishes(5, 3, 2, 2), Stabilization(60.0))
    assert policy.decide(ordinary(current=5, at=0.0)).desired_workers == 5
    kept = policy.decide(ordinary(current=5, at=30.0))
    assert kept.desired_workers == 5
    assert kept.reason == "hold 5: wants 3; the most needed in the last 60 s was 5"
    assert kept.wanted == 3
    assert policy.decide(ordinary(current=5, at=61.0)).desired_workers == 3
    assert policy.decide(ordinary(current=3, at=91.0)).desired_workers == 2


def test_scale_out_never_waits() -> None:
    policy = Guarded(Wishes(1, 9), Stabilization(60.0))
    policy.decide(ordinary(current=1, at=0.0))
    assert policy.decide(ordinary(current=1, at=1.0)).desired_workers == 9


def test_the_workers_found_at_the_start_count_as_a_wish() -> None:
    """A monitor that has just started again must not drain what its predecessor wanted a moment ago."""
    policy = Guarded(Wishes(1, 1), Stabilization(60.0))
    assert policy.decide(ordinary(current=8, at=0.0)).desired_workers == 8
    assert policy.decide(ordinary(current=8, at=61.0)).desired_workers == 1


def test_a_hold_counts_as_a_wish_for_what_is_there() -> None:
    """After an outage longer than the window the workers are not all gone with the first low wish."""
    policy = Guarded(Wishes(8, None, 1), Stabilization(60.0))
    policy.decide(ordinary(current=8, at=0.0))
    assert policy.decide(ordinary(current=8, at=300.0)).held
    assert policy.decide(ordinary(current=8, at=301.0)).desired_workers == 8


def test_nobody_goes_before_one_full_window_was_watched() -> None:
    policy = Guarded(Wishes(1), Stabilization(0.0))
    decision = policy.decide(ordinary(current=8, warming_up=True))
    assert decision.desired_workers == 8
    assert "no scale-in before one full window of 60 s was seen" in decision.reason


@given(wishes=st.lists(st.integers(0, 20), min_size=1, max_size=60))
def test_stabilization_equals_the_plain_maximum_over_the_window(wishes: list[int]) -> None:
    """The queue of falling wishes is a quick way to what a list of all of them says."""
    policy = Guarded(Wishes(*wishes), Stabilization(10.0))
    current, history = 10, [(0.0, 10)]
    for number, wish in enumerate(wishes):
        at = 1.5 * number
        history.append((at, wish))
        largest = max(value for when, value in history if when >= at - 10.0)
        expected = wish if wish >= current else min(current, max(wish, largest))
        current = policy.decide(ordinary(current=current, at=at)).desired_workers
        assert current == expected


@pytest.mark.parametrize(("wish", "decided"), [(21, 20), (19, 20), (22, 22), (18, 18), (20, 20)])
def test_a_change_below_the_tolerance_is_not_made(wish: int, decided: int) -> None:
    policy = Guarded(Wishes(wish), Tolerance(0.1, 1))
    assert policy.decide(ordinary(current=20)).desired_workers == decided


def tolerated(wish: int, snapshot: Snapshot, *, min_workers: int = 1) -> int:
    return Guarded(Wishes(wish), Tolerance(0.1, min_workers)).decide(snapshot).desired_workers


def test_the_tolerance_never_keeps_a_worker_away_while_the_objective_is_missed() -> None:
    assert (
        Guarded(Wishes(21), Tolerance(0.1, 1)).decide(ordinary(current=20, attainment=0.9)).desired_workers
        == 21
    )
    assert (
        Guarded(Wishes(21), Tolerance(0.1, 1)).decide(ordinary(current=20, oldest_age=31.0)).desired_workers
        == 21
    )
    assert (
        Guarded(Wishes(19), Tolerance(0.1, 1)).decide(ordinary(current=20, attainment=0.9)).desired_workers
        == 20
    )


def test_the_tolerance_lets_the_smallest_number_grow() -> None:
    assert tolerated(21, ordinary(current=20), min_workers=20) == 21
    assert tolerated(1, ordinary(current=0), min_workers=0) == 1


@pytest.mark.parametrize(
    ("wish", "decided", "why"),
    [
        (0, 2, "hold 2: wants 0; raised to min_workers 2"),
        (9, 8, "scale out 2 → 8: wants 9; limited to max_workers 8"),
    ],
)
def test_bounds_have_the_last_word_and_say_so(wish: int, decided: int, why: str) -> None:
    decision = Guarded(Wishes(wish), Bounds(2, 8)).decide(ordinary())
    assert decision.desired_workers == decided
    assert decision.reason == why


def test_where_anything_waits_there_is_one_worker_at_least() -> None:
    waiting = ordinary(current=0, messages_ready=3)
    assert Guarded(Wishes(None), Bounds(0, 8)).decide(waiting).desired_workers == 1
    assert Guarded(Wishes(0), Bounds(0, 8)).decide(ordinary(messages_ready=0)).desired_workers == 0
    assert Guarded(Wishes(0), Bounds(0, 0)).decide(waiting).desired_workers == 0


def test_a_hold_stays_a_hold_inside_the_bounds() -> None:
    assert Guarded(Wishes(None), Bounds(2, 8)).decide(ordinary(current=5)).desired_workers == 5
    outside = Guarded(Wishes(None), Bounds(2, 8)).decide(ordinary(current=0))
    assert outside.held
    assert outside.desired_workers == 2
