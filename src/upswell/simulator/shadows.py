"""Many fleets at once, each under its own setting, all fed with the same uploads: the rehearsal's stage.

In: uploads in order of arrival, an interval at a time, and the signals that the real policy had then. Out:
for each setting what it cost and how many uploads were late, recent ones counting more. Exact: first in first
out, not preempted, each upload on the slot that is free first. Arrays hold one row a setting, one column a
slot; an interval's uploads are started together wherever none of them ends before another begins.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from upswell.policies.slo.staffing import RecentMaximum, target

if TYPE_CHECKING:
    from upswell.policies.slo.staffing import Family, Floats, Ints, Means

_COLUMNS = 4
_AT_ONCE = 64
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
        min_workers: that a fleet keeps.
        max_workers: that a fleet may have.
        memory: uploads after which one counts 1/e.
        episode: seconds within which uploads share their fate.
        episodes: the least number that is remembered, however many uploads they hold.
    """

    def __init__(
        self,
        family: Family,
        *,
        objective: float,
        interval: float,
        slots: int = 1,
        workers: int = 1,
        min_workers: int = 0,
        max_workers: int = 500,
        memory: float = 10_000,
        episode: float = 60.0,
        episodes: float = 100.0,
    ) -> None:
        rows = len(family.settings)
        self._family, self._objective, self._interval = family, objective, interval
        self.slots, self._memory = slots, memory
        self._least, self._most = min_workers, max_workers
        columns = max(_COLUMNS, workers * slots)
        self._free_at: Floats = np.full((rows, columns), _ABSENT)
        """When each slot that is there is free, in no order."""
        self._free_at[:, : workers * slots] = _LONG_AGO
        self._present = np.full(rows, workers * slots, dtype=np.int32)
        self._starting = np.zeros(rows, dtype=np.int32)
        self._cohorts: list[tuple[float, Ints]] = []
        """Slots that were asked for: when they will be ready, how many of each row."""
        self._asleep = 0
        self._recent = RecentMaximum(family.keep * family.start_delay / interval, max_workers)
        self._arrivals: Floats = np.full(1, np.inf)
        self._services: Floats = np.zeros(1)
        self._heads = np.zeros(rows, dtype=np.int32)
        self.cost: Floats = np.zeros(rows)
        """Worker-seconds, decayed."""
        self.late: Floats = np.zeros(rows)
        """Uploads, decayed."""
        self.count = 0.0
        """Uploads, decayed."""
        self.seen = 0.0
        """Episodes with uploads, decayed."""
        self._episode, self._episodes = episode, episodes
        self._elapsed = 0.0

    def advance(self, now: float, arrivals: Floats, services: Floats, load: float, means: Means) -> None:
        """Let one interval pass that ends `now`: the uploads arrive, the fleets serve and decide.

        Args:
            now: the instant.
            arrivals: of the uploads that came within the interval, rising.
            services: their service times.
            load: busy slots offered, as was known then.
            means: what an upload adds to the work within each setting's horizon, as was known then.
        """
        self._elapsed += self._interval
        if len(arrivals):
            self._arrive(arrivals, services)
        elif self._sleeps(now, load):
            self._asleep += 1
            self.cost += self._least * self._interval
            return
        self._wake()
        if self._cohorts:
            self._join(now)
        self._serve(now)
        present, per_worker = self._present, self.slots
        busy = present - (self._free_at <= now).sum(axis=1)
        have = present + self._starting
        self.cost += have * (self._interval / per_worker)
        waiting = len(self._arrivals) - 1 - self._heads
        slots = self._family.slots(busy, waiting, present, load, means)
        if per_worker == 1:
            wanted = np.minimum(np.maximum(slots, self._least), self._most)
            goal = target(have, wanted, self._recent.update(wanted), busy)
        else:
            wanted = np.minimum(np.maximum(-(-slots // per_worker), self._least), self._most)
            recent = self._recent.update(wanted)
            goal = target(have // per_worker, wanted, recent, -(-busy // per_worker)) * per_worker
        change = goal - have
        if change.any():
            self._scale(now, change)

    def set_start_delay(self, start_delay: float, interval: float) -> None:
        """Take the start-up delay as measured from now on, and another interval between two decisions."""
        self._interval = interval
        self._family.set_start_delay(start_delay)
        self._recent.resize(self._family.keep * start_delay / self._interval)

    def forget_waiting(self) -> None:
        """Drop the uploads that wait: rounds are missing before the next one."""
        self._heads[:] = len(self._arrivals) - 1

    def _sleeps(self, now: float, load: float) -> bool:
        """Return whether nothing is under way anywhere and every fleet is at its smallest."""
        if load > 0 or self._cohorts or self._asleep:
            return load == 0 and not self._cohorts
        busy = (self._free_at > now - self._interval) & (self._free_at < _ABSENT)
        waiting = self._heads < len(self._arrivals) - 1
        more = self._present > self._least * self.slots
        return not (busy.any() or waiting.any() or more.any())

    def _wake(self) -> None:
        """Make up for the intervals in which nothing was wanted."""
        if self._asleep:
            smallest = np.full(len(self._present), self._least)
            for _ in range(min(self._asleep, self._recent.longest)):
                self._recent.update(smallest)
            self._asleep = 0

    def _arrive(self, arrivals: Floats, services: Floats) -> None:
        # Behind the last upload stands one that never comes.
        taken = int(self._heads.min())
        self._arrivals = np.concatenate((self._arrivals[taken:-1], arrivals, _NEVER))
        self._services = np.concatenate((self._services[taken:-1], services, _NEVER))
        self._heads -= taken
        elapsed, self._elapsed = self._elapsed, 0.0
        episodes = elapsed / self._episode
        forget = math.exp(-min(len(arrivals) / self._memory, episodes / self._episodes))
        self.cost *= forget
        self.late *= forget
        self.count = self.count * forget + len(arrivals)
        # A long silence is one episode's evidence, no more.
        self.seen = self.seen * forget + min(1.0, episodes)

    def _join(self, now: float) -> None:
        """Let the slots in that are ready by `now`."""
        waiting: list[tuple[float, Ints]] = []
        for ready_at, counts in self._cohorts:
            if ready_at > now:
                waiting.append((ready_at, counts))
            elif counts.any():
                self._make_room(int((self._present + counts).max()))
                rows = np.flatnonzero(counts)
                joining = counts[rows]
                free_at = np.sort(self._free_at[rows], axis=1)
                columns: Ints = np.arange(free_at.shape[1], dtype=np.int64)
                present: Ints = self._present[rows][:, None]
                mask = (columns >= present) & (columns < present + joining[:, None])
                free_at[mask] = ready_at
                self._free_at[rows] = free_at
                self._present[rows] += joining
                self._starting[rows] -= joining
        self._cohorts = waiting

    def _make_room(self, most: int) -> None:
        """Keep as many columns as the largest fleet has slots, rounded up; some more after it has shrunk."""
        columns = self._free_at.shape[1]
        wanted = _COLUMNS * max(1, math.ceil(most / _COLUMNS))
        if wanted > columns:
            more = ((0, 0), (0, wanted - columns))
            self._free_at = np.pad(self._free_at, more, constant_values=_ABSENT)
        elif wanted < 0.75 * columns:
            self._free_at = np.sort(self._free_at, axis=1)[:, :wanted].copy()

    def _serve(self, now: float) -> None:
        """Start what can start by `now`."""
        total = len(self._arrivals) - 1
        rows = np.flatnonzero(self._heads < total)
        while len(rows):
            rows = self._start(rows, total, now)

    def _start(self, rows: Ints, total: int, now: float) -> Ints:
        """Start in each row the uploads whose starts are known at once; return the rows where more may start.

        The k-th upload goes to the slot that is k-th to be free, if that was free when it arrived or is
        free before any of the uploads begun here ends.
        """
        heads = self._heads[rows]
        free_at = self._free_at[rows]
        free_at.sort(axis=1)
        count = min(total - int(heads.min()), free_at.shape[1], _AT_ONCE)
        # From here on one column a setting: along the first axis numpy is several times faster.
        which = np.minimum(heads + _COUNTING[:count], total)
        arrival = self._arrivals[which]
        slot = np.ascontiguousarray(free_at[:, :count].T)
        start = np.maximum(arrival, slot)
        finish = start + self._services[which]
        able = start <= now
        more = np.zeros(len(rows), dtype=np.bool_)
        if count > 1:
            ends = np.minimum.accumulate(finish[:-1], axis=0)
            unknown = start[1:] > np.maximum(ends, arrival[1:])
            if unknown.any():
                unknown = np.logical_or.accumulate(unknown, axis=0)
                more = unknown[-1]
                able[1:] &= ~unknown
        started = able.sum(axis=0)
        late = (able & (finish > arrival + self._objective)).sum(axis=0)
        np.copyto(slot, finish, where=able)
        free_at[:, :count] = slot.T
        self._free_at[rows] = free_at
        self.late[rows] += late
        heads += started
        self._heads[rows] = heads
        more = ((started == count) | (more & (started > 0))) & (heads < total)
        return rows[more]

    def _scale(self, now: float, change: Ints) -> None:
        more = np.maximum(change, 0).astype(np.int32)
        if more.any():
            self._cohorts.append((now + self._family.start_delay, more))
            self._starting += more
        rows = np.flatnonzero(change < 0)
        if len(rows):
            self._send_away(now, rows, -change[rows])

    def _send_away(self, now: float, rows: Ints, surplus: Ints) -> None:
        """Call off what is starting, the latest first, then send idle slots away; never a busy one."""
        for _, counts in reversed(self._cohorts):
            called_off = np.minimum(counts[rows], surplus)
            counts[rows] -= called_off
            self._starting[rows] -= called_off
            surplus = surplus - called_off
        free_at = self._free_at[rows]
        free_at.sort(axis=1)
        gone = np.minimum(surplus, (free_at <= now).sum(axis=1))
        free_at[np.arange(free_at.shape[1]) < gone[:, None]] = _ABSENT
        self._free_at[rows] = free_at
        self._present[rows] -= gone
        self._make_room(int(self._present.max()))


_NEVER = np.full(1, np.inf)
_COUNTING = np.arange(_AT_ONCE)[:, None]
