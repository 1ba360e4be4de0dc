"""What the monitor knows of one application at one instant.

Zero, missing (None) and stale are three values.
"""

from __future__ import annotations

from msgspec import Struct

from upswell.messages import PlatformLimit
from upswell.settings import Slo


class Workers(Struct, frozen=True, kw_only=True, gc=False):
    """Four numbers that are never mixed, and two more states that a worker can be in.

    `desired`: the last decision, which is what the scaler was sent. `starting`: requested, not yet ready.
    `ready`: consuming. `busy`: those of the ready and draining that run at least one upload.
    """

    desired: int
    starting: int = 0
    ready: int = 0
    busy: int = 0
    standby: int = 0
    draining: int = 0

    @property
    def running(self) -> int:
        """How many there are, in any state."""
        return self.starting + self.ready + self.standby + self.draining

    def by_state(self) -> dict[str, int]:
        """Return how many are in each state, each worker in one: one that drains is not busy here."""
        busy = min(self.ready, max(0, self.busy - self.draining))
        return {
            "starting": self.starting,
            "standby": self.standby,
            "idle": self.ready - busy,
            "busy": busy,
            "draining": self.draining,
        }


class Percentiles(Struct, frozen=True, kw_only=True, gc=False):
    """A duration's distribution over the window, in seconds; `count` values went into it."""

    count: int
    mean: float
    p50: float
    p95: float
    p99: float
    maximum: float


class Ranked:
    """`Percentiles` by nearest rank, worked out where they are read: of three in a snapshot few are."""

    __slots__ = ()

    def _rank(self, share: float) -> float:
        """Return the least value that so large a share of all does not exceed."""
        raise NotImplementedError

    @property
    def p50(self) -> float:
        """Median."""
        return self._rank(0.5)

    @property
    def p95(self) -> float:
        """95th percentile."""
        return self._rank(0.95)

    @property
    def p99(self) -> float:
        """99th percentile."""
        return self._rank(0.99)

    @property
    def maximum(self) -> float:
        """Largest value."""
        return self._rank(1.0)


def worked_out(times: Percentiles | None) -> Percentiles | None:
    """Return the percentiles themselves: those of a window are sorted only where they are read."""
    if times is None or type(times) is Percentiles:
        return times
    return Percentiles(
        count=times.count,
        mean=times.mean,
        p50=times.p50,
        p95=times.p95,
        p99=times.p99,
        maximum=times.maximum,
    )


class FailureReason(Struct, frozen=True, gc=False):
    """Why attempts failed, and how many in the window; the text comes from reports."""

    reason: str
    count: int

    def __str__(self) -> str:
        return f"{self.count:,} failed: {self.reason}"


class ObservedTotals(Struct, frozen=True, kw_only=True, gc=False):
    """Sums since the observation began; they only grow.

    `stored` uploads, `in_time` of them within the objective, `dead` ones given up, `failed` attempts that are
    made again. `start_seconds`: from asking for each worker to first hearing of it.
    """

    stored: int = 0
    in_time: int = 0
    dead: int = 0
    failed: int = 0
    start_seconds: float = 0.0


class Snapshot(Struct, frozen=True, kw_only=True, gc=False):
    """The signals of one application; rates are per second over `window` seconds, times are in seconds.

    None is "not known", never "zero". `stale` names signals whose newest value is older than the window
    allows.
    """

    app_id: str
    at: float
    slo: Slo
    window: float
    slots_per_worker: int
    """Of the ready workers, on average and rounded down; before one was heard of, as set."""
    workers: Workers
    slots: int | None = None
    """Of all ready workers together, where their statuses say; see `ready_slots`."""
    slots_of_new: float | None = None
    """Of a worker that is started now, as far as is known: workers of several sizes may run side by side."""
    start_delay: float | None = None
    """Seconds from asking for a worker to its being ready, as measured (mean of the recent ones)."""
    start_cpu: float | None = None
    """Seconds of a processor that a worker took until it was ready (median of the recent ones)."""
    arrival_rate: float | None = None
    throughput: float | None = None
    arrivals: int | None = None
    """Uploads that came since the observation began; it never falls."""
    messages_ready: int | None = None
    messages_unacknowledged: int | None = None
    """Uploads in flight: as the broker says, or as follows from what ended, waits and is surely in hand."""
    unheard_in_flight: int = 0
    """At most this many more are in flight, at consumers of which no status was received (just started, or
    written by others)."""
    depth_age: float | None = None
    """Seconds since the broker last reported the queue's depth."""
    oldest_age: float | None = None
    """Seconds since the oldest upload still waiting was published, as estimated."""
    in_flight_age: float | None = None
    """Seconds for which uploads have been in flight without any of them ending."""
    service_time: Percentiles | None = None
    waiting_time: Percentiles | None = None
    response_time: Percentiles | None = None
    attainment: float | None = None
    """Share of the window's uploads that were answered within the objective."""
    recent_response_times: tuple[float, ...] = ()
    """Response times reported since the snapshot before, oldest first (for policies that react to
    single reports).
    """
    recent_service_times: tuple[float, ...] = ()
    """Service times of the same reports, in the same order: what a rehearsal replays. None of them where a
    report did not tell its own.
    """
    failures: int = 0
    """Attempts in the window that ended `failed` or `dead`."""
    failure_reasons: tuple[FailureReason, ...] = ()
    """Why, the newest first."""
    totals: ObservedTotals | None = None
    stale: tuple[str, ...] = ()
    warming_up: bool = False
    """The monitor has not yet watched one full window."""
    platform: PlatformLimit | None = None
    """What the platform does not give, as the scaler says; None: nothing is known of a limit."""

    @property
    def misses(self) -> bool:
        """Whether the objective is missed, as far as is known."""
        return self.attainment is not None and self.attainment < self.slo.share

    @property
    def ready_slots(self) -> int:
        """Slots of the ready workers."""
        return self.workers.ready * self.slots_per_worker if self.slots is None else self.slots

    @property
    def slots_each(self) -> float:
        """Slots of a ready worker, on average."""
        ready = self.workers.ready
        return self.slots / ready if self.slots and ready else float(self.slots_per_worker)

    @property
    def slots_of_one_more(self) -> float:
        """Slots that one more worker brings."""
        return float(self.slots_per_worker) if self.slots_of_new is None else self.slots_of_new

    @property
    def queue_depth(self) -> int | None:
        """Uploads in the system, queued and in flight, or None while either is unknown."""
        if self.messages_ready is None or self.messages_unacknowledged is None:
            return None
        return self.messages_ready + self.messages_unacknowledged
