"""Shadow fleets whose intervals are compiled (`kernel.py`): the numbers of `Shadows`, many times as fast.

In and out: as for `Shadows`. It keeps the arrays that the kernel works on, and makes room in them. It must
not be imported where the extra `fast` is not installed: `shadow_fleets` chooses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from upswell.policies.slo.staffing import FAMILY, ROUNDING, Family
from upswell.simulator.kernel import (
    COST,
    HEAD,
    LATE,
    PRESENT,
    STANDING,
    STARTS,
    pass_interval,
)
from upswell.simulator.shadows import ABSENT, COLUMNS, Shadows

if TYPE_CHECKING:
    from upswell.policies.slo.staffing import Flags, Floats, Ints, Means

_FIRST_ROOM = 16
"""Uploads, and entries of slots on their way, that there is room for at first."""


class CompiledShadows(Shadows):
    """Fleets under each setting of a family. Arguments: see `Shadows`."""

    def __init__(self, family: Family, *, slots: float = 1, workers: int = 1, **others: Any) -> None:
        super().__init__(family, slots=slots, workers=workers, **others)
        present, standing = self._present, self._standing
        del self._present, self._starting, self._standing, self._heads  # the fleets have them
        rows = len(family.settings)
        self._fleets: Ints = np.zeros((rows, 4), dtype=np.int32)
        self._fleets[:, PRESENT] = present
        self._fleets[:, STANDING] = standing
        self._ready: Floats = np.zeros(4)
        self._coming = np.zeros((rows, 4), dtype=np.int32)
        self._resting = np.zeros((rows if self._standby else 0, 4), dtype=np.int32)
        self._ring = np.zeros(2, dtype=np.int64)
        self._begun = self._end = 0
        """Of the uploads in `_arrivals`: the first that some fleet has not begun, and the end."""
        self._arrivals = np.empty(_FIRST_ROOM)
        self._services = np.empty(_FIRST_ROOM)
        self._sums: Floats = np.zeros((rows, 3))
        self.cost, self.late, self.starts = self._sums[:, COST], self._sums[:, LATE], self._sums[:, STARTS]
        self._make_room(int((present + standing).max()))

    @classmethod
    def prepare(cls) -> None:
        """Compile: seconds of one core, where no other process has kept the result."""
        family = Family(FAMILY[:1], 60.0, 30.0)
        cls(family, objective=60.0, interval=2.0).advance(
            2.0, np.ones(1), np.ones(1), 1.0, (np.ones(1), np.ones(1))
        )

    def advance(self, now: float, arrivals: Floats, services: Floats, load: float, means: Means) -> None:
        """Let one interval pass that ends `now`; see `Shadows.advance`."""
        self._elapsed += self._interval
        forget = 1.0
        if len(arrivals):
            forget = self._remembered(len(arrivals))
            self._arrive(arrivals, services)
        elif self._sleeps(now, load):
            self._asleep += 1
            self.cost += (self._least + self._family.standby) * self._interval
            return
        self._wake()
        family, recent = self._family, self._recent
        recent.step += 1
        if self._ring[1] == len(self._ready):
            self._make_room_on_the_way()
        self._begun, largest = pass_interval(
            now,
            self._interval,
            self._each,
            self._one_more,
            self._least,
            self._most,
            self._objective,
            family.start_delay,
            float(load),
            forget,
            self._end,
            family.horizons,
            family.delay,
            family.beta,
            family.unfloored,
            family.standby,
            means[0],
            means[1],
            self._fleets,
            self._free_at,
            self._ready,
            self._coming,
            self._resting,
            self._ring,
            self._arrivals,
            self._services,
            recent.buckets,
            recent.of_distinct,
            recent.length,
            recent.used,
            recent.current,
            recent.step,
            self._sums,
        )
        self._make_room(largest)

    def forget_waiting(self) -> None:
        """Drop the uploads that wait: rounds are missing before the next one."""
        self._fleets[:, HEAD] = self._begun = self._end

    def _sleeps(self, now: float, load: float) -> bool:
        some = bool(self._ring[1])
        if load > 0 or some or self._asleep:
            return load == 0 and not some
        present: Ints = self._fleets[:, PRESENT]
        columns: Ints = np.arange(self._free_at.shape[1], dtype=np.int64)
        there: Flags = columns < present[:, None]
        busy: Flags = (self._free_at > now - self._interval) & there
        more: Flags = present > self._least * self._each + ROUNDING
        return not (busy.any() or self._begun < self._end or more.any())

    def _arrive(self, arrivals: Floats, services: Floats) -> None:
        """Put the uploads behind those that wait, moving these to the front where there is no room."""
        count = len(arrivals)
        if self._end + count > len(self._arrivals):
            waiting = slice(self._begun, self._end)
            left = self._end - self._begun
            room = max(_FIRST_ROOM, 2 * (left + count))
            self._arrivals, self._services = (
                np.concatenate((values[waiting], np.empty(room - left)))
                for values in (self._arrivals, self._services)
            )
            self._fleets[:, HEAD] -= self._begun
            self._begun, self._end = 0, left
        self._arrivals[self._end : self._end + count] = arrivals
        self._services[self._end : self._end + count] = services
        self._end += count

    def _make_room_on_the_way(self) -> None:
        """Double the ring of slots on their way."""
        room = len(self._ready)
        order = (np.arange(room) + self._ring[0]) % room
        self._ready = np.concatenate((self._ready[order], np.zeros(room)))
        self._coming, self._resting = (
            np.hstack((counts[:, order], np.zeros_like(counts))) for counts in (self._coming, self._resting)
        )
        self._ring[0] = 0

    def _make_room(self, most: int) -> None:
        """Keep as many columns as the largest fleet has slots or awaits, rounded up."""
        columns = self._free_at.shape[1]
        wanted = COLUMNS * max(1, -(-most // COLUMNS))
        if wanted > columns:
            more = ((0, 0), (0, wanted - columns))
            grown: Floats = np.pad(self._free_at, more, constant_values=ABSENT)
            self._free_at = grown
        elif wanted < 0.75 * columns:
            self._free_at = self._free_at[:, :wanted].copy()
