"""Which applications have series of their own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from upswell.metrics.busiest import CLEARLY, busiest

ACTIVITY = st.dictionaries(st.sampled_from([f"app{n}" for n in range(12)]), st.floats(0, 1e6))


def test_where_there_is_room_every_application_is_shown() -> None:
    assert busiest(frozenset(), {"a": 0.0, "b": 5.0}, 2) == {"a", "b"}


def test_the_busiest_are_shown() -> None:
    assert busiest(frozenset(), {"a": 1.0, "b": 5.0, "c": 3.0}, 2) == {"b", "c"}


def test_one_that_is_shown_stays_until_another_does_more_than_twice_as_much() -> None:
    assert busiest({"a"}, {"a": 3.0, "b": 6.0}, 1) == {"a"}
    assert busiest({"a"}, {"a": 3.0, "b": 6.1}, 1) == {"b"}


def test_one_that_is_gone_leaves_its_place() -> None:
    assert busiest({"gone", "a"}, {"a": 1.0, "b": 0.0, "c": 0.5}, 2) == {"a", "c"}


def test_with_room_for_none_none_is_shown() -> None:
    assert busiest({"a"}, {"a": 1.0}, 0) == frozenset()


@given(ACTIVITY, ACTIVITY, st.integers(0, 12))
def test_never_more_than_so_many_and_no_other_is_clearly_busier(
    before: dict[str, float], activity: dict[str, float], most: int
) -> None:
    shown = busiest(busiest(frozenset(), before, most), activity, most)
    assert len(shown) == min(most, len(activity))
    assert shown <= activity.keys()
    if most:
        least = min((activity[app] for app in shown), default=0.0)
        assert all(activity[app] <= CLEARLY * least for app in activity.keys() - shown)
    assert busiest(shown, activity, most) == shown
