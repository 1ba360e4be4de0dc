"""What people are told of as it happens: alarms, dead letters, a missed objective. Text and numbers only.

What comes in: each round's entries, and the alarms that came and went. What goes out: notices, one for each
kind of change in a round, however many applications it concerns. It does not know who receives them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from upswell.analysis.snapshot import FailureReason
from upswell.safe import safe

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from upswell.journal import JournalEntry
    from upswell.monitor.alarms import AlarmChange

MOST_APPS = 20
"""Applications that one notice names."""
DEAD_PAUSE = 60.0
"""Seconds between two notices of dead letters: the first is told at once, those that follow together."""

NoticeEvent = Literal["alarm_raised", "alarm_cleared", "dead_letters", "slo_missed", "slo_met"]


class Notice(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One notice, as it is posted. `text` says all of it in a sentence; chat servers show that field.

    `apps` are the first twenty of the `app_count` applications concerned. Text from messages is made safe.
    """

    event: NoticeEvent
    at: str
    text: str
    installation: str
    apps: tuple[str, ...]
    app_count: int
    alarm: str | None = None
    reason: str | None = None
    failures: tuple[FailureReason, ...] = ()
    dead: int | None = None
    attainment: float | None = None
    objective: str | None = None


class Notices:
    """Finds what to tell.

    Args:
        tell: takes each notice, as JSON.
        installation: the name of the report queue, which tells two installations apart.
        window: seconds for which an objective must hold again until that is told.
    """

    def __init__(self, tell: Callable[[bytes], None], installation: str, window: float) -> None:
        self._tell_json = tell
        self._installation = installation
        self._window = window
        self._dead: dict[str, int] = {}
        self._new_dead: dict[str, int] = {}
        self._dead_reasons: tuple[FailureReason, ...] = ()
        self._dead_told_at = -DEAD_PAUSE
        self._missed: dict[str, float] = {}
        """Application -> when its objective was last seen missed."""

    def take(
        self,
        entries: Iterable[JournalEntry],
        changes: Sequence[AlarmChange],
        known: Collection[str],
        now: float,
    ) -> None:
        """Take a round in; `known` are the applications of the settings, the others are not told of."""
        entries = [entry for entry in entries if entry.app_id in known]
        self._tell_alarms(changes, now)
        self._tell_objectives(entries, now)
        self._tell_dead(entries, now)

    def _tell_alarms(self, changes: Sequence[AlarmChange], now: float) -> None:
        for change in changes:
            name = change.alarm.replace("_", " ")
            if change.raised:
                text = f"alarm {name}: {change.reason}"
                self._tell(
                    "alarm_raised",
                    now,
                    change.apps,
                    text,
                    alarm=change.alarm,
                    reason=change.reason,
                    failures=change.failures,
                )
            else:
                text = f"alarm {name} is over, after {change.seconds:.0f} s"
                self._tell("alarm_cleared", now, change.apps, text, alarm=change.alarm)

    def _tell_objectives(self, entries: Sequence[JournalEntry], now: float) -> None:
        missed: list[JournalEntry] = []
        met: list[str] = []
        for entry in entries:
            snapshot, since = entry.snapshot, self._missed.get(entry.app_id)
            if snapshot.misses:
                self._missed[entry.app_id] = now
                if since is None:
                    missed.append(entry)
            elif since is not None and now - since >= self._window:
                del self._missed[entry.app_id]
                met.append(entry.app_id)
        if missed:
            snapshot = missed[0].snapshot
            attained = 0.0 if snapshot.attainment is None else snapshot.attainment
            text = f"{attained:.1%} of the uploads in the last {self._window:g} s, not {snapshot.slo}"
            apps = [entry.app_id for entry in missed]
            self._tell(
                "slo_missed",
                now,
                apps,
                text,
                attainment=attained,
                objective=str(snapshot.slo),
                failures=snapshot.failure_reasons,
            )
        if met:
            self._tell("slo_met", now, met, f"the objective has been met for {self._window:g} s again")

    def _tell_dead(self, entries: Sequence[JournalEntry], now: float) -> None:
        for entry in entries:
            totals = entry.snapshot.totals
            dead, before = (totals.dead if totals else 0), self._dead.get(entry.app_id, 0)
            if dead > before:
                self._new_dead[entry.app_id] = self._new_dead.get(entry.app_id, 0) + dead - before
                self._dead_reasons = entry.snapshot.failure_reasons
            if dead != before:
                self._dead[entry.app_id] = dead
        if self._new_dead and not 0 <= now - self._dead_told_at < DEAD_PAUSE:
            new, self._new_dead, self._dead_told_at = self._new_dead, {}, now
            count = sum(new.values())
            text = f"{count:,} new dead {'letter' if count == 1 else 'letters'}"
            self._tell("dead_letters", now, list(new), text, dead=count, failures=self._dead_reasons)

    def _tell(
        self,
        event: NoticeEvent,
        now: float,
        apps: Sequence[str],
        text: str,
        *,
        alarm: str | None = None,
        reason: str | None = None,
        failures: tuple[FailureReason, ...] = (),
        dead: int | None = None,
        attainment: float | None = None,
        objective: str | None = None,
    ) -> None:
        more = f" and {len(apps) - 1:,} more" if len(apps) > 1 else ""
        failures = tuple(FailureReason(safe(failure.reason), failure.count) for failure in failures)
        why = "".join(f"; {failure}" for failure in failures)
        notice = Notice(
            event=event,
            at=datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"),
            text=safe(f"{apps[0]}{more}: {text}{why}", 2000),
            installation=self._installation,
            apps=tuple(apps[:MOST_APPS]),
            app_count=len(apps),
            alarm=alarm,
            reason=None if reason is None else safe(reason),
            failures=failures,
            dead=dead,
            attainment=attainment,
            objective=objective,
        )
        self._tell_json(msgspec.json.encode(notice))
