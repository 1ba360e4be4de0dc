"""Patterns in time, each by a small story of instants and values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upswell.analysis import sentence
from upswell.analysis.decision import Reason
from upswell.policies.rules.patterns import (
    BUCKETS,
    AbsentFor,
    Count,
    FollowedBy,
    HeldFor,
    Rising,
    Times,
    Within,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.policies.rules.patterns import Pattern

EVERY: dict[str, Callable[[], Pattern]] = {
    "held": lambda: HeldFor(30),
    "absent": lambda: AbsentFor(30),
    "within": lambda: Within(30),
    "followed": lambda: FollowedBy(30),
    "times": lambda: Times(30, 3),
    "sum": lambda: Count(30, 5),
    "rising": lambda: Rising(30, 5),
}


def told(pattern: Pattern, at: float, value: float, then: bool = False) -> str:
    found = pattern.see(at, value, then)
    assert found is not None
    return sentence.told(Reason("rules", pattern.why, found))


def seen(pattern: Pattern, story: list[tuple[float, float]]) -> list[bool]:
    return [pattern.see(at, value) is not None for at, value in story]


def test_held_for_needs_every_snapshot_of_the_time() -> None:
    pattern = HeldFor(20)
    assert seen(pattern, [(0, 1), (10, 1), (20, 1), (30, 0), (40, 1), (50, 1), (59, 1), (60, 1)]) == [
        False, False, True, False, False, False, False, True,
    ]  # fmt: skip
    assert told(pattern, 65, 1) == "held for 25 s"


def test_what_was_not_seen_does_not_count_as_held() -> None:
    pattern = HeldFor(20)
    assert seen(pattern, [(0, 1), (10, 1)]) == [False, False]
    pattern.lapse()
    assert seen(pattern, [(25, 1), (44, 1), (45, 1)]) == [False, False, True]


def test_absent_counts_from_the_first_look_and_ends_with_one_occurrence() -> None:
    pattern = AbsentFor(20)
    assert seen(pattern, [(0, 0), (19, 0), (20, 0), (21, 1), (22, 0), (41, 0), (42, 0)]) == [
        False, False, True, False, False, False, True,
    ]  # fmt: skip
    assert told(pattern, 42, 0) == "absent for 20 s"


def test_within_remembers_for_its_seconds_and_no_longer() -> None:
    pattern = Within(30)
    assert seen(pattern, [(0, 0), (10, 1), (40, 0), (41, 0)]) == [False, True, True, False]


def test_within_keeps_a_fact_over_a_hole_in_the_stream() -> None:
    pattern = Within(30)
    pattern.see(0, 1)
    pattern.lapse()
    assert told(pattern, 20, 0) == "so 20 s ago"


def test_followed_by_wants_the_first_strictly_before_the_second() -> None:
    pattern = FollowedBy(30)
    assert not pattern.see(0, 1, True)
    assert told(pattern, 10, 0, True) == "10 s after the first"
    assert not pattern.see(31, 0, True)


def test_followed_by_counts_from_the_newest_first() -> None:
    pattern = FollowedBy(30)
    pattern.see(0, 1)
    pattern.see(20, 1)
    assert not pattern.see(30, 0, False)
    assert pattern.see(50, 0, True)


def test_the_second_before_the_first_is_no_sequence() -> None:
    pattern = FollowedBy(30)
    assert not pattern.see(0, 0, True)
    assert not pattern.see(5, 1, False)


def test_times_counts_beginnings_not_snapshots() -> None:
    pattern = Times(30, 2)
    assert seen(pattern, [(0, 1), (2, 1), (4, 1), (6, 0), (8, 1), (30, 0), (31, 0)]) == [
        False, False, False, False, True, True, False,
    ]  # fmt: skip


def test_a_count_adds_up_what_came_within_the_window() -> None:
    pattern = Count(60, 10)
    assert seen(pattern, [(0, 4), (20, 4), (40, 4), (61, 1), (200, 9)]) == [
        False, False, True, False, False,
    ]  # fmt: skip
    assert told(pattern, 201, 1) == "10 within 60 s"


def test_steady_growth_rises_by_what_it_grew() -> None:
    growing = [(2.0 * step, 10.0 * step) for step in range(60)]  # 5 a second: 300 within a minute
    assert any(seen(Rising(60, 280), growing))
    assert not any(seen(Rising(60, 310), growing))


def test_nothing_rises_before_a_whole_window_was_seen() -> None:
    pattern = Rising(60, 1)
    assert not any(seen(pattern, [(float(at), 1000.0 * at) for at in range(59)]))
    assert pattern.see(59.0, 59_000.0)


def test_one_odd_value_among_many_does_not_rise() -> None:
    """A single batch of 100 in the queue is no crowd."""
    story = [(2.0 * step, 100.0 if step == 40 else 0.0) for step in range(60)]
    assert not any(seen(Rising(60, 50), story))


def test_a_falling_number_does_not_rise() -> None:
    assert not any(seen(Rising(60, 1), [(2.0 * step, -3.0 * step) for step in range(100)]))


def test_a_hole_longer_than_the_window_begins_it_anew() -> None:
    pattern = Rising(60, 1)
    seen(pattern, [(2.0 * step, 0.0) for step in range(60)])
    assert not pattern.see(1000.0, 5000.0)
    assert not pattern.see(1002.0, 9000.0)


def test_memory_stays_bounded_however_many_snapshots_a_window_holds() -> None:
    sums, rising, times = Count(3600, 1), Rising(3600, 1), Times(3600, 5)
    for step in range(5000):
        for pattern in (sums, rising, times):
            pattern.see(float(step), step % 2)
    assert len(sums._buckets) <= BUCKETS
    assert len(rising._buckets) <= BUCKETS
    assert len(times._starts) == 5


steps = st.lists(
    st.tuples(st.floats(0, 40), st.floats(0, 100), st.booleans(), st.booleans()), min_size=1, max_size=40
)


@pytest.mark.parametrize("name", EVERY)
@given(story=steps)
def test_the_same_story_gives_the_same_findings(
    name: str, story: list[tuple[float, float, bool, bool]]
) -> None:
    def findings() -> list[dict[str, float] | None]:
        pattern, at, found = EVERY[name](), 1.7e9, []
        for pause, value, then, hole in story:
            at += pause
            if hole:
                pattern.lapse()
            found.append(pattern.see(at, value > 50, then))
        return found

    once = findings()
    assert once == findings()
    assert all(math.isfinite(number) for found in once if found for number in found.values())


@given(story=steps)
def test_held_for_agrees_with_looking_back_over_the_whole_story(
    story: list[tuple[float, float, bool, bool]],
) -> None:
    """The definition, by brute force: from some snapshot at least 30 s ago to now it was always so."""
    pattern, at, past = HeldFor(30), 0.0, []
    for pause, _, so, _ in story:
        at += pause
        past.append((at, so))
        run = [when for place, (when, _) in enumerate(past) if all(was for _, was in past[place:])]
        assert (pattern.see(at, so) is not None) == bool(run and at - run[0] >= 30)


@given(story=steps)
def test_followed_by_agrees_with_looking_back_over_the_whole_story(
    story: list[tuple[float, float, bool, bool]],
) -> None:
    pattern, at, firsts = FollowedBy(30), 0.0, []
    for pause, _, first, then in story:
        at += pause
        expected = then and any(at - when <= 30 for when in firsts)
        assert (pattern.see(at, first, then) is not None) == expected
        if first:
            firsts.append(at)
