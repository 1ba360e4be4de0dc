"""Shadow fleets whose intervals are compiled (`kernel.py`): the numbers of `Shadows`, many times as fast.

In and out: as for `Shadows`. It keeps the arrays that the kernel works on, and makes room in them. It must
not be imported where the extra `fast` is not installed: `shadow_fleets` chooses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from upswell.policies.slo.staffing import FAMILY, ROUNDING, Family
from upswell.simulator import kernel
from upswell.simulator.kernel import HEAD, IS_HEAP, LANES, PRESENT, STANDING, pass_interval
from upswell.simulator.shadows import ABSENT, COLUMNS, LONG_AGO, Shadows

if TYPE_CHECKING:
    from upswell.policies.slo.staffing import Flags, Floats, Ints, Means, Times

_FIRST_ROOM = 16
"""Uploads that there is room for at first."""


class CompiledShadows(Shadows):
    """Fleets under each setting of a family. Arguments: see `Shadows`."""

    def __init__(self, family: Family, *, slots: float = 1, workers: int = 1, **others: Any) -> None:
        super().__init__(family, slots=slots, workers=workers, **others)
        present, standing = self._present, self._standing
        del self._present, self._starting, self._standing  # the fleets have them
        rows, sides = len(present), -(-len(present) // LANES)
        self._fleets: Ints = np.zeros((5, sides * LANES), dtype=np.int32)
        """The last few may be none: they have no slots."""
        self._fleets[PRESENT, :rows] = present
        self._fleets[STANDING, :rows] = standing
        self._heads: Ints = self._fleets[HEAD, :rows]
        free_at = np.full((sides * LANES, present[0]), LONG_AGO)
        free_at[rows:] = ABSENT
        self._free_at: Floats = free_at.reshape(sides, LANES, -1).transpose(0, 2, 1).reshape(sides, -1)
        self._make_room(int((present + standing).max()))
        self._ready: Floats = np.zeros(4)
        """A ring, its length a power of two."""
        self._begin = self._entries = 0
        """Of the slots on their way: where they begin in it, and how many times they are asked for."""
        self._coming: Ints = np.zeros((1 + self._standby, 4, rows), dtype=np.int32)
        """How many at which time, for work, and for standby where any setting has some."""
        self._make_room_for_uploads(_FIRST_ROOM)
        self._arrivals[0] = np.inf
        self._begun = self._end = 0
        """Of the uploads: the first that some fleet has not begun, and the end."""
        self._world = self._told()

    best = staticmethod(kernel.best)

    @classmethod
    def prepare(cls) -> None:
        """Compile: seconds of one core, where no other process has kept the result."""
        stage = cls(Family(FAMILY[:1], 60.0, 30.0), objective=60.0, interval=2.0)
        one = np.ones(1)
        stage.advance(2.0, one, one, 1.0, np.ones((2, 1)))
        cls.best(stage.sums, one, one, 0, 1.0, 6.0, 0.05, 6.0, 0.0, 1.0, 2.0, 0.02)

    def advance(self, now: float, arrivals: Times, services: Times, load: float, means: Means) -> None:
        """Let one interval pass that ends `now`; see `Shadows.advance`."""
        self._elapsed += self._interval
        share, ended = 1.0, False
        if len(arrivals):
            share, ended = self._remembered(len(arrivals))
            self._arrive(arrivals, services)
        elif self._sleeps(now, load):
            self._asleep += 1
            self.cost += (self._least + self._family.standby) * self._interval
            return
        self._wake()
        recent = self._recent
        recent.step += 1
        if self._entries == len(self._ready):
            self._make_room_on_the_way()
        self._begun, largest, self._begin, self._entries = pass_interval(
            now,
            float(load),
            share,
            ended,
            self._end,
            recent.step,
            self._world,
            self._family.rule,
            means,
            self._fleets,
            self._free_at,
            self._ready,
            self._begin,
            self._entries,
            self._coming,
            self._uploads,
            recent.buckets,
            recent.of_distinct,
            recent.length,
            recent.used,
            recent.current,
            self.sums,
        )
        self._make_room(largest)

    def set_slots(self, each: float, one_more: float) -> None:
        """Take what a worker has from now on; see `Shadows.set_slots`."""
        if each != self._each or one_more != self._one_more:
            super().set_slots(each, one_more)
            self._world = self._told()

    def set_start_delay(self, start_delay: float, interval: float, start_cost: float | None = None) -> None:
        """Take the start-up delay as measured from now on; see `Shadows.set_start_delay`."""
        super().set_start_delay(start_delay, interval, start_cost)
        self._world = self._told()

    def forget_waiting(self) -> None:
        """Drop the uploads that wait: rounds are missing before the next one."""
        self._heads[:] = self._begun = self._end

    def _told(self) -> Floats:
        """Return what the kernel is told of the world."""
        slots, workers = (self._each, self._one_more), (self._least, self._most)
        return np.array([self._interval, *slots, *workers, self._objective, self._family.start_delay])

    def _sleeps(self, now: float, load: float) -> bool:
        some = self._entries > 0
        if load > 0 or some or self._asleep:
            return load == 0 and not some
        busy: Flags = (self._free_at > now - self._interval) & (self._free_at < ABSENT)
        more: Flags = self._fleets[PRESENT] > self._least * self._each + ROUNDING
        return not (busy.any() or self._begun < self._end or more.any())

    def _arrive(self, arrivals: Times, services: Times) -> None:
        """Put the uploads behind those that wait, moving these to the front where there is no room."""
        count = len(arrivals)
        if self._end + count >= len(self._arrivals):
            waiting = self._uploads[:, self._begun : self._end]
            left = self._end - self._begun
            self._make_room_for_uploads(max(_FIRST_ROOM, 2 * (left + count)))
            self._uploads[:, :left] = waiting
            self._heads -= self._begun
            self._begun, self._end = 0, left
        begin, self._end = self._end, self._end + count
        self._arrivals[begin : self._end] = arrivals
        self._services[begin : self._end] = services
        self._arrivals[self._end] = np.inf  # behind the last stands one that never comes

    def _make_room_for_uploads(self, room: int) -> None:
        self._uploads: Floats = np.zeros((2, room))
        self._arrivals, self._services = self._uploads

    def _make_room_on_the_way(self) -> None:
        """Double the ring of slots on their way."""
        room = len(self._ready)
        order = (np.arange(room) + self._begin) % room
        self._ready = np.concatenate((self._ready[order], np.zeros(room)))
        self._coming = np.hstack((self._coming[:, order], np.zeros_like(self._coming)))
        self._begin = 0

    def _make_room(self, most: int) -> None:
        """Keep as many columns as the largest fleet has slots or awaits, rounded up."""
        sides, places = self._free_at.shape
        wanted = LANES * COLUMNS * max(1, -(-most // COLUMNS))
        if 0.75 * places <= wanted <= places:
            return
        free_at: Floats = np.full((sides, wanted), ABSENT)
        kept = min(places, wanted)
        are_heaps = self._fleets[IS_HEAP, ::LANES]
        for before, after, is_heap in zip(self._free_at, free_at, are_heaps, strict=True):
            if is_heap:
                after.reshape(LANES, -1)[:, : kept // LANES] = before.reshape(LANES, -1)[:, : kept // LANES]
            else:
                after[:kept] = before[:kept]
        self._free_at = free_at
