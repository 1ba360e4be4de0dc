"""The hours of a journal: what each brought in sums, which stay when the single reports are forgotten.

What comes in: the monitor's rounds. What goes out: what to add to the tables `hours` and `reasons`, and SQL
that sums them up again. An upload counts against the objective of the round that reports it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from upswell.analysis.failure_reasons import common_reason
from upswell.analysis.sentence import gist
from upswell.journal.rows import ReasonCount

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from upswell.analysis.decision import Decision
    from upswell.journal.rows import FailureRow, JournalEntry, ReportRow
    from upswell.settings import Slo

HOUR = 3600
REASONS_AN_HOUR = 30
"""Reasons told apart, of one application and one kind of event: a hostile worker may invent new ones."""
OTHERS = "others"
MOST_CHARACTERS = 300

_SUMS = ("stored", "in_time", "dead", "failed", "allowed", "worker_seconds", "scalings")
_COLUMNS = ("hour", "app_id", *_SUMS, "peak_workers")
ADD_HOUR = (
    f"INSERT INTO hours ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 - names of columns
    " ON CONFLICT (hour, app_id) DO UPDATE SET "
    f"{', '.join(f'{name} = {name} + excluded.{name}' for name in _SUMS)},"
    " peak_workers = max(peak_workers, excluded.peak_workers)"
)

Grouping = Literal["hour", "day", "period"]
_GROUPS = {"hour": "hour", "day": "date(hour * 3600, 'unixepoch', 'localtime')", "period": "app_id"}
TOTALS_FIELDS = ("app_id", "begin", "end", "hours", *_SUMS, "peak_workers")


def select_totals(grouping: Grouping) -> str:
    """Return the query of the totals of each application by hour, by local day, or of all hours at once.

    Its parameters: an application or None, the first hour, and the hour that follows the last.
    """
    sums = ", ".join(f"sum({name})" for name in _SUMS)
    return (
        f"SELECT app_id, min(hour) * 3600.0, max(hour) * 3600.0 + 3600.0, count(*), {sums}, max(peak_workers)"  # noqa: S608 - names of columns
        " FROM hours WHERE (?1 IS NULL OR app_id = ?1) AND hour >= ?2 AND hour < ?3"
        f" GROUP BY app_id, {_GROUPS[grouping]} ORDER BY app_id, min(hour)"
    )


SELECT_REASONS = (
    "SELECT app_id, what, reason, sum(count) FROM reasons"
    " WHERE (?1 IS NULL OR app_id = ?1) AND hour >= ?2 AND hour < ?3"
    " GROUP BY app_id, what, reason ORDER BY app_id, what, sum(count) DESC, reason"
)


class HourSums(Struct, frozen=True):
    """What to add to the tables."""

    hours: list[tuple[object, ...]]
    reasons: list[ReasonCount]


class HourCounter:
    """Counts rounds into hours; `paid`: worker-seconds of each application's bill that the journal has."""

    def __init__(self, paid: Mapping[str, float]) -> None:
        self._paid = dict(paid)
        self._objectives: dict[str, Slo] = {}
        self._known: dict[tuple[str, str], set[str]] = {}
        self._known_hour = 0

    def take(
        self, entries: Sequence[JournalEntry], reports: Iterable[ReportRow], failures: Iterable[FailureRow]
    ) -> HourSums:
        """Count one round."""
        totals: defaultdict[tuple[int, str], dict[str, float]] = defaultdict(
            lambda: dict.fromkeys((*_SUMS, "peak_workers"), 0)
        )
        reasons: Counter[tuple[int, str, str, str]] = Counter()
        for entry in entries:
            self._objectives[entry.app_id] = entry.snapshot.slo
            sums = totals[int(entry.at // HOUR), entry.app_id]
            sums["worker_seconds"] += self._newly_paid(entry)
            sums["scalings"] += entry.changed
            sums["peak_workers"] = entry.snapshot.workers.running
            if entry.changed or entry.decision.held:
                what, why = told(entry.decision)
                reasons[self._reason(entry.at, entry.app_id, what, why)] += 1
        for report in reports:
            sums = totals[int(report.finished_at // HOUR), report.app_id]
            slo = self._objectives.get(report.app_id)
            sums[report.outcome] += 1
            if slo is not None and report.outcome != "failed":
                sums["allowed"] += 1 - slo.share
                sums["in_time"] += report.outcome == "stored" and report.response_time <= slo.seconds
        for failure in failures:
            why = common_reason(failure.reason)[:MOST_CHARACTERS]
            reasons[self._reason(failure.at, failure.app_id, failure.outcome, why)] += 1
        return HourSums(
            [(*key, *sums.values()) for key, sums in totals.items()],
            [ReasonCount(*key, count) for key, count in reasons.items()],
        )

    def _newly_paid(self, entry: JournalEntry) -> float:
        if entry.bill is None:
            return 0.0
        before = self._paid.get(entry.app_id, 0.0)
        total = self._paid[entry.app_id] = entry.bill.worker_seconds
        return max(0.0, total - before)

    def _reason(self, at: float, app_id: str, what: str, why: str) -> tuple[int, str, str, str]:
        """Return the key that an event counts under: one of many reasons in one hour is among the others."""
        hour = int(at // HOUR)
        if hour > self._known_hour:
            self._known, self._known_hour = {}, hour
        known = self._known.setdefault((app_id, what), set())
        if why not in known and len(known) >= REASONS_AN_HOUR:
            why = OTHERS
        known.add(why)
        return hour, app_id, what, why


def told(decision: Decision) -> tuple[str, str]:
    """Return what a decision did and why, without its numbers; who changed it after that comes last."""
    before, after = decision.before, decision.desired_workers
    what = "hold" if after == before else "scale out" if after > before else "scale in"
    changing = [step for step in decision.steps if step.after != step.before]
    first = changing[0] if changing else decision.steps[0]
    then = dict.fromkeys(step.who for step in changing[1:] if step.who != first.who)
    return what, f"{first.who}: {gist(first)}{''.join(f'; then {who}' for who in then)}"[:MOST_CHARACTERS]
