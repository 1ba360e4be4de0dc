"""Snapshots for tests of policies: an ordinary one to vary, and a strategy over all that can be seen."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace

from upswell.analysis.snapshot import ObservedTotals, Percentiles, Snapshot, Workers
from upswell.messages import PlatformLimit
from upswell.settings import Slo


def constant_time(seconds: float, count: int = 100) -> Percentiles:
    """A duration that never varies."""
    return Percentiles(count=count, mean=seconds, p50=seconds, p95=seconds, p99=seconds, maximum=seconds)


def ordinary(*, current: int = 2, **changes: Any) -> Snapshot:
    """A calm application, two workers of four slots: 2 uploads a second of 2 s each, 30 s allowed."""
    snapshot = Snapshot(
        app_id="e123456",
        at=1000.0,
        slo=Slo(0.95, 30.0),
        window=60.0,
        slots_per_worker=4,
        workers=Workers(desired=current, ready=current, busy=min(current, 1)),
        start_delay=1.0,
        arrival_rate=2.0,
        throughput=2.0,
        arrivals=0,
        messages_ready=0,
        messages_unacknowledged=4,
        oldest_age=0.0,
        in_flight_age=0.5,
        service_time=constant_time(2.0),
        waiting_time=constant_time(0.0),
        response_time=constant_time(2.0),
        attainment=1.0,
        recent_response_times=(2.0, 2.0),
    )
    return replace(snapshot, **changes)


# Each strategy is made once: making and checking one takes longer than drawing from it.
_seconds = st.floats(0, 1e4, allow_nan=False)
_share = st.floats(0, 1)
_hundreds, _thousand, _counts = st.integers(0, 200), st.integers(0, 1000), st.integers(0, 100_000)
_ordered = st.tuples(_seconds, _seconds, _seconds, _seconds).map(sorted)


def _percentiles(ordered: list[float], count: int, share: float) -> Percentiles:
    p50, p95, p99, maximum = ordered
    return Percentiles(count=count, mean=share * maximum, p50=p50, p95=p95, p99=p99, maximum=maximum)


_PERCENTILES = st.builds(_percentiles, _ordered, st.integers(1, 10_000), _share)
"""Ordered, with a mean between the extremes."""
_PLATFORM_LIMITS = st.builds(
    PlatformLimit,
    app_id=st.just("e123456"),
    reason=st.sampled_from(["", "exceeded quota: {used: 12}"]),
    ceiling=st.none() | _hundreds,
    pending=_hundreds,
)
"""A platform that takes no more, or takes its time, or both."""


def _snapshot(ready: int, busy: float, slots: float | None, desired: int, **signals: Any) -> Snapshot:
    """Return a snapshot; `busy` is a share of the workers, `slots` what each of them has."""
    return Snapshot(
        app_id="e123456",
        at=1000.0,
        workers=Workers(desired=desired, ready=ready, busy=round(busy * ready)),
        slots=None if slots is None else round(slots * ready),
        **signals,
    )


_SNAPSHOTS = st.builds(
    _snapshot,
    desired=_hundreds,
    ready=_hundreds,
    busy=_share,
    slots=st.none() | st.floats(1, 64),
    slo=st.builds(Slo, st.floats(0.01, 0.999), st.floats(0.1, 1000)),
    window=st.floats(1, 600),
    slots_per_worker=st.integers(1, 64),
    start_delay=st.none() | _seconds,
    arrival_rate=st.none() | _seconds,
    throughput=st.none() | _seconds,
    arrivals=st.none() | _counts,
    slots_of_new=st.none() | st.floats(1, 64),
    unheard_in_flight=st.just(0) | _hundreds,
    messages_ready=st.none() | _counts,
    messages_unacknowledged=st.none() | _counts,
    oldest_age=st.none() | _seconds,
    in_flight_age=st.none() | _seconds,
    service_time=st.none() | _PERCENTILES,
    waiting_time=st.none() | _PERCENTILES,
    response_time=st.none() | _PERCENTILES,
    attainment=st.none() | _share,
    recent_response_times=st.lists(_seconds, max_size=12).map(tuple),
    totals=st.none() | st.builds(ObservedTotals, stored=st.integers(0, 3), failed=_thousand),
    failures=_thousand,
    stale=st.sampled_from([(), ("service_time",), ("workers",)]),
    warming_up=st.booleans(),
    platform=st.none() | st.none() | _PLATFORM_LIMITS,
)


def snapshots() -> st.SearchStrategy[Snapshot]:
    """Return anything that can be seen of an application, missing and stale signals included."""
    return _SNAPSHOTS


def later(seen: list[Snapshot]) -> list[Snapshot]:
    """Return snapshots as they follow one another, two seconds apart."""
    return [replace(snapshot, at=1000.0 + 2 * number) for number, snapshot in enumerate(seen)]
