"""One application's rehearsal: rounds that wait to be rehearsed, and the setting that did best so far.

In: rounds (`note`). Out: a setting to follow (`step`). The monitor calls `step` in a thread beside its
loop, and `note` there or in the loop's; `RehearsedPolicy` calls both in a simulation. So both rehearse alike.
It does not know threads, CPU budgets or the policy's state.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from msgspec import Struct

from upswell.simulator.rehearsal import CAUTION, HEADER, Frontier, Rehearsal, packed

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterator

    from upswell.analysis.snapshot import Snapshot
    from upswell.policies.slo.slo import Signals
    from upswell.policies.slo.staffing import StaffingSetting
    from upswell.settings import Slo
    from upswell.simulator.rehearsal import Caution

_WAITING_SECONDS = 240.0
_ROUNDS_AT_ONCE = 10
TRAFFIC_ROUNDS = 100
"""Over which traffic is averaged."""
_CONFIRMED_EVERY = 3600.0
"""Seconds after which a choice that has not changed is told again, with what is known by then."""


class SettingChoice(Struct, frozen=True):
    """A setting to follow, and why."""

    app_id: str
    index: int
    why: str
    rehearsed: bool = True
    """Whether enough uploads were rehearsed for it; else it rests on what is known of other traffic."""
    setting: str = ""
    before: int = 0
    """Followed until now; the same index where the choice was only confirmed."""
    frontier: Frontier | None = None
    """What every setting would have cost and missed; None before anything was rehearsed."""


def has_uploads(snapshot: Snapshot) -> bool:
    """Return whether any upload is seen: rehearsal of an application begins with the first."""
    waiting, in_flight = snapshot.messages_ready, snapshot.messages_unacknowledged
    return bool(waiting or in_flight or snapshot.recent_service_times)


class ApplicationRehearsal:
    """One application's rehearsal of the settings of a family, with `interval` seconds between two rounds.

    `following` is the index of the setting that the policy follows now; `resumed` says whether it was chosen
    from this application's uploads, before a restart.
    """

    def __init__(
        self,
        app_id: str,
        family: tuple[StaffingSetting, ...],
        following: int,
        *,
        slo: Slo,
        interval: float,
        min_workers: int,
        max_workers: int,
        resumed: bool = False,
        caution: Caution = CAUTION,
    ) -> None:
        self.app_id = app_id
        self.traffic = 0.0
        """Recent uploads a round."""
        self._family, self._following = family, following
        self._slo, self._interval, self._caution = slo, interval, caution
        self._min_workers, self._max_workers = min_workers, max_workers
        self._resumed = resumed
        self._begun = self._rehearsed = False
        self._told_at = -math.inf
        self.rehearsal: Rehearsal | None = None
        """None before the first round."""
        self._past: Iterator[tuple[Snapshot, Signals]] | None = None
        self._notes: deque[array[float]] = deque()
        self._most = math.ceil(_WAITING_SECONDS / interval)
        self._skipped = False

    @property
    def waiting(self) -> bool:
        """Whether there is anything to rehearse."""
        return bool(self._notes) or self._past is not None

    def note(self, snapshot: Snapshot, signals: Signals) -> None:
        """Take in one round; where too many wait already, the oldest is dropped."""
        self.traffic += (len(snapshot.recent_service_times) - self.traffic) / TRAFFIC_ROUNDS
        if len(self._notes) >= self._most:
            self._notes.popleft()
            self._skipped = True
        self._notes.append(packed(snapshot, signals))

    def recollect(self, past: Iterator[tuple[Snapshot, Signals]]) -> None:
        """Rehearse these rounds of the past before all others."""
        self._past = past

    def step(self) -> SettingChoice | None:
        """Rehearse a few rounds; return the setting to follow if it is another, or newly rests on uploads."""
        any_upload = False
        for _ in range(_ROUNDS_AT_ONCE):
            note = self._next()
            if note is None:
                break
            any_upload = self._rehearse(note) or any_upload
        rehearsal = self.rehearsal
        if rehearsal is None or not (any_upload or not self._begun):
            return None
        if self._resumed and not rehearsal.ready:
            return None
        self._begun = True
        before, newly = self._following, rehearsal.ready and not self._rehearsed
        self._following = rehearsal.choose(before)
        self._rehearsed = self._rehearsed or newly
        confirm = rehearsal.now >= self._told_at + _CONFIRMED_EVERY
        if self._following == before and not newly and not confirm:
            return None
        self._told_at = rehearsal.now
        return SettingChoice(
            self.app_id,
            self._following,
            rehearsal.compared(self._following, before),
            self._rehearsed,
            str(self._family[self._following]),
            before,
            rehearsal.frontier(),
        )

    def _next(self) -> array[float] | None:
        if self._past is not None:
            note = next(self._past, None)
            if note is not None:
                return packed(*note)
            self._past = None
            self._skipped = True
        return self._notes.popleft() if self._notes else None

    def _rehearse(self, note: array[float]) -> bool:
        rehearsal = self.rehearsal
        if rehearsal is None:
            _, ready, slots, _, _, _, start_delay, start_cost = note[:HEADER]
            rehearsal = self.rehearsal = Rehearsal(
                self._family,
                start_delay=start_delay,
                objective=self._slo.seconds,
                share=self._slo.share,
                interval=self._interval,
                slots=slots,
                workers=min(self._max_workers, max(self._min_workers, int(ready))),
                min_workers=self._min_workers,
                max_workers=self._max_workers,
                start_cost=start_cost,
                caution=self._caution,
            )
        if self._skipped:
            self._skipped = False
            rehearsal.shadows.forget_waiting()
        rehearsal.note(note)
        return rehearsal.advance()
