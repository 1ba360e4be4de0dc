"""What a rule's conditions can speak of: one table of names, what each means, and where it is read from.

A value is a number (always a float), a text, true or false, a list, or None: not known. What a snapshot calls
stale is not known either. Time of day and weekday come from the snapshot's instant, never from a clock.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import tzinfo

    from upswell.analysis.snapshot import Snapshot


RECENT_REPORTS = 1000
"""Response times that a rule sees at most: CEL's `filter` and `map` take time with the square of a list."""


class Sight(NamedTuple):
    """What variables are read from; `wanted` is what the policy inside wants, `moment` the local time."""

    snapshot: Snapshot
    wanted: int
    moment: datetime


class Variable(Struct, frozen=True):
    """A name of the conditions; `signal` is the name under which a snapshot calls it stale."""

    meaning: str
    get: Callable[[Sight], Any]
    signal: str = ""
    kind: Callable[[Any], Any] = float
    """Its type."""

    def sample(self, number: float) -> Any:
        """Return a value of its type, to try an expression out."""
        elements = get_args(self.kind)
        return [elements[0](number)] if elements else self.kind(number)


def _field(path: str) -> Callable[[Sight], Any]:
    """Return what reads a snapshot's `field` or `field.part`; None where the field is."""
    whole, _, part = path.partition(".")
    read_whole = attrgetter(f"snapshot.{whole}")

    def read_part(sight: Sight) -> Any:
        value = read_whole(sight)
        return None if value is None else getattr(value, part)

    return read_part if part else read_whole


def _slow_reports(sight: Sight) -> int:
    limit = sight.snapshot.slo.seconds
    return sum(time > limit for time in sight.snapshot.recent_response_times)


def _failure_share(sight: Sight) -> float | None:
    """Failed attempts / attempts ended; the stored ones are only known after a full window."""
    snapshot = sight.snapshot
    if snapshot.throughput is None or snapshot.warming_up:
        return None
    ended = snapshot.failures + snapshot.throughput * snapshot.window
    return snapshot.failures / ended if ended > 0 else None


def _offered_load(sight: Sight) -> float | None:
    rate, times = sight.snapshot.arrival_rate, sight.snapshot.service_time
    return None if rate is None or times is None else rate * times.mean


def _utilisation(sight: Sight) -> float | None:
    in_flight, slots = sight.snapshot.messages_unacknowledged, sight.snapshot.ready_slots
    return None if in_flight is None or not slots else in_flight / slots


_FIELDS: dict[str, tuple[str, ...]] = {
    "current": ("workers that the last decision wanted: where rules start from", "workers.desired"),
    "messages_ready": ("uploads waiting in the queue", "", "messages_ready"),
    "messages_unacknowledged": ("uploads in flight", "", "messages_ready"),
    "unheard_in_flight": (
        "at most this many more, at consumers of which no status was received", "", "messages_ready",
    ),
    "queue_depth": ("both: uploads in the system", "", "messages_ready"),
    "oldest_age": ("seconds that the head of the queue has waited", "", "messages_ready"),
    "depth_age": ("seconds since the broker last reported the queue's depth",),
    "in_flight_age": ("seconds for which uploads run and none has ended",),
    "arrivals": ("uploads that came since the observation began",),
    "arrival_rate": ("uploads published a second",),
    "throughput": ("uploads stored a second",),
    "attainment": ("share of the window's uploads answered within the objective, 0 to 1",),
    "failures": ("attempts of the window that ended failed or dead",),
    "stored_total": ("uploads stored since the observation began", "totals.stored"),
    "in_time_total": ("those of them answered within the objective", "totals.in_time"),
    "dead_total": ("uploads given up since the observation began", "totals.dead"),
    "workers_starting": ("workers asked for and not yet ready", "workers.starting", "workers"),
    "workers_ready": ("workers that consume", "workers.ready", "workers"),
    "workers_busy": ("workers with at least one upload", "workers.busy", "workers"),
    "workers_standby": ("workers kept connected and idle", "workers.standby", "workers"),
    "workers_draining": ("workers that finish and go", "workers.draining", "workers"),
    "start_delay": ("seconds from asking for a worker to its being ready, as measured",),
    "start_cpu": ("seconds of a processor that a worker took until it was ready, as measured",),
    "slots": ("slots of the ready workers", "ready_slots", "workers"),
    "slots_per_worker": ("uploads that one worker runs at once, on average",),
    "slots_of_new": ("slots that one more worker brings", "slots_of_one_more"),
    "slo_seconds": ("the objective's seconds", "slo.seconds"),
    "slo_share": ("the objective's share, 0 to 1", "slo.share"),
    "window": ("seconds of reports that the figures sum up",),
    "at": ("the snapshot's instant, UTC seconds since 1970",),
}  # fmt: skip
"""Numbers: meaning, where in a snapshot it stands if not under its name, and the signal."""

