"""Every metric: its name, kind, labels and meaning; and one figure of it. Pure.

Names follow Prometheus: base units (seconds, bytes), `_total` for what only grows. No label holds a worker's
id: workers come and go, and each would leave its series behind. What is not known has no figure, not zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator

OTHER = "_other"
"""The `app` of all applications without a series of their own. No application's name begins with `_`."""


class Metric(Struct, frozen=True):
    """What a metric means, and the names of its labels."""

    kind: Literal["gauge", "counter", "histogram"]
    text: str
    labels: tuple[str, ...] = ()


class Distribution(Struct, frozen=True):
    """A histogram's value: upper edges with how many values are at most that; how many in all; their sum."""

    buckets: tuple[tuple[float, int], ...]
    count: int
    total: float


class Figure(Struct, frozen=True):
    """One value of a metric, with its labels' values in their order."""

    metric: str
    labels: tuple[str, ...]
    value: float | Distribution


def of(metric: str, value: float | Distribution | None, *labels: str) -> Iterator[Figure]:
    """Give the figure; none where the value is not known."""
    if value is not None:
        yield Figure(metric, labels, value)


METRICS: dict[str, Metric] = {
    # The monitor's
    "upswell_response_time_seconds": Metric(
        "histogram",
        "Response times of stored uploads, from published to stored. One bucket's edge is the objective.",
        ("app",),
    ),
    "upswell_uploads_total": Metric(
        "counter",
        "Attempts that ended stored, failed (tried again) or dead, since the monitor started.",
        ("app", "outcome"),
    ),
    "upswell_uploads_in_time_total": Metric(
        "counter", "Stored uploads that met the objective, since the monitor started.", ("app",)
    ),
    "upswell_arrivals_total": Metric(
        "counter", "Uploads that came into the queue, since the monitor started.", ("app",)
    ),
    "upswell_objective_seconds": Metric("gauge", "The objective's response time.", ("app",)),
    "upswell_objective_ratio": Metric("gauge", "The share of uploads that must meet it, 0 to 1.", ("app",)),
    "upswell_queue_messages": Metric(
        "gauge", "Uploads in the queue: ready, or in_flight at workers.", ("app", "state")
    ),
    "upswell_queue_oldest_age_seconds": Metric(
        "gauge", "Age of the oldest upload that waits, as estimated.", ("app",)
    ),
    "upswell_workers": Metric(
        "gauge",
        "Workers by state, each in one: starting, standby, idle or busy (both are ready), draining.",
        ("app", "state"),
    ),
    "upswell_desired_workers": Metric("gauge", "Workers that the last decision wants.", ("app",)),
    "upswell_scale_decisions_total": Metric(
        "counter",
        "Decisions that changed the number of workers: out (more), in (fewer).",
        ("app", "direction"),
    ),
    "upswell_alarm": Metric(
        "gauge",
        "1 while an alarm lasts: signals_lost, bottleneck, policy_failed, fleet_full; of _other: how many "
        "applications.",
        ("app", "alarm"),
    ),
    "upswell_worker_seconds_total": Metric(
        "counter", "Billed worker-seconds by state, since the monitor started.", ("app", "state")
    ),
    "upswell_cost_total": Metric(
        "counter",
        "Their cost at price_per_worker_hour; absent without a price.",
        ("app", "currency"),
    ),
    "upswell_applications": Metric(
        "gauge", "Applications under observation: scaled (in the settings), or unknown.", ("kind",)
    ),
    "upswell_late_applications": Metric(
        "gauge", "Applications whose uploads of the window miss the objective, those of _other included."
    ),
    "upswell_reports_total": Metric(
        "counter", "Messages that the monitor took in as reports, or refused as invalid.", ("result",)
    ),
    # The scaler's
    "upswell_fleet_workers": Metric("gauge", "Workers that the scaler sees, by phase.", ("app", "phase")),
    "upswell_fleet_reachable": Metric("gauge", "1 while the fleet can be listed, 0 while it cannot."),
    "upswell_full_applications": Metric(
        "gauge", "Applications for which the platform takes no more workers (a quota)."
    ),
    "upswell_worker_starts_total": Metric("counter", "Workers that the scaler started."),
    "upswell_worker_start_failures_total": Metric("counter", "Rounds in which the fleet refused a start."),
    "upswell_worker_drains_total": Metric("counter", "Workers that the scaler told to drain."),
    "upswell_worker_crashes_total": Metric("counter", "Workers that exited unasked, or fell silent."),
    # A worker's
    "upswell_worker_uploads_total": Metric(
        "counter", "Attempts of this worker that ended stored, failed or dead.", ("app", "outcome")
    ),
    "upswell_worker_moved_bytes_total": Metric("counter", "Bytes that this worker moved.", ("app",)),
    "upswell_worker_slots": Metric("gauge", "Slots of this worker: busy, or all.", ("app", "state")),
    # Of each part
    "upswell_last_round_timestamp_seconds": Metric(
        "gauge", "When the part's last round worked, in seconds since 1970.", ("part",)
    ),
    "upswell_ready": Metric(
        "gauge", "1 while the part works or waits to take over, as /readyz says.", ("part",)
    ),
    "upswell_build_info": Metric("gauge", "Always 1; the version of Upswell.", ("version",)),
}
"""Name -> metric, in the order of the page."""
