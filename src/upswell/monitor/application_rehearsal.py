"""One application's rehearsal, and what it has not rehearsed yet.

In: rounds, from the loop's thread. Out: a setting to follow, in the rehearsal's thread. Must not know:
threads, budgets.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from msgspec import Struct

from upswell.simulator.rehearsal import Rehearsal, Seen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from upswell.analysis.snapshot import Snapshot
    from upswell.policies.slo.slo import Signals
    from upswell.policies.slo.staffing import Setting
    from upswell.settings import Settings

_WAITING_SECONDS = 240.0
_ROUNDS_AT_ONCE = 10
_TRAFFIC_ROUNDS = 100


class Choice(Struct, frozen=True):
    """A setting to follow, and why."""

    app_id: str
    index: int
    why: str


class ApplicationRehearsal:
    """One application's rehearsal.

    Args:
        app_id: the application.
        settings: its own.
        family: the settings of the policy that are rehearsed.
        following: index of that from which the choice starts.
    """

    def __init__(self, app_id: str, settings: Settings, family: tuple[Setting, ...], following: int) -> None:
        self.app_id = app_id
        self.traffic = 0.0
        """Uploads a round, of late."""
        self._settings = settings
        self._family = family
        self._following = following
        self._chosen = False
        self._rehearsal: Rehearsal | None = None
        self._past: Iterator[tuple[Snapshot, Signals]] | None = None
        self._notes: deque[tuple[Seen, Signals]] = deque()
        self._most = math.ceil(_WAITING_SECONDS / settings.decision_interval)
        self._skipped = False

    @property
    def waiting(self) -> bool:
        """Whether there is anything to rehearse."""
        return bool(self._notes) or self._past is not None

    def note(self, snapshot: Snapshot, signals: Signals) -> None:
        """Take in one round; where too many wait already, the oldest is let go."""
        self.traffic += (len(snapshot.recent_service_times) - self.traffic) / _TRAFFIC_ROUNDS
        if len(self._notes) >= self._most:
            self._notes.popleft()
            self._skipped = True
        self._notes.append((Seen.of(snapshot), signals))

    def recollect(self, past: Iterator[tuple[Snapshot, Signals]]) -> None:
        """Rehearse these rounds of the past before all others."""
        self._past = past

    def step(self) -> Choice | None:
        """Rehearse a few rounds; return the setting to follow where it is another, or the first choice."""
        any_upload = False
        for _ in range(_ROUNDS_AT_ONCE):
            note = self._next()
            if note is None:
                break
            any_upload = self._rehearse(*note) or any_upload
        rehearsal = self._rehearsal
        if rehearsal is None or not any_upload or not rehearsal.ready:
            return None
        before, first = self._following, not self._chosen
        self._following, self._chosen = rehearsal.choose(before), True
        if self._following == before and not first:
            return None
        return Choice(self.app_id, self._following, rehearsal.compared(self._following, before))

    def _next(self) -> tuple[Seen, Signals] | None:
        if self._past is not None:
            note = next(self._past, None)
            if note is not None:
                snapshot, signals = note
                return Seen.of(snapshot), signals
            self._past = None
            self._skipped = True
        return self._notes.popleft() if self._notes else None

    def _rehearse(self, seen: Seen, signals: Signals) -> bool:
        if self._rehearsal is None:
            own = self._settings
            self._rehearsal = Rehearsal(
                self._family,
                start_delay=signals.start_delay,
                objective=own.objective.seconds,
                share=own.objective.share,
                interval=own.decision_interval,
                slots=own.initial_slots,
                workers=min(own.max_workers, max(own.min_workers, seen.ready)),
                min_workers=own.min_workers,
                max_workers=own.max_workers,
            )
        if self._skipped:
            self._skipped = False
            self._rehearsal.shadows.forget_waiting()
        self._rehearsal.note(seen, signals)
        return self._rehearsal.advance()
