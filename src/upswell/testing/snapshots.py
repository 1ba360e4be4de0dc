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


_seconds = st.floats(0, 1e4, allow_nan=False)
_counts = st.integers(0, 100_000)


@st.composite
def percentiles(draw: st.DrawFn) -> Percentiles:
    """Ordered percentiles with a mean between the extremes."""
    p50, p95, p99, maximum = sorted(draw(st.tuples(_seconds, _seconds, _seconds, _seconds)))
    return Percentiles(
        count=draw(st.integers(1, 10_000)),
        mean=draw(st.floats(0, 1)) * maximum,
        p50=p50,
        p95=p95,
        p99=p99,
        maximum=maximum,
    )


def platform_limits() -> st.SearchStrategy[PlatformLimit]:
    """Return a platform that takes no more, or takes its time, or both."""
    return st.builds(
        PlatformLimit,
        app_id=st.just("e123456"),
        reason=st.sampled_from(["", "exceeded quota: {used: 12}"]),
        ceiling=st.none() | st.integers(0, 200),
        pending=st.integers(0, 200),
    )


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """Anything that can be seen of an application, missing and stale signals included."""
    current = draw(st.integers(0, 200))
    ready = draw(st.integers(0, 200))
    return Snapshot(
        app_id="e123456",
        at=1000.0,
        slo=Slo(draw(st.floats(0.01, 0.999)), draw(st.floats(0.1, 1000))),
        window=draw(st.floats(1, 600)),
        slots_per_worker=draw(st.integers(1, 64)),
        workers=Workers(desired=current, ready=ready, busy=draw(st.integers(0, ready))),
        start_delay=draw(st.none() | _seconds),
        arrival_rate=draw(st.none() | st.floats(0, 1e4)),
        throughput=draw(st.none() | st.floats(0, 1e4)),
        arrivals=draw(st.none() | _counts),
        slots=draw(st.none() | st.integers(ready, 64 * ready)),
        slots_of_new=draw(st.none() | st.floats(1, 64)),
        unheard_in_flight=draw(st.just(0) | st.integers(0, 200)),
        messages_ready=draw(st.none() | _counts),
        messages_unacknowledged=draw(st.none() | _counts),
        oldest_age=draw(st.none() | _seconds),
        in_flight_age=draw(st.none() | _seconds),
        service_time=draw(st.none() | percentiles()),
        waiting_time=draw(st.none() | percentiles()),
        response_time=draw(st.none() | percentiles()),
        attainment=draw(st.none() | st.floats(0, 1)),
        recent_response_times=tuple(draw(st.lists(_seconds, max_size=12))),
        totals=draw(
            st.none() | st.builds(ObservedTotals, stored=st.integers(0, 3), failed=st.integers(0, 1000))
        ),
        failures=draw(st.integers(0, 1000)),
        stale=draw(st.sampled_from([(), ("service_time",), ("workers",)])),
        warming_up=draw(st.booleans()),
        platform=draw(st.none() | st.none() | platform_limits()),
    )


def later(seen: list[Snapshot]) -> list[Snapshot]:
    """Return snapshots as they follow one another, two seconds apart."""
    return [replace(snapshot, at=1000.0 + 2 * number) for number, snapshot in enumerate(seen)]