_TIMES = {"response_time": "response time", "waiting_time": "waiting time", "service_time": "service time"}
_PARTS = {
    "": ("mean", "the mean over the window"),
    "_p50": ("p50", "the median"),
    "_p95": ("p95", "what 95 % do not exceed"),
    "_p99": ("p99", "what 99 % do not exceed"),
    "_max": ("maximum", "the longest"),
}
_DISTRIBUTIONS = {
    field + end: Variable(f"{what}, seconds: {which}", _field(f"{field}.{part}"), field)
    for field, what in _TIMES.items()
    for end, (part, which) in _PARTS.items()
}

VARIABLES: dict[str, Variable] = {
    **{
        name: Variable(what, _field("".join(at[:1]) or name), "".join(at[1:]))
        for name, (what, *at) in _FIELDS.items()
    },
    **_DISTRIBUTIONS,
    **{part: _DISTRIBUTIONS[f"response_time_{part}"] for part in ("p50", "p95", "p99")},
    "wanted": Variable(
        "workers that the policy inside the guard wants now; without one, the same as `current`",
        lambda sight: sight.wanted,
    ),
    "recent_response_times": Variable(
        "response times reported since the snapshot before, a list of seconds; the newest 1,000",
        lambda sight: sight.snapshot.recent_response_times[-RECENT_REPORTS:],
        kind=list[float],
    ),
    "new_reports": Variable(
        "how many there were in all", lambda sight: len(sight.snapshot.recent_response_times)
    ),
    "slow_reports": Variable("how many of them all took longer than the objective", _slow_reports),
    "failure_share": Variable(
        "failures / attempts ended, 0 to 1; not known before one full window", _failure_share
    ),
    "offered_load": Variable(
        "arrival_rate x service_time: slots that the stream keeps busy", _offered_load, "service_time"
    ),
    "utilisation": Variable("uploads in flight / slots of the ready workers", _utilisation, "workers"),
    "hour": Variable("hour of the day in the file's timezone, 0 to 23", lambda sight: sight.moment.hour),
    "minute": Variable("minute of the hour, 0 to 59", lambda sight: sight.moment.minute),
    "weekday": Variable("1 is Monday, 7 Sunday", lambda sight: sight.moment.isoweekday()),
    "day": Variable("day of the month, 1 to 31", lambda sight: sight.moment.day),
    "month": Variable("month, 1 to 12", lambda sight: sight.moment.month),
    "app_id": Variable("the application's name", _field("app_id"), kind=str),
    "stale": Variable(
        "names of the signals that are too old, a list of texts", _field("stale"), kind=list[str]
    ),
    "warming_up": Variable(
        "true until the monitor has watched one full window", _field("warming_up"), kind=bool
    ),
}


LISTS = frozenset(name for name, variable in VARIABLES.items() if get_args(variable.kind))
"""The names of lists."""


def read(names: Iterable[str], snapshot: Snapshot, wanted: int, zone: tzinfo) -> dict[str, Any]:
    """Return the values of these variables; what is stale is None."""
    stale = snapshot.stale
    sight = Sight(snapshot, wanted, datetime.fromtimestamp(snapshot.at, zone))
    values: dict[str, Any] = {}
    for name in names:
        variable = VARIABLES[name]
        value = None if stale and variable.signal in stale else variable.get(sight)
        values[name] = value if value is None or type(value) is float else variable.kind(value)
    return values
