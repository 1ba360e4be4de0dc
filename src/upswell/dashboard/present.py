"""What the page is told of one application: numbers with their words, ready to be shown.

In: a journal's entry, sums of hours, settings. Out: plain dictionaries for JSON. All text that a message may
have brought is made safe here, and the page shows it as text alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from upswell.analysis.billing import HOUR
from upswell.analysis.decision import BY_HAND, REHEARSED
from upswell.analysis.sentence import headline, quantities, told
from upswell.journal.points import standing
from upswell.safe import safe

if TYPE_CHECKING:
    from upswell.analysis.decision import Reason, Step
    from upswell.analysis.period_totals import PeriodTotals
    from upswell.journal import JournalEntry

HOURS_A_MONTH = 730.0
TROUBLES = ("well", "failing", "missed", "alarm")
"""Names of what an application's `Standing` counts."""

_ALARMS = {
    "signals_lost": "Signals are lost, so the number of workers stays as it is",
    "bottleneck": "More workers do not help: something else is the bottleneck",
    "policy_failed": "The policy failed, so the number of workers stays as it is",
    "fleet_full": "The platform refuses more workers",
}


def decision_line(number: int, entry: JournalEntry) -> dict[str, Any]:
    """Return a decision as the axis and the list show it."""
    decision = entry.decision
    return {
        "id": number,
        "at": entry.at,
        "headline": headline(decision),
        "sentence": safe(decision.reason),
        "before": decision.before,
        "after": decision.desired_workers,
        "held": decision.held,
        "alarms": decision.alarms,
    }


def decision_whole(number: int, entry: JournalEntry) -> dict[str, Any]:
    """Return a decision with its steps, what was rejected, and the signals that it was made from."""
    decision = entry.decision
    return {
        **decision_line(number, entry),
        "steps": [_step(step) for step in decision.steps],
        "rejected": [_reason(option) for option in decision.rejected if not _is_rehearsal(option)],
        "rehearsal": next((safe(told(one)) for one in decision.rejected if _is_rehearsal(one)), None),
        "signals": _signals(entry),
    }


def _step(step: Step) -> dict[str, Any]:
    return {**_reason(step), "before": step.before, "after": step.after}


def _reason(reason: Reason | Step) -> dict[str, Any]:
    numbers = [[safe(name, 60), safe(value, 60)] for name, value in quantities(reason)]
    return {"who": safe(reason.who, 60), "why": safe(told(reason)), "numbers": numbers}


def _is_rehearsal(option: Reason) -> bool:
    """Return whether an option is what the rehearsal of `slo` compared (policies/slo/slo.py)."""
    return option.who == REHEARSED


def _signals(entry: JournalEntry) -> dict[str, Any]:
    seen = entry.snapshot
    return {
        "slo": str(seen.slo),
        "attainment": seen.attainment,
        "arrival_rate": seen.arrival_rate,
        "throughput": seen.throughput,
        "ready": seen.messages_ready,
        "in_flight": seen.messages_unacknowledged,
        "oldest_age": seen.oldest_age,
        "start_delay": seen.start_delay,
        "service_time": seen.service_time,
        "stale": seen.stale,
    }


def present_state(entry: JournalEntry, price: float, currency: str) -> dict[str, Any]:
    """Return how an application is by its newest entry."""
    seen, decision, workers = entry.snapshot, entry.decision, entry.snapshot.workers
    times = seen.response_time
    return {
        "app": entry.app_id,
        "at": entry.at,
        "slo_seconds": seen.slo.seconds,
        "slo_share": seen.slo.share,
        "attainment": seen.attainment,
        "response": None if times is None else msgspec.structs.asdict(times),
        "arrival_rate": seen.arrival_rate,
        "throughput": seen.throughput,
        "ready": seen.messages_ready,
        "in_flight": seen.messages_unacknowledged,
        "oldest_age": seen.oldest_age,
        "desired": decision.desired_workers,
        "workers": msgspec.structs.asdict(workers),
        "sentence": safe(decision.reason),
        "trouble": TROUBLES[standing(entry).trouble],
        "price": price if price > 0 else None,
        "currency": currency,
    }


def notices(entry: JournalEntry | None, now: float, late_after: float) -> list[dict[str, str]]:
    """Return in words what is wrong with an application, the worst first; none where all is well."""
    if entry is None:
        return [_notice("warning", "No decision yet. Does a monitor run with this state folder?")]
    if now - entry.at > late_after:
        age = f"{now - entry.at:.0f} s"
        return [_notice("warning", f"The last decision is {age} old, and so are its figures.")]
    seen, decision = entry.snapshot, entry.decision
    found = [_notice("alarm", f"{_ALARMS[alarm]}: {decision.reason}") for alarm in decision.alarms]
    if seen.misses:
        words = (
            f"The objective is missed: {seen.attainment:.1%} of the uploads of the last {seen.window:g} s"
            f" were stored within {seen.slo.seconds:g} s, {seen.slo.share * 100:g}% are wanted."
        )
        found.append(_notice("alarm", words))
    found += [
        _notice("warning", f"{reason} (in the last {seen.window:g} s)") for reason in seen.failure_reasons
    ]
    by_hand = next((step for step in decision.steps if step.who == BY_HAND), None)
    if by_hand is not None:
        found.append(_notice("note", f"Set by hand: {told(by_hand)}"))
    return found


def _notice(kind: str, words: str) -> dict[str, str]:
    return {"kind": kind, "words": safe(words)}


def cost(
    entry: JournalEntry,
    today: PeriodTotals | None,
    last_day: PeriodTotals | None,
    price: float,
) -> dict[str, Any]:
    """Return what an application costs, in worker-hours; the page multiplies by the price where there is one.

    `month` is a month at the rate of the last 24 hours; `each` is of today's uploads that met the objective.
    """
    spent = today.worker_seconds / HOUR if today else None
    mean = last_day.worker_seconds / HOUR / max(1, last_day.hours) if last_day else None
    return {
        "price": price if price > 0 else None,
        "now_per_hour": entry.snapshot.workers.running,
        "today": spent,
        "month": None if mean is None else mean * HOURS_A_MONTH,
        "each": spent / today.in_time if today and spent is not None and today.in_time else None,
    }


def budget(week: PeriodTotals | None) -> dict[str, Any] | None:
    """Return the error budget of the last seven days; None where no upload ended."""
    if week is None or not week.ended:
        return None
    return {
        "left": week.budget_left,
        "missed": week.missed,
        "allowed": round(week.allowed, 1),
        "ended": week.ended,
        "attainment": week.attainment,
        "late": week.late,
        "dead": week.dead,
    }
