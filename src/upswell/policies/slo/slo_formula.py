"""The default policy: the fewest workers that answer the objective's share of uploads within D seconds.

Two questions, each answered in slots (a worker has several), and the larger answer counts:

1. The backlog. N uploads in the system of mean service time s are N s seconds of work, which S slots do in
   N s / S (Little's law). The last of them must start early enough to be answered within D: within T = D -
   s_tail - age, where s_tail is the service time that the objective's share of uploads does not exceed, and
   age how long the head of the queue has waited already. New slots come only after the start-up delay d,
   the present P work meanwhile: S = (N s - P d) / (T - d). Never more slots than uploads.
2. The stream. Arrivals of rate r keep a = r s slots busy; so many slots above a that, by Erlang's formula,
   no more than the missing share waits longer than D - s_tail (square-root staffing with its beta computed:
   `queueing.slots_needed`).

The first reacts to a burst at once, the second keeps the calm from being staffed so tightly that chance
alone makes a queue.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from msgspec import Struct

from upswell.analysis import queueing
from upswell.analysis.decision import Decision

if TYPE_CHECKING:
    from upswell.analysis.snapshot import Percentiles, Snapshot

LEAST_TIME_SHARE = 0.1
"""Least time for a backlog, as a share of D: what is late already is not bought back at any price."""
_NEVER = 1e9
"""No upload takes thirty years: a mean of that many seconds was made from signals that mean nothing."""

MOST_SLOTS = 2.0**53
"""More slots, or seconds of work, are a wrong measurement: a float no longer counts them one by one."""


class ServiceTime(Struct, frozen=True):
    """The service time planned with: its mean, what the objective's share does not exceed, its origin."""

    mean: float
    tail: float
    origin: str


class Need(Struct, frozen=True):
    """The slots that one of the two questions asks for, and the part of the sentence that says why."""

    slots: int
    because: str
    exact: float = 0.0


class SloFormulaPolicy:
    """Little's law for the backlog, Erlang's formula for the stream."""

    def decide(self, snapshot: Snapshot) -> Decision:
        """Return the fewest workers with which the objective holds."""
        current = snapshot.workers.desired
        if snapshot.messages_ready is None:
            return Decision.hold(current, "the queue's depth is not known")
        in_flight = snapshot.messages_unacknowledged
        in_system = snapshot.messages_ready + (in_flight or 0)
        service = service_time(snapshot)
        if service is None:
            if in_system == 0 and in_flight is not None:
                return Decision(desired_workers=0, reason="0 uploads wait and 0 are in flight -> 0 workers")
            return Decision.hold(
                current, f"{in_system} uploads, but none has ended yet and nothing tells how long one takes"
            )
        impossible = _impossible(snapshot, in_system, service)
        if impossible:
            return Decision.hold(current, impossible)
        backlog, budget = _backlog(snapshot, in_system, service)
        stream = _stream(snapshot, service)
        slots = max(backlog.slots, stream.slots)
        workers = math.ceil(slots / snapshot.slots_per_worker)
        missing = _missing(snapshot, in_system)
        if workers < current and missing:
            return Decision.hold(
                current, f"{workers} would do, but {missing}: never fewer on what is not known"
            )
        return Decision(
            desired_workers=workers,
            reason=f"{stream.because}; {backlog.because}; {snapshot.slots_per_worker} a worker -> "
            f"{_counted(workers, 'worker')}{service.origin}",
            numbers={
                "uploads_in_system": in_system,
                "arrival_rate": snapshot.arrival_rate or 0.0,
                "service_time": service.mean,
                "service_time_tail": service.tail,
                "time_to_start": budget,
                "backlog_slots": backlog.slots,
                "stream_slots": stream.slots,
                "slots_per_worker": snapshot.slots_per_worker,
            },
            rejected=_rejected(workers, snapshot, backlog, stream),
        )


def service_time(snapshot: Snapshot) -> ServiceTime | None:
    """Return the service time to plan with, from the best source there is; None where there is none.

    In this order: the reports; busy slots / throughput (Little's law for the slots, where reports tell no
    service time); the response time, which contains it; for how long uploads have been in flight without
    one ending, which an upload then takes at least.
    """
    share = snapshot.slo.share
    known = snapshot.service_time
    if known is not None:
        return ServiceTime(known.mean, _tail(known, share), "")
    in_flight = snapshot.messages_unacknowledged
    if in_flight and snapshot.throughput:
        mean = in_flight / snapshot.throughput
        origin = (
            f" (service time by Little's law: {in_flight} in flight / {snapshot.throughput:.3g} a second)"
        )
    elif snapshot.response_time is not None:
        mean, origin = (
            snapshot.response_time.mean,
            " (service time not reported: taken as the whole response time)",
        )
    elif snapshot.in_flight_age:
        mean = snapshot.in_flight_age
        origin = (
            f" (service time not known yet: none has ended for {mean:.3g} s, so one takes that long at least)"
        )
        return ServiceTime(mean, mean, origin)
    else:
        return None
    # The tail of an exponential distribution of that mean: P(S > t) = exp(-t / mean).
    return ServiceTime(mean, -math.log(1 - share) * mean, origin) if 0 < mean < _NEVER else None


