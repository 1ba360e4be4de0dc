from __future__ import annotations

import doctest

from upswell.cli.data import meter
from upswell.cli.data.meter import Meter


def test_the_example_in_the_docs_holds() -> None:
    assert doctest.testmod(meter).failed == 0


def test_only_the_last_seconds_tell_the_speed() -> None:
    meter = Meter()
    for now in range(100):
        meter.mark(float(now), 1000 * min(now, 50), now)
    assert meter.speed(0) == 0.0  # nothing has moved for a while
    assert meter.speed(1) == 1.0
    assert meter.seconds_left(1, 30) == 30.0
    assert meter.seconds_left(0, 30) is None


def test_nothing_is_known_before_there_are_two_instants() -> None:
    meter = Meter()
    assert meter.speed(0) is None
    meter.mark(1.0, 5)
    assert meter.speed(0) is None
    meter.mark(1.0, 6)
    assert meter.seconds_left(0, 1) is None
