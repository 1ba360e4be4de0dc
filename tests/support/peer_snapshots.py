"""Snapshots for the peers' worked examples: only what an example speaks of."""

from __future__ import annotations

from upswell.analysis.snapshot import Percentiles, Snapshot, Workers
from upswell.settings import Slo


def service(mean: float) -> Percentiles:
    return Percentiles(count=100, mean=mean, p50=mean, p95=mean, p99=mean, maximum=mean)


def seen(
    at: float,
    workers: int,
    *,
    ready: int | None = 0,
    in_flight: int | None = 0,
    slots: int = 1,
    busy: int = 0,
    seconds: float = 30.0,
    mean: float | None = None,
    rate: float | None = None,
    oldest: float | None = None,
) -> Snapshot:
    return Snapshot(
        app_id="e1",
        at=at,
        slo=Slo(0.95, seconds),
        window=60.0,
        slots_per_worker=slots,
        workers=Workers(desired=workers, ready=workers, busy=busy),
        throughput=0.0,
        arrivals=0,
        messages_ready=ready,
        messages_unacknowledged=in_flight,
        service_time=None if mean is None else service(mean),
        arrival_rate=rate,
        oldest_age=oldest,
    )