def _impossible(snapshot: Snapshot, in_system: int, service: ServiceTime) -> str:
    """Return why numbers cannot be reckoned with (infinite, none, or beyond any fleet), or an empty text."""
    for count, of in ((in_system, "uploads"), (_rate(snapshot), "uploads/s")):
        if not count * service.mean <= MOST_SLOTS:  # not `>`: false for what is no number, too
            return f"{count:.3g} {of} of {service.mean:.3g} s each are beyond what can be reckoned with"
    return ""


def _rate(snapshot: Snapshot) -> float:
    """Return the arrivals a second to the slots: an attempt that failed comes again."""
    return (snapshot.arrival_rate or 0.0) + snapshot.failures / snapshot.window


def _tail(known: Percentiles, share: float) -> float:
    """Return the smallest known percentile that covers the objective's share."""
    if share <= 0.5:  # noqa: PLR2004 - the percentiles that a window keeps
        return known.p50
    if share <= 0.95:  # noqa: PLR2004
        return known.p95
    return known.p99 if share <= 0.99 else known.maximum  # noqa: PLR2004


def _backlog(snapshot: Snapshot, in_system: int, service: ServiceTime) -> tuple[Need, float]:
    """Return the slots that start the last upload of the backlog in time, and the seconds they have."""
    deadline = snapshot.slo.seconds
    least = LEAST_TIME_SHARE * deadline
    budget = max(least, deadline - service.tail - (snapshot.oldest_age or 0.0))
    work = in_system * service.mean
    present = snapshot.workers.ready * snapshot.slots_per_worker
    slots = work / budget
    delay = snapshot.start_delay or 0.0
    late_start = ""
    if slots > present and delay > 0:
        # Scaling out: the new slots miss the first `delay` seconds, in which the present ones get on with it.
        slots = max(slots, (work - present * delay) / max(least, budget - delay))
        late_start = f" (new workers take {delay:.2g} s to start)"
    slots = min(in_system, slots)
    needed = max(math.ceil(slots), min(in_system, 1))
    because = (
        f"backlog {in_system} must start within {budget:.3g} s{late_start} -> {_counted(needed, 'slot')}"
    )
    return Need(needed, because, exact=slots), budget


def _stream(snapshot: Snapshot, service: ServiceTime) -> Need:
    """Return the slots that let no more than the missing share of arrivals wait too long."""
    if snapshot.arrival_rate is None:
        return Need(0, "arrival rate not known")
    rate = _rate(snapshot)
    load = rate * service.mean
    wait = max(0.0, snapshot.slo.seconds - service.tail)
    slots = queueing.slots_needed(load, service.mean, wait, 1 - snapshot.slo.share) if load > 0 else 0
    retries = f" ({snapshot.failures} retries among them)" if snapshot.failures else ""
    return Need(
        slots,
        f"{rate:.3g} uploads/s{retries} x {service.mean:.3g} s = {load:.3g} busy slots, kept by {slots}",
    )


def _missing(snapshot: Snapshot, in_system: int) -> str:
    """Return what is not known well enough to let workers go, or an empty text."""
    if snapshot.messages_unacknowledged is None:
        return "the number of uploads in flight is not known"
    if snapshot.arrival_rate is None:
        return "the arrival rate is not known"
    if in_system and "service_time" in snapshot.stale:
        return f"no upload of the last {snapshot.window:g} s told its service time"
    return ""


def _rejected(workers: int, snapshot: Snapshot, backlog: Need, stream: Need) -> tuple[str, ...]:
    """Return why neither one worker fewer nor one more is better."""
    if workers == 0:
        return ("1 worker: nothing to do for it",)
    fewer = (workers - 1) * snapshot.slots_per_worker
    if backlog.slots >= stream.slots:
        why = (
            f"{_counted(fewer, 'slot')} for a backlog that needs {backlog.exact:.2f}: its last would be late"
        )
    else:
        late = f"{(1 - snapshot.slo.share) * 100:g}%"
        why = f"{_counted(fewer, 'slot')} where arrivals need {stream.slots}: over {late} would wait too long"
    more = _counted(workers * snapshot.slots_per_worker, "slot")
    return (
        f"{_counted(workers - 1, 'worker')}: {why}",
        f"{workers + 1} workers: {more} do, one more only costs",
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
