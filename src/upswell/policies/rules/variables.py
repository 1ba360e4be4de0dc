"""What a rule's conditions can speak of: one table of names, what each means, and where it is read from.

A value is a number (always a float), a text, true or false, a list, or None: not known. What a snapshot calls
stale is not known either. Time of day and weekday come from the snapshot's instant, never from a clock.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any, get_args

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import tzinfo

    from upswell.analysis.snapshot import Snapshot


class Sight:
    """What variables are read from: a snapshot, what the policy inside wanted, and the local time."""

    def __init__(self, snapshot: Snapshot, wanted: int, zone: tzinfo | None) -> None:
        self.snapshot = snapshot
        self.wanted = wanted
        self.moment = datetime.fromtimestamp(snapshot.at, zone or UTC)

    @property
    def weekday(self) -> int:
        """1 is Monday."""
        return self.moment.isoweekday()

    @property
    def new_reports(self) -> int:
        """The number of response times reported since the snapshot before."""
        return len(self.snapshot.recent_response_times)

    @property
    def slow_reports(self) -> int:
        """The number of them above the objective."""
        limit = self.snapshot.slo.seconds
        return sum(time > limit for time in self.snapshot.recent_response_times)

    @property
    def failure_share(self) -> float | None:
        """Failed attempts / attempts ended; the stored ones are only known after a full window."""
        snapshot = self.snapshot
        if snapshot.throughput is None or snapshot.warming_up:
            return None
        ended = snapshot.failures + snapshot.throughput * snapshot.window
        return snapshot.failures / ended if ended > 0 else None

    @property
    def offered_load(self) -> float | None:
        """Slots that the stream keeps busy."""
        rate, times = self.snapshot.arrival_rate, self.snapshot.service_time
        return None if rate is None or times is None else rate * times.mean

    @property
    def utilisation(self) -> float | None:
        """Busy share of the ready slots."""
        in_flight, slots = self.snapshot.messages_unacknowledged, self.snapshot.ready_slots
        return None if in_flight is None or not slots else in_flight / slots


class Variable(Struct, frozen=True):
    """A name of the conditions.

    `get` reads it from a `Sight`, or what holds it: then `part` is its attribute there. `signal` is the name
    under which a snapshot calls it stale.
    """

    meaning: str
    get: Callable[[Sight], Any]
    part: str = ""
    signal: str = ""
    kind: Callable[[Any], Any] = float
    """Its type."""

    def read(self, sight: Sight) -> Any:
        """Return its value, None where it is not known."""
        value = self.get(sight)
        if self.part and value is not None:
            value = getattr(value, self.part)
        return None if value is None else self.kind(value)

    def sample(self, number: float) -> Any:
        """Return a value of its type, to try an expression out."""
        elements = get_args(self.kind)
        return [elements[0](number)] if elements else self.kind(number)


def _numbers(before: str, signal: str, **meanings: str) -> dict[str, Variable]:
    """Return the variables of numbers that are read from what is named like them, in the path `before`."""
    return {
        name: Variable(meaning, attrgetter(before + name), signal=signal)
        for name, meaning in meanings.items()
    }


def _part(field: str, part: str, meaning: str) -> Variable:
    """Return the variable of a part of what may be unknown as a whole."""
    return Variable(meaning, attrgetter(f"snapshot.{field}"), part, field)


def _times(field: str, what: str) -> dict[str, Variable]:
    """Return the variables of one distribution."""
    return {
        field: _part(field, "mean", f"{what}, seconds: the mean over the window"),
        f"{field}_p50": _part(field, "p50", f"{what}, seconds: the median"),
        f"{field}_p95": _part(field, "p95", f"{what}, seconds: what 95 % do not exceed"),
        f"{field}_p99": _part(field, "p99", f"{what}, seconds: what 99 % do not exceed"),
        f"{field}_max": _part(field, "maximum", f"{what}, seconds: the longest"),
    }


_RESPONSE_TIMES = _times("response_time", "response time")
_WORKERS = _numbers(
    "snapshot.workers.",
    "workers",
    starting="workers asked for and not yet ready",
    ready="workers that consume",
    busy="workers with at least one upload",
    standby="workers kept connected and idle",
    draining="workers that finish and go",
)

VARIABLES: dict[str, Variable] = {
    "current": Variable(
        "workers that the last decision wanted: where rules start from",
        attrgetter("snapshot.workers.desired"),
    ),
    **_numbers(
        "",
        "",
        wanted="workers that the policy inside the guard wants now; without one, the same as `current`",
        new_reports="how many those are",
        slow_reports="how many of them took longer than the objective",
        failure_share="failures / attempts ended, 0 to 1; not known before one full window",
        weekday="1 is Monday, 7 Sunday",
    ),
    **_numbers(
        "moment.",
        "",
        hour="hour of the day in the file's timezone, 0 to 23",
        minute="minute of the hour, 0 to 59",
        day="day of the month, 1 to 31",
        month="month, 1 to 12",
    ),
    **_numbers(
        "", "service_time", offered_load="arrival_rate x service_time: slots that the stream keeps busy"
    ),
    **_numbers("", "workers", utilisation="uploads in flight / slots of the ready workers"),
    **_numbers(
        "snapshot.",
        "messages_ready",
        messages_ready="uploads waiting in the queue",
        messages_unacknowledged="uploads in flight",
        unheard_in_flight="at most so many more, at consumers of which no status was heard",
        queue_depth="both: uploads in the system",
        oldest_age="seconds that the head of the queue has waited",
    ),
    **_numbers(
        "snapshot.",
        "",
        depth_age="seconds since the broker last told how many wait",
        in_flight_age="seconds for which uploads run and none has ended",
        arrivals="uploads that came since the observation began",
        arrival_rate="uploads published a second",
        throughput="uploads stored a second",
        attainment="share of the window's uploads answered within the objective, 0 to 1",
        failures="attempts of the window that ended failed or dead",
        start_delay="seconds from asking for a worker to its being ready, as measured",
        slots_per_worker="uploads that one worker runs at once, on average",
        window="seconds of reports that the figures sum up",
        at="the snapshot's instant, UTC seconds since 1970",
    ),
    **{f"workers_{state}": variable for state, variable in _WORKERS.items()},
    "slots": Variable("slots of the ready workers", attrgetter("snapshot.ready_slots"), signal="workers"),
    "slo_seconds": Variable("the objective's seconds", attrgetter("snapshot.slo.seconds")),
    "slo_share": Variable("the objective's share, 0 to 1", attrgetter("snapshot.slo.share")),
    **_RESPONSE_TIMES,
    **{part: _RESPONSE_TIMES[f"response_time_{part}"] for part in ("p50", "p95", "p99")},
    **_times("waiting_time", "waiting time"),
    **_times("service_time", "service time"),
    "stored_total": _part("totals", "stored", "uploads stored since the observation began"),
    "in_time_total": _part("totals", "in_time", "those of them answered within the objective"),
    "dead_total": _part("totals", "dead", "uploads given up since the observation began"),
    "recent_response_times": Variable(
        "response times reported since the snapshot before, a list of seconds",
        attrgetter("snapshot.recent_response_times"),
        kind=list[float],
    ),
    "app_id": Variable("the application's name", attrgetter("snapshot.app_id"), kind=str),
    "stale": Variable(
        "names of the signals that are too old, a list of texts", attrgetter("snapshot.stale"), kind=list[str]
    ),
    "warming_up": Variable(
        "true until the monitor has watched one full window", attrgetter("snapshot.warming_up"), kind=bool
    ),
}


def read(names: Iterable[str], sight: Sight) -> dict[str, Any]:
    """Return the values of these variables; what is stale is None."""
    stale = sight.snapshot.stale
    return {
        name: None if (variable := VARIABLES[name]).signal in stale else variable.read(sight)
        for name in names
    }
