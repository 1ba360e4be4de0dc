"""Tells the log when an alarm comes and when it goes, not in between.

What comes in: each round's entries. What goes out: one event a round for each kind of change, however many
applications it concerns: a broker's outage is one line, not ten thousand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from upswell.analysis.decision import Alarm
from upswell.analysis.snapshot import FailureReason
from upswell.events import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from upswell.journal import JournalEntry

_log = get_logger()

ALARMS: tuple[Alarm, ...] = ("signals_lost", "bottleneck", "policy_failed", "fleet_full")

_HIDING: tuple[Alarm, ...] = ("signals_lost", "policy_failed")
"""A decision with one of these tells nothing of the others, so none is gone before the next one without."""


class AlarmChange(Struct, frozen=True):
    """An alarm that came (`raised`), for the reason of the first of its applications, or went."""

    alarm: Alarm
    raised: bool
    apps: list[str]
    reason: str = ""
    failures: tuple[FailureReason, ...] = ()
    seconds: float = 0.0


class Alarms:
    """Which applications are in alarm, since when."""

    def __init__(self) -> None:
        self._since: dict[Alarm, dict[str, float]] = {alarm: {} for alarm in ALARMS}
        self._short_by = 0

    def tell(self, entries: Iterable[JournalEntry], now: float) -> list[AlarmChange]:
        """Log and return what changed since the last round."""
        changes: list[AlarmChange] = []
        in_alarm: dict[Alarm, dict[str, JournalEntry]] = {alarm: {} for alarm in ALARMS}
        for entry in entries:
            for alarm in entry.decision.alarms:
                in_alarm[alarm][entry.app_id] = entry
        hidden = {app_id for alarm in _HIDING for app_id in in_alarm[alarm]}
        for alarm, since in self._since.items():
            raised = in_alarm[alarm]
            come = [app_id for app_id in raised if app_id not in since]
            gone = [app_id for app_id in since if app_id not in raised and app_id not in hidden]
            if come:
                since.update(dict.fromkeys(come, now))
                first = raised[come[0]]
                reason, failures = first.decision.reason, first.snapshot.failure_reasons
                facts = {"failures": "; ".join(map(str, failures))} if failures else {}
                _come(alarm, apps=len(come), app=come[0], reason=reason, **facts)
                changes.append(AlarmChange(alarm, True, come, reason, failures))
            if gone:
                seconds = max(round(now - since.pop(app_id), 1) for app_id in gone)
                _gone(alarm, apps=len(gone), app=gone[0], after_seconds=seconds)
                changes.append(AlarmChange(alarm, False, gone, seconds=seconds))
        return changes

    def tell_minimums(self, short_by: int, total: int) -> None:
        """Log that max_workers_total has become too small for all minimums, or is not any more."""
        if short_by and not self._short_by:
            _log.warning("monitor.minimums_not_kept", max_workers_total=total, short_by=short_by)
        elif self._short_by and not short_by:
            _log.info("monitor.minimums_kept_again", max_workers_total=total)
        self._short_by = short_by


def _come(alarm: Alarm, **facts: int | str) -> None:
    match alarm:
        case "signals_lost":
            _log.warning("monitor.signals_lost", **facts)
        case "bottleneck":
            _log.warning("monitor.bottleneck_found", **facts)
        case "policy_failed":
            _log.warning("monitor.policy_failed", **facts)
        case "fleet_full":
            _log.warning("monitor.fleet_full", **facts)


def _gone(alarm: Alarm, **facts: float | str) -> None:
    match alarm:
        case "signals_lost":
            _log.info("monitor.signals_back", **facts)
        case "bottleneck":
            _log.info("monitor.bottleneck_gone", **facts)
        case "policy_failed":
            _log.info("monitor.policy_works", **facts)
        case "fleet_full":
            _log.info("monitor.fleet_has_room", **facts)
