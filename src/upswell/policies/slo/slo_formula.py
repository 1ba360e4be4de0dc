"""The policy `slo_formula`: the fewest workers that answer the objective's share of uploads within D seconds.

Two questions, each answered in slots (a worker has several), and the larger answer counts:

1. The backlog. N uploads in the system of mean service time s are N s seconds of work, which S slots do in
   N s / S (Little's law). The last of them must start early enough to be answered within D: within T = D -
   s_tail - age, where s_tail is the service time that the objective's share of uploads does not exceed, and
   age how long the head of the queue has waited already. New slots come only after the start-up delay d,
   the present P work meanwhile: S = (N s - P d) / (T - d). Never more slots than uploads.
2. The stream. Arrivals of rate r keep a = r s slots busy; more are needed, by Erlang's formula, so that
   no more than the missing share waits longer than D - s_tail (square-root staffing with its beta computed:
   `queueing.slots_needed`).

The first reacts to a burst at once, the second keeps the calm from being staffed so tightly that chance
alone makes a queue.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from upswell.analysis import queueing
from upswell.analysis.decision import NO_INPUTS, Decision, Inputs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from upswell.analysis.snapshot import Percentiles, Snapshot

WHO = "slo_formula"
NOTHING = "nothing queued, nothing running"
UNTIMED = "{in_system:upload} in the system, and none has ended: how long one takes is unknown"
BEYOND = "{count} uploads (or uploads/s) of {service_time:s} each are beyond any fleet"
_TAKES = "takes {slots:slot} = {workers:worker} of {slots_per_worker:slot}"
STREAM = (
    "{rate} uploads/s, {service_time:s} each, keep {load:slot} busy; "
    f"that at most {{late:%}} wait longer than {{wait:s}} {_TAKES}"
)
RETRIES = STREAM.replace("uploads/s,", "uploads/s ({retries:retry|retries} in the window among them),")
IN_FLIGHT_UNKNOWN = "the number of uploads in flight is unknown"
NO_STREAM = "the arrival rate is unknown"
_BACKLOG = "{in_system:upload} in the system, {service_time:s} each"
BACKLOG = f"{_BACKLOG}; to start the last within {{budget:s}} {_TAKES}"
BACKLOG_LATE = (
    f"{_BACKLOG}; {{present:slot}} work on them for {{start_delay:s}} before a new worker is ready, "
    f"the rest within {{rest:s}} {_TAKES}"
)
BACKLOG_EACH = f"{_BACKLOG}; a slot for each {_TAKES}"
BY_LITTLE = "service time by Little's law: {in_flight} in flight / {throughput} a second"
BY_RESPONSE = "no service time was reported: the whole response time stands for it"
NOT_COUNTED = "uploads in flight are not counted: their number is unknown"
AGE_NOT_COUNTED = "how long the oldest upload has waited is unknown: this is the least needed"
DELAY_ASSUMED = "no worker was seen starting yet: {start_delay:s} are assumed"
BY_AGE = "no service time is known yet: no upload has ended for {age:s}, so one takes that long at least"

ASSUMED_SHARE = 0.25
"""Of the objective: what is assumed for a start-up (and by `slo` for an upload) before one was measured."""
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
    origin: tuple[str, Inputs] | None = None


class Need(Struct, frozen=True):
    """The slots that one of the two questions asks for, and why."""

    slots: int
    why: str
    inputs: Inputs = NO_INPUTS


class SloFormulaPolicy:
    """Little's law for the backlog, Erlang's formula for the stream."""

    def decide(self, snapshot: Snapshot) -> Decision:
        """Return the fewest workers with which the objective holds."""
        current = snapshot.workers.desired
        waiting, in_flight = snapshot.messages_ready, snapshot.messages_unacknowledged
        if waiting is None:
            return Decision.hold(WHO, current, "the queue's depth is unknown")
        # What is unknown and left out can only raise the need: enough to scale out, never to scale in.
        in_system = waiting if in_flight is None else waiting + in_flight
        service = service_time(snapshot)
        if service is None:
            if in_system == 0:
                return (
                    Decision.hold(WHO, current, IN_FLIGHT_UNKNOWN)
                    if in_flight is None
                    else Decision.of(WHO, current, 0, NOTHING)
                )
            return Decision.hold(WHO, current, UNTIMED, {"in_system": in_system})
        for count in (in_system, _rate(snapshot)):
            if not count * service.mean <= MOST_SLOTS:  # not `>`: false for what is no number, too
                return Decision.hold(WHO, current, BEYOND, {"count": count, "service_time": service.mean})
        stream, backlog = _stream(snapshot, service), _backlog(snapshot, in_system, service)
        decision = _with(None, stream, snapshot)
        if backlog.slots >= stream.slots:
            decision = _with(decision if stream.slots else None, backlog, snapshot)
        workers, decided_from = decision.desired_workers, decision.steps[-1].inputs
        if service.origin is not None:
            decision = decision.then(WHO, workers, *service.origin)
        missing = _missing(snapshot, in_system)
        if workers < current and missing:
            return replace(decision.then(WHO, current, f"no scale-in while {missing}"), held=True)
        for why, inputs in _remarks(snapshot, decided_from):
            decision = decision.then(WHO, workers, why, inputs)
        return decision


def _with(decision: Decision | None, need: Need, snapshot: Snapshot) -> Decision:
    """Return a decision with what one question asks for."""
    per_worker = snapshot.slots_per_worker
    workers = math.ceil(need.slots / per_worker)
    inputs = need.inputs
    if inputs:
        inputs = {**inputs, "slots": need.slots, "workers": workers, "slots_per_worker": per_worker}
    if decision is None:
        return Decision.of(WHO, snapshot.workers.desired, workers, need.why, inputs)
    return decision.then(WHO, workers, need.why, inputs)


def service_time(snapshot: Snapshot) -> ServiceTime | None:
    """Return the service time to plan with, from the best source available; None without any.

    In this order: the reports; busy slots / throughput (Little's law for the slots, where reports hold no
    service time); the response time, which contains it; for how long uploads have been in flight without
    one ending, which an upload then takes at least.
    """
    share = snapshot.slo.share
    known = snapshot.service_time
    if known is not None:
        return ServiceTime(known.mean, _tail(known, share))
    in_flight, throughput = snapshot.messages_unacknowledged, snapshot.throughput
    if in_flight and throughput:
        mean = in_flight / throughput
        origin = BY_LITTLE, {"in_flight": float(in_flight), "throughput": throughput}
    elif snapshot.response_time is not None:
        mean, origin = snapshot.response_time.mean, (BY_RESPONSE, NO_INPUTS)
    elif snapshot.in_flight_age:
        mean = snapshot.in_flight_age
        return ServiceTime(mean, mean, (BY_AGE, {"age": mean}))
    else:
        return None
    # The tail of an exponential distribution of that mean: P(S > t) = exp(-t / mean).
    return ServiceTime(mean, -math.log(1 - share) * mean, origin) if 0 < mean < _NEVER else None


def _rate(snapshot: Snapshot) -> float:
    """Return the arrivals a second to the slots, as far as known: an attempt that failed comes again."""
    retries = snapshot.failures / snapshot.window
    return retries if snapshot.arrival_rate is None else snapshot.arrival_rate + retries


def _tail(known: Percentiles, share: float) -> float:
    """Return the smallest known percentile that covers the objective's share."""
    if share <= 0.5:  # noqa: PLR2004 - the percentiles that a window keeps
        return known.p50
    if share <= 0.95:  # noqa: PLR2004
        return known.p95
    return known.p99 if share <= 0.99 else known.maximum  # noqa: PLR2004


