"""Many fleets at once, each under its own setting, all fed with the same uploads: the rehearsal's stage.

In: uploads in order of arrival, an interval at a time, and the signals that the real policy had then. Out:
for each setting what it cost and how many uploads were late, recent ones counting more. Exact: first in first
out, not preempted, each upload on the slot that is free first. Arrays hold one row a setting, one column a
slot.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from upswell.policies.staffing import RecentMaximum, target

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from upswell.policies.slo_family import Signals
    from upswell.policies.staffing import Family, Floats, Ints

_FIRST_COLUMNS = 16
_ABSENT = np.inf
_LONG_AGO = -1e18


class Shadows:
    """Fleets under each setting of a family.

    Args:
        family: the settings.
        objective: seconds after which an upload is late.
        interval: seconds between two decisions.
        slots: of a worker.
        workers: that each fleet begins with.
        max_workers: that a fleet may have.
        memory: uploads after which one counts 1/e.
    """

    def __init__(
        self,
        family: Family,
        *,
        objective: float,
        interval: float,
        slots: int = 1,
        workers: int = 1,
        max_workers: int = 500,
        memory: float = 10_000,
    ) -> None:
        rows = len(family.settings)
        self._family, self._objective, self._interval = family, objective, interval
        self._per_worker, self._max_workers, self._memory = slots, max_workers, memory
        self._delay = family.start_delay
        columns = _FIRST_COLUMNS
        while columns < workers * slots:
            columns *= 2
        self._free_at: Floats = np.full((rows, columns), _ABSENT)
        self._free_at[:, : workers * slots] = _LONG_AGO
        self._ready_at: Floats = np.full((rows, columns), _LONG_AGO)
        self._any_starting = False
        self._slots: Ints = np.full(rows, workers * slots, dtype=np.int64)
        self._recent = RecentMaximum(family.keep * self._delay / interval)
        self._arrivals: Floats = np.empty(0)
        self._services: Floats = np.empty(0)
        self._heads: Ints = np.zeros(rows, dtype=np.int64)
        self.cost: Floats = np.zeros(rows)
        """Worker-seconds, decayed."""
        self.late: Floats = np.zeros(rows)
        """Uploads, decayed."""
        self.count = 0.0
        """Uploads, decayed."""

    def advance(self, now: float, arrivals: Floats, services: Floats, signals: Signals) -> None:
        """Let one interval pass that ends `now`: the uploads arrive, the fleets serve and decide."""
        if len(arrivals):
            self._arrive(arrivals, services)
        self._serve(now)
        busy, starting = self._count(now)
        self.cost += self._slots * (self._interval / self._per_worker)
        waiting = len(self._arrivals) - self._heads
        present = self._slots - starting
        slots = self._family.slots(busy, waiting, present, signals.load, signals.means)
        per_worker = self._per_worker
        wanted = np.minimum(-(-slots // per_worker), self._max_workers)
        recent = self._recent.update(wanted)
        goal = target(self._slots // per_worker, wanted, recent, -(-busy // per_worker)) * per_worker
        change = goal - self._slots
        if change.any():
            self._scale(now, change)

    def _arrive(self, arrivals: Floats, services: Floats) -> None:
        taken = int(self._heads.min())
        self._arrivals = np.concatenate((self._arrivals[taken:], arrivals))
        self._services = np.concatenate((self._services[taken:], services))
        self._heads -= taken
        forget = math.exp(-len(arrivals) / self._memory)
        self.cost *= forget
        self.late *= forget
        self.count = self.count * forget + len(arrivals)

    def _serve(self, now: float) -> None:
        """Start what can start by `now`: one upload in every fleet at a time, until no fleet can."""
        total = len(self._arrivals)
        rows = np.flatnonzero(self._heads < total)
        free_at = self._free_at[rows]
        heads = self._heads[rows]
        while len(rows):
            every = np.arange(len(rows))
            slot = free_at.argmin(axis=1)
            arrival = self._arrivals[heads]
            start = np.maximum(arrival, free_at[every, slot])
            able = start <= now
            if not able.all():
                rows, free_at, heads = self._leave(able, rows, free_at, heads)
                continue
            finish = start + self._services[heads]
            free_at[every, slot] = finish
            late = finish - arrival > self._objective
            if late.any():
                self.late[rows[late]] += 1
            heads = heads + 1
            more = heads < total
            if not more.all():
                rows, free_at, heads = self._leave(more, rows, free_at, heads)

    def _leave(
        self, stay: NDArray[np.bool_], rows: Ints, free_at: Floats, heads: Ints
    ) -> tuple[Ints, Floats, Ints]:
        """Write back the fleets that are done for this interval, return the others."""
        gone = ~stay
        self._free_at[rows[gone]] = free_at[gone]
        self._heads[rows[gone]] = heads[gone]
        return rows[stay], free_at[stay], heads[stay]

    def _count(self, now: float) -> tuple[Ints, Ints]:
        """Return the slots that are busy, and those that are starting."""
        taken = ((self._free_at > now) & (self._free_at < _ABSENT)).sum(axis=1)
        if not self._any_starting:
            return taken, np.zeros(len(taken), dtype=np.int64)
        starting = (self._ready_at > now).sum(axis=1)
        self._any_starting = bool(starting.any())
        return taken - starting, starting

    def _scale(self, now: float, change: Ints) -> None:
        most = int((self._slots + np.maximum(change, 0)).max())
        while most > self._free_at.shape[1]:
            self._free_at = np.pad(
                self._free_at, ((0, 0), (0, self._free_at.shape[1])), constant_values=_ABSENT
            )
            self._ready_at = np.pad(
                self._ready_at, ((0, 0), (0, self._ready_at.shape[1])), constant_values=_LONG_AGO
            )
        self._slots += change
        more = np.flatnonzero(change > 0)
        if len(more):
            added = _first(self._free_at[more] == _ABSENT, change[more])
            ready = now + self._family.start_delay
            self._free_at[more] = np.where(added, ready, self._free_at[more])
            self._ready_at[more] = np.where(added, ready, self._ready_at[more])
            self._any_starting = True
        fewer = np.flatnonzero(change < 0)
        if len(fewer):
            surplus = -change[fewer]
            if self._any_starting:
                surplus -= self._call_off(now, fewer, surplus)
            gone = _first(self._free_at[fewer] <= now, surplus)
            self._free_at[fewer] = np.where(gone, _ABSENT, self._free_at[fewer])
            # Never more than were idle: a worker of several slots may have only some of them busy.
            self._slots[fewer] += surplus - gone.sum(axis=1)

    def _call_off(self, now: float, rows: Ints, surplus: Ints) -> Ints:
        """Send starting slots away, those that would be ready last first; return how many of each row."""
        called_off = np.zeros(len(rows), dtype=np.int64)
        for at in np.flatnonzero((self._ready_at[rows] > now).any(axis=1)).tolist():
            row = int(rows[at])
            starting = np.flatnonzero(self._ready_at[row] > now)
            gone = starting[np.argsort(-self._ready_at[row, starting])][: int(surplus[at])]
            self._free_at[row, gone] = _ABSENT
            self._ready_at[row, gone] = _LONG_AGO
            called_off[at] = len(gone)
        return called_off


def _first(candidates: NDArray[np.bool_], counts: Ints) -> NDArray[np.bool_]:
    """Return the first so many true entries of each row."""
    return candidates & (candidates.cumsum(axis=1) <= counts[:, None])
