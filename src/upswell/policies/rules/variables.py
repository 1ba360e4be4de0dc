"""What a rule's conditions can speak of: one table of names, what each means, and where it is read from.

A name's value is a number (always a float), a text, true or false, a list of numbers or texts, or None: not
known. What a snapshot calls stale is not known either. Time of day and weekday come from the snapshot's
instant, never from a clock.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from datetime import tzinfo

    from upswell.analysis.snapshot import Percentiles, Snapshot


class Sight:
    """One snapshot, what the policy inside wanted, and the local time: what variables are read from."""

    __slots__ = ("moment", "snapshot", "wanted")

    def __init__(self, snapshot: Snapshot, wanted: int, zone: tzinfo | None) -> None:
        self.snapshot = snapshot
        self.wanted = wanted
        self.moment = datetime.fromtimestamp(snapshot.at, zone or UTC)


class Variable(Struct, frozen=True):
    """A name of the conditions.

    `signal` is the name under which a snapshot calls it stale.
    """

    meaning: str
    read: Callable[[Sight], Any]
    signal: str = ""
    text: bool = False
    list_of: bool = False
    truth: bool = False

    @property
    def is_number(self) -> bool:
        """Whether its value is a number."""
        return not (self.text or self.list_of or self.truth)


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)


def _of(field: str, meaning: str, signal: str = "") -> Variable:
    """Return the variable of a number in the snapshot."""
    return Variable(meaning, lambda sight: _number(getattr(sight.snapshot, field)), signal)


def _workers(field: str, meaning: str) -> Variable:
    return Variable(meaning, lambda sight: float(getattr(sight.snapshot.workers, field)), "workers")


def _time(field: str, part: str, meaning: str) -> Variable:
    """Return the variable of one number of a distribution."""

    def read(sight: Sight) -> float | None:
        times: Percentiles | None = getattr(sight.snapshot, field)
        return None if times is None else float(getattr(times, part))

    return Variable(meaning, read, field)


def _times(field: str, what: str) -> dict[str, Variable]:
    return {
        field: _time(field, "mean", f"{what}, seconds: the mean over the window"),
        f"{field}_p50": _time(field, "p50", f"{what}, seconds: the median"),
        f"{field}_p95": _time(field, "p95", f"{what}, seconds: what 95 % do not exceed"),
        f"{field}_p99": _time(field, "p99", f"{what}, seconds: what 99 % do not exceed"),
        f"{field}_max": _time(field, "maximum", f"{what}, seconds: the longest"),
    }


def _slow_reports(sight: Sight) -> float:
    limit = sight.snapshot.slo.seconds
    return float(sum(time > limit for time in sight.snapshot.recent_response_times))


def _total(field: str, meaning: str) -> Variable:
    """Return the variable of a sum since the observation began."""

    def read(sight: Sight) -> float | None:
        totals = sight.snapshot.totals
        return None if totals is None else float(getattr(totals, field))

    return Variable(meaning, read)


def _failure_share(sight: Sight) -> float | None:
    """Failed attempts / attempts ended; before a full window was watched the stored ones cannot be told."""
    snapshot = sight.snapshot
    if snapshot.throughput is None or snapshot.warming_up:
        return None
    ended = snapshot.failures + snapshot.throughput * snapshot.window
    return snapshot.failures / ended if ended > 0 else None


def _offered_load(sight: Sight) -> float | None:
    rate, times = sight.snapshot.arrival_rate, sight.snapshot.service_time
    return None if rate is None or times is None else rate * times.mean


def _utilisation(sight: Sight) -> float | None:
    snapshot = sight.snapshot
    slots = snapshot.ready_slots
    in_flight = snapshot.messages_unacknowledged
    return None if in_flight is None or not slots else in_flight / slots


VARIABLES: dict[str, Variable] = {
    "current": Variable(
        "workers that the last decision wanted: where rules start from",
        lambda sight: float(sight.snapshot.workers.desired),
    ),
    "wanted": Variable(
        "workers that the policy inside the guard wants now; without one, the same as `current`",
        lambda sight: float(sight.wanted),
    ),
    "messages_ready": _of("messages_ready", "uploads waiting in the queue", "messages_ready"),
    "messages_unacknowledged": _of("messages_unacknowledged", "uploads in flight", "messages_ready"),
    "unheard_in_flight": _of(
        "unheard_in_flight",
        "at most so many more, at consumers of which no status was heard",
        "messages_ready",
    ),
    "queue_depth": _of("queue_depth", "both: uploads in the system", "messages_ready"),
    "oldest_age": _of("oldest_age", "seconds that the head of the queue has waited", "messages_ready"),
    "depth_age": _of("depth_age", "seconds since the broker last told how many wait"),
    "in_flight_age": _of("in_flight_age", "seconds for which uploads run and none has ended"),
    "arrivals": _of("arrivals", "uploads that came since the observation began"),
    "arrival_rate": _of("arrival_rate", "uploads published a second"),
    "throughput": _of("throughput", "uploads stored a second"),
    "attainment": _of("attainment", "share of the window's uploads answered within the objective, 0 to 1"),
    "p50": _time("response_time", "p50", "response time, seconds: the median"),
    "p95": _time("response_time", "p95", "response time, seconds: what 95 % do not exceed"),
    "p99": _time("response_time", "p99", "response time, seconds: what 99 % do not exceed"),
    **_times("response_time", "response time"),
    **_times("waiting_time", "waiting time"),
    **_times("service_time", "service time"),
    "recent_response_times": Variable(
        "response times reported since the snapshot before, a list of seconds",
        lambda sight: list(sight.snapshot.recent_response_times),
        list_of=True,
    ),
    "new_reports": Variable(
        "how many those are", lambda sight: float(len(sight.snapshot.recent_response_times))
    ),
    "slow_reports": Variable("how many of them took longer than the objective", _slow_reports),
    "failures": _of("failures", "attempts of the window that ended failed or dead"),
    "failure_share": Variable(
        "failures / attempts ended, 0 to 1; not known before one full window", _failure_share
    ),
    "stored_total": _total("stored", "uploads stored since the observation began"),
    "in_time_total": _total("in_time", "those of them answered within the objective"),
    "dead_total": _total("dead", "uploads given up since the observation began"),
    "offered_load": Variable(
        "arrival_rate x service_time: slots that the stream keeps busy", _offered_load, "service_time"
    ),
    "utilisation": Variable("uploads in flight / slots of the ready workers", _utilisation, "workers"),
    "workers_starting": _workers("starting", "workers asked for and not yet ready"),
    "workers_ready": _workers("ready", "workers that consume"),
    "workers_busy": _workers("busy", "workers with at least one upload"),
    "workers_standby": _workers("standby", "workers kept connected and idle"),
    "workers_draining": _workers("draining", "workers that finish and go"),
    "start_delay": _of("start_delay", "seconds from asking for a worker to its being ready, as measured"),
    "slots": Variable(
        "slots of the ready workers", lambda sight: float(sight.snapshot.ready_slots), "workers"
    ),
    "slots_per_worker": _of("slots_per_worker", "uploads that one worker runs at once, on average"),
    "slo_seconds": Variable("the objective's seconds", lambda sight: sight.snapshot.slo.seconds),
    "slo_share": Variable("the objective's share, 0 to 1", lambda sight: sight.snapshot.slo.share),
    "window": _of("window", "seconds of reports that the figures sum up"),
    "at": _of("at", "the snapshot's instant, UTC seconds since 1970"),
    "hour": Variable("hour of the day in the file's timezone, 0 to 23", lambda s: float(s.moment.hour)),
    "minute": Variable("minute of the hour, 0 to 59", lambda sight: float(sight.moment.minute)),
    "weekday": Variable("1 is Monday, 7 Sunday", lambda sight: float(sight.moment.isoweekday())),
    "day": Variable("day of the month, 1 to 31", lambda sight: float(sight.moment.day)),
    "month": Variable("month, 1 to 12", lambda sight: float(sight.moment.month)),
    "app_id": Variable("the application's name", lambda sight: sight.snapshot.app_id, text=True),
    "stale": Variable(
        "names of the signals that are too old, a list of texts",
        lambda sight: list(sight.snapshot.stale),
        list_of=True,
        text=True,
    ),
    "warming_up": Variable(
        "true until the monitor has watched one full window",
        lambda sight: sight.snapshot.warming_up,
        truth=True,
    ),
}


def read(names: tuple[str, ...], sight: Sight) -> dict[str, Any]:
    """Return the values of these variables; what is stale is None."""
    stale = sight.snapshot.stale
    if not stale:
        return {name: VARIABLES[name].read(sight) for name in names}
    return {
        name: None if (variable := VARIABLES[name]).signal in stale else variable.read(sight)
        for name in names
    }