def _backlog(snapshot: Snapshot, in_system: int, service: ServiceTime) -> Need:
    """Return the slots that start the last upload of the backlog in time."""
    if in_system == 0:
        return Need(0, NOTHING)
    deadline = snapshot.slo.seconds
    least = LEAST_TIME_SHARE * deadline
    budget = deadline - service.tail
    if snapshot.oldest_age is not None:
        budget -= snapshot.oldest_age
    budget = max(least, budget)
    work = in_system * service.mean
    present = snapshot.ready_slots
    slots, delay = work / budget, snapshot.start_delay
    if delay is None:
        delay = ASSUMED_SHARE * deadline
    inputs = {"in_system": in_system, "service_time": service.mean}
    why = BACKLOG
    more: dict[str, float] = {"budget": budget}
    if slots > present and delay > 0:
        # Scaling out: the new slots miss the first `delay` seconds, in which the present ones get on with it.
        rest = max(least, budget - delay)
        late = (work - present * delay) / rest
        if late > slots:
            slots, why = late, BACKLOG_LATE
            more = {"present": present, "start_delay": delay, "rest": rest}
    if slots > in_system:
        slots, why, more = in_system, BACKLOG_EACH, {}
    return Need(max(math.ceil(slots), 1), why, inputs | more)


def _stream(snapshot: Snapshot, service: ServiceTime) -> Need:
    """Return the slots that let no more than the missing share of arrivals wait too long."""
    if snapshot.arrival_rate is None:
        return Need(0, NO_STREAM)
    rate = _rate(snapshot)
    load, late = rate * service.mean, 1 - snapshot.slo.share
    wait = max(0.0, snapshot.slo.seconds - service.tail)
    slots = queueing.slots_needed(load, service.mean, wait, late) if load > 0 else 0
    inputs = {"rate": rate, "service_time": service.mean, "load": load, "late": late, "wait": wait}
    if snapshot.failures:
        return Need(slots, RETRIES, {**inputs, "retries": snapshot.failures})
    return Need(slots, STREAM, inputs)


def _missing(snapshot: Snapshot, in_system: int) -> str:
    """Return what is not known well enough to let workers go, or an empty text."""
    if snapshot.messages_unacknowledged is None:
        return IN_FLIGHT_UNKNOWN
    if snapshot.unheard_in_flight:
        return "new workers may run more uploads than is known yet"
    if snapshot.arrival_rate is None:
        return NO_STREAM
    if snapshot.messages_ready and snapshot.oldest_age is None:
        return "how long the oldest upload has waited is unknown"
    if in_system and "service_time" in snapshot.stale:
        return "no upload of the last window reported its service time"
    return ""


def _remarks(snapshot: Snapshot, used: Inputs) -> Iterator[tuple[str, Inputs]]:
    """Give what was assumed or left out where something was not known."""
    if snapshot.messages_unacknowledged is None:
        yield NOT_COUNTED, NO_INPUTS
    if snapshot.messages_ready and snapshot.oldest_age is None:
        yield AGE_NOT_COUNTED, NO_INPUTS
    if snapshot.start_delay is None and "start_delay" in used:
        yield DELAY_ASSUMED, {"start_delay": used["start_delay"]}
