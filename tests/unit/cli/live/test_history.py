"""Points over time in columns: the worst of each, and nothing where nobody looked."""

from __future__ import annotations

from upswell.cli.live.history import Point, PointHistory


def point(at: float, p95: float | None) -> Point:
    return Point(at, None, p95, workers=1, desired=1)


def columns(points: list[Point], count: int, *, span: float = 10.0, now: float = 10.0) -> list[float | None]:
    history = PointHistory()
    history.add(points)
    return history.columns(lambda one: one.p95, count, span, now, holds=2.5)


def test_a_column_has_the_largest_value_of_its_points() -> None:
    assert columns([point(0.5, 1.0), point(1.0, 7.0), point(1.5, 2.0), point(6.0, 3.0)], 2) == [7.0, 3.0]


def test_between_two_points_the_last_one_holds_for_a_while() -> None:
    found = columns([point(0.5, 1.0), point(8.5, 3.0)], 10)
    assert found == [*[1.0] * 4, *[None] * 4, 3.0, 3.0]


def test_what_a_point_does_not_know_is_not_known_from_then_on() -> None:
    assert columns([point(0.5, 4.0), point(1.5, None)], 5, span=5.0, now=5.0) == [4.0, None, None, None, None]


def test_a_point_before_the_first_column_holds_too() -> None:
    assert columns([point(9.0, 4.0)], 10, now=20.0) == [4.0, 4.0, *[None] * 8]


def test_no_point_is_taken_twice_and_none_from_the_future_is_shown() -> None:
    history = PointHistory()
    history.add([point(1.0, 1.0), point(2.0, 2.0)])
    history.add([point(2.0, 9.0), point(30.0, 3.0)])
    assert history.newest_at == 30.0
    assert history.columns(lambda one: one.p95, 1, 10.0, 10.0, holds=1.0) == [2.0]
