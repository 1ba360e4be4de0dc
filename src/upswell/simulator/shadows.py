"""Many fleets at once, each under its own setting, all fed with the same uploads: the rehearsal's stage.

In: uploads in order of arrival, an interval at a time, and the signals that the real policy had then. Out:
for each setting what it cost and how many uploads were late, recent ones counting more. Exact: first in first
out, not preempted, each upload on the slot that is free first. Arrays hold one row a setting, one column a
slot; an interval's uploads are started together wherever none of them ends before another begins.

Workers may differ in their slots. A shadow knows slots, not whose they are: those that are there are priced
as the real fleet's are on average, those that were asked for as what a new worker brings. So one more worker
brings what it would bring now, and a fleet costs what the mix of the moment costs.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from upswell.policies.slo.staffing import ROUNDING, RecentMaximum, target
from upswell.simulator.choice import COST, LATE, LATE_BEFORE, SPREAD, STARTS, best

if TYPE_CHECKING:
    from upswell.policies.slo.staffing import Family, Floats, Ints, Means, Times

COLUMNS = 4
_AT_ONCE = 64
ABSENT = np.inf
LONG_AGO = -1e18


class Shadows:
    """Fleets under each setting of a family.

    Args:
        family: the settings.
        objective: seconds after which an upload is late.
        interval: seconds between two decisions.
        slots: of a worker on average, until told otherwise (`set_slots`).
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
        slots: float = 1,
        workers: int = 1,
        min_workers: int = 0,
        max_workers: int = 500,
        memory: float = 10_000,
        episode: float = 60.0,
        episodes: float = 100.0,
    ) -> None:
        rows = len(family.settings)
        self._family, self._objective, self._interval = family, objective, interval
        self._memory = memory
        self._each = self._one_more = float(slots)
        """Slots of a worker that is there, on average, and of a new one."""
        present = round(workers * slots)
        self._least, self._most = min_workers, max_workers
        columns = max(COLUMNS, present)
        self._free_at: Floats = np.full((rows, columns), ABSENT)
        """When each slot that is there is free, in no order."""
        self._free_at[:, :present] = LONG_AGO
        self._present = np.full(rows, present, dtype=np.int32)
        self._starting = np.zeros(rows, dtype=np.int32)
        self._standby = bool(family.standby.any())
        self._standing: Ints = np.rint(family.standby * slots).astype(np.int32)
        self._cohorts: list[tuple[float, Ints, Ints]] = []
        """Slots that were asked for: when they will be ready, how many of each row, and for its standby."""
        self._asleep = 0
        self._recent = RecentMaximum(family.keep_seconds / interval, max_workers)
        self._arrivals: Floats = np.full(1, np.inf)
        self._services: Floats = np.zeros(1)
        self._heads = np.zeros(rows, dtype=np.int32)
        self.sums: Floats = np.zeros((5, rows))
        """What was counted, decayed: see `choice.py`."""
        self.cost, self.late, self.starts = self.sums[COST], self.sums[LATE], self.sums[STARTS]
        self.count = 0.0
        """Uploads, decayed."""
        self.seen = 0.0
        """Episodes with uploads, decayed."""
        self._episode_elapsed = 0.0
        self._episode, self._episodes = episode, episodes
        self._elapsed = 0.0

    best = staticmethod(best)
    """The choice among the settings, as fast as it is here."""

    @classmethod
    def prepare(cls) -> None:
        """Do what is to be done once in a process before the first is made."""

    def advance(self, now: float, arrivals: Times, services: Times, load: float, means: Means) -> None:
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
            share, ended = self._remembered(len(arrivals))
            if ended:
                self.sums[SPREAD] += (self.late - self.sums[LATE_BEFORE]) ** 2
                self.sums[LATE_BEFORE] = self.late
            self.sums *= share
            self._arrive(arrivals, services)
        elif self._sleeps(now, load):
            self._asleep += 1
            self.cost += (self._least + self._family.standby) * self._interval
            return
        self._wake()
        if self._cohorts:
            self._join(now)
        self._serve(now)
        present = self._present
        busy = present - (self._free_at <= now).sum(axis=1)
        waiting = len(self._arrivals) - 1 - self._heads
        slots = self._family.slots(busy, waiting, present, load, means)
        if self._each == self._one_more == 1:
            have = present + self._starting
            paid = have + self._family.standby if self._standby else have
            self.cost += paid * self._interval
            wanted = np.minimum(np.maximum(slots, self._least), self._most)
            change = target(have, wanted, self._recent.update(wanted), busy) - have
        else:
            change = self._decide(slots, busy)
        if change.any():
            self._scale(now, change)

    def _decide(self, slots: Ints, busy: Ints) -> Ints:
        """Bill workers of several slots; return the slots to have more, or fewer, where these are wanted.

        See `scalar_staffing.workers_with`.
        """
        present, starting, each, one_more = self._present, self._starting, self._each, self._one_more
        there = present / each
        workers = there + starting / one_more
        self.cost += (workers + self._family.standby) * self._interval
        needed = np.where(slots <= present, slots / each, there + (slots - present) / one_more)
        wanted = np.minimum(np.maximum(np.ceil(needed - ROUNDING).astype(np.int64), self._least), self._most)
        filled = np.ceil(busy / each - ROUNDING).astype(np.int64)
        whole = np.floor(workers + ROUNDING).astype(np.int64)
        goal = target(whole, wanted, self._recent.update(wanted), filled)
        goal_slots = np.where(goal <= there, goal * each, present + (goal - there) * one_more)
        return np.floor(goal_slots + 0.5).astype(np.int64) - present - starting

    def set_slots(self, each: float, one_more: float) -> None:
        """Take what a worker has from now on: one that is there, on average, and a new one."""
        self._each, self._one_more = each, one_more

    def set_start_delay(self, start_delay: float, interval: float, start_cost: float | None = None) -> None:
        """Take the start-up delay as measured from now on, and another interval between two decisions."""
        self._interval = interval
        self._family.set_start_delay(start_delay, start_cost)
        self._recent.resize(self._family.keep_seconds / self._interval)

    def forget_waiting(self) -> None:
        """Drop the uploads that wait: rounds are missing before the next one."""
        self._heads[:] = len(self._arrivals) - 1

    def _sleeps(self, now: float, load: float) -> bool:
        """Return whether nothing is under way anywhere and every fleet is at its smallest."""
        if load > 0 or self._cohorts or self._asleep:
            return load == 0 and not self._cohorts
        busy = (self._free_at > now - self._interval) & (self._free_at < ABSENT)
        waiting = self._heads < len(self._arrivals) - 1
        more = self._present > self._least * self._each + ROUNDING
        return not (busy.any() or waiting.any() or more.any())

    def _wake(self) -> None:
        """Make up for the intervals in which nothing was wanted."""
        if self._asleep:
            smallest = np.full(len(self.cost), self._least)
            for _ in range(min(self._asleep, self._recent.longest)):
                self._recent.update(smallest)
            self._asleep = 0

    def _arrive(self, arrivals: Times, services: Times) -> None:
        # Behind the last upload stands one that never comes.
        taken = int(self._heads.min())
        self._arrivals = np.concatenate((self._arrivals[taken:-1], arrivals, _NEVER))
        self._services = np.concatenate((self._services[taken:-1], services, _NEVER))
        self._heads -= taken

    def _remembered(self, uploads: int) -> tuple[float, bool]:
        """Count uploads that come.

        Returns:
            the share of all that was counted before that is remembered, and whether an episode ended with it.
        """
        elapsed, self._elapsed = self._elapsed, 0.0
        self._episode_elapsed += elapsed
        ended = self._episode_elapsed >= self._episode
        if ended:
            self._episode_elapsed = 0.0
        episodes = elapsed / self._episode
        share = math.exp(-min(uploads / self._memory, episodes / self._episodes))
        self.count = self.count * share + uploads
        # A long silence is one episode's evidence, no more.
        self.seen = self.seen * share + min(1.0, episodes)
        return share, ended

    def _join(self, now: float) -> None:
        """Let the slots in that are ready by `now`."""
        waiting: list[tuple[float, Ints, Ints]] = []
        for ready_at, coming, resting in self._cohorts:
            if ready_at > now:
                waiting.append((ready_at, coming, resting))
                continue
            if self._standby:
                self._standing += resting
            rows = np.flatnonzero(coming)
            if len(rows):
                self._starting[rows] -= coming[rows]
                self._enter(ready_at, rows, coming[rows])
        self._cohorts = waiting

    def _enter(self, ready_at: float, rows: Ints, joining: Ints) -> None:
        """Let so many slots in."""
        most = max(int(self._present.max()), int((self._present[rows] + joining).max()))
        self._make_room(most)
        free_at = np.sort(self._free_at[rows], axis=1)
        columns: Ints = np.arange(free_at.shape[1], dtype=np.int64)
        present: Ints = self._present[rows][:, None]
        mask = (columns >= present) & (columns < present + joining[:, None])
        free_at[mask] = ready_at
        self._free_at[rows] = free_at
        self._present[rows] += joining

    def _make_room(self, most: int) -> None:
        """Keep as many columns as the largest fleet has slots, rounded up; some more after it has shrunk."""
        columns = self._free_at.shape[1]
        wanted = COLUMNS * max(1, math.ceil(most / COLUMNS))
        if wanted > columns:
            more = ((0, 0), (0, wanted - columns))
            self._free_at = np.pad(self._free_at, more, constant_values=ABSENT)
        elif wanted < 0.75 * columns:
            self._free_at = np.sort(self._free_at, axis=1)[:, :wanted].copy()

    def _serve(self, now: float) -> None:
        """Start what can start by `now`."""
        total = len(self._arrivals) - 1
        rows = np.flatnonzero(self._heads < total)
        late = np.zeros(len(self._heads), dtype=np.int64)
        while len(rows):
            rows = self._start(rows, total, now, late)
        self.late += late

    def _start(self, rows: Ints, total: int, now: float, late: Ints) -> Ints:
        """Start in each row the uploads whose starts are known at once; return the rows where more may start.

        Those that will be late are counted.

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
        late[rows] += (able & (finish > arrival + self._objective)).sum(axis=0)
        np.copyto(slot, finish, where=able)
        free_at[:, :count] = slot.T
        self._free_at[rows] = free_at
        heads += started
        self._heads[rows] = heads
        more = ((started == count) | (more & (started > 0))) & (heads < total)
        return rows[more]

    def _scale(self, now: float, change: Ints) -> None:
        more = np.maximum(change, 0).astype(np.int32)
        if more.any():
            self.starts += more / self._one_more
            resting = self._call(now, more) if self._standby else more
            self._cohorts.append((now + self._family.start_delay, more, resting))
            self._starting += more
        rows = np.flatnonzero(change < 0)
        if len(rows):
            self._send_away(now, rows, -change[rows])

    def _call(self, now: float, more: Ints) -> Ints:
        """Call from standby what there is of what is wanted, the nearest first; return what replaces it.

        Who stands by works at once, who is on the way to stand by works when ready. `more` is what is left.
        """
        called = np.minimum(more, self._standing)
        self._standing -= called
        more -= called
        rows = np.flatnonzero(called)
        if len(rows):
            self._enter(now, rows, called[rows])
        for _, coming, resting in self._cohorts:
            taken = np.minimum(more, resting)
            np.subtract(resting, taken, out=resting)
            np.add(coming, taken, out=coming)
            self._starting += taken
            more -= taken
            called += taken
        return called

    def _send_away(self, now: float, rows: Ints, surplus: Ints) -> None:
        """Call off what is starting, the latest first, then send idle slots away; never a busy one."""
        for _, counts, _ in reversed(self._cohorts):
            called_off = np.minimum(counts[rows], surplus)
            counts[rows] -= called_off
            self._starting[rows] -= called_off
            surplus = surplus - called_off
        free_at = self._free_at[rows]
        free_at.sort(axis=1)
        gone = np.minimum(surplus, (free_at <= now).sum(axis=1))
        free_at[np.arange(free_at.shape[1]) < gone[:, None]] = ABSENT
        self._free_at[rows] = free_at
        self._present[rows] -= gone
        self._make_room(int(self._present.max()))


_NEVER = np.full(1, np.inf)
_COUNTING = np.arange(_AT_ONCE)[:, None]
