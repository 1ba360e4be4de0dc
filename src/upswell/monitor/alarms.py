"""Tells the log when an alarm comes and when it goes, not in between.

What comes in: each round's decisions. What goes out: one event a round for each kind of change, however many
applications it concerns: a broker's outage is one line, not ten thousand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upswell.events import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from upswell.analysis.decision import Alarm, Decision

_log = get_logger()


class Alarms:
    """Which applications are in alarm, since when."""

    def __init__(self) -> None:
        self._since: dict[Alarm, dict[str, float]] = {"signals_lost": {}, "bottleneck": {}}
        self._short_by = 0

    def tell(self, decisions: Iterable[tuple[str, Decision]], now: float) -> None:
        """Log what changed since the last round."""
        reasons: dict[Alarm, dict[str, str]] = {alarm: {} for alarm in self._since}
        for app_id, decision in decisions:
            for alarm in decision.alarms:
                reasons[alarm][app_id] = decision.reason
        for alarm, since in self._since.items():
            raised = reasons[alarm]
            come = [app_id for app_id in raised if app_id not in since]
            gone = [app_id for app_id in since if app_id not in raised]
            if come:
                since.update(dict.fromkeys(come, now))
                _tell_come(alarm, len(come), come[0], raised[come[0]])
            if gone:
                seconds = max(round(now - since.pop(app_id), 1) for app_id in gone)
                _tell_gone(alarm, len(gone), gone[0], seconds)

    def tell_minimums(self, short_by: int, total: int) -> None:
        """Log that max_workers_total has become too small for all minimums, or is not any more."""
        if short_by and not self._short_by:
            _log.warning("monitor.minimums_not_kept", max_workers_total=total, short_by=short_by)
        elif self._short_by and not short_by:
            _log.info("monitor.minimums_kept_again", max_workers_total=total)
        self._short_by = short_by


def _tell_come(alarm: Alarm, apps: int, app: str, reason: str) -> None:
    if alarm == "signals_lost":
        _log.warning("monitor.signals_lost", apps=apps, app=app, reason=reason)
    else:
        _log.warning("monitor.bottleneck_found", apps=apps, app=app, reason=reason)


def _tell_gone(alarm: Alarm, apps: int, app: str, seconds: float) -> None:
    if alarm == "signals_lost":
        _log.info("monitor.signals_back", apps=apps, app=app, after_seconds=seconds)
    else:
        _log.info("monitor.bottleneck_gone", apps=apps, app=app, after_seconds=seconds)
