"""The rule of `staffing.py` under one setting, in plain numbers: all that a decision needs.

In: what is in flight, what waits, how long uploads took lately. Out: the slots wanted. A decision is made
every round for every application, and numpy over a whole family takes ten times as long as one setting does
in floats. A test holds each function here to its counterpart there.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from msgspec import Struct

from upswell.policies.slo.staffing import BUCKETS, ROUNDING

if TYPE_CHECKING:
    from upswell.policies.slo.staffing import StaffingSetting


class ScalarRule(Struct, frozen=True, kw_only=True):
    """One setting for one objective and start-up delay, in seconds."""

    horizon: float
    delay: float
    """What the present slots have before new ones come; 0 without foresight."""
    beta: float | None

    @classmethod
    def of(cls, setting: StaffingSetting, objective: float, start_delay: float) -> ScalarRule:
        """Return the rule under a setting."""
        delay = start_delay if setting.foresight else 0.0
        return cls(horizon=setting.patience * objective + delay, delay=delay, beta=setting.beta)

    def need(
        self, in_flight: int, waiting: int, present: int, load: float, means: tuple[float, float]
    ) -> tuple[int, str]:
        """Return the slots wanted, as `staffing.Family.slots` does, and what decides.

        That is "backlog", "foresight", "each" or "stream". `means` are those within the horizon.
        """
        whole, remaining = means
        work = in_flight * remaining + waiting * whole
        done = min(present, work / self.horizon) * self.delay
        slots = math.ceil((work - done) / (self.horizon - self.delay) - ROUNDING)
        why = "backlog" if self.delay == 0 else "foresight"
        if in_flight + waiting < slots:
            slots, why = in_flight + waiting, "each"
        if load > 0 and self.beta is not None:
            floor = math.ceil(load + self.beta * math.sqrt(load) - ROUNDING)
            if floor > slots:
                return floor, "stream"
        return slots, why


def workers_with(slots: int, present: int, each: float, one_more: float) -> int:
    """Return the workers that have so many slots.

    `present` slots are there, on workers with `each` on average; those that come bring `one_more`.
    """
    if slots <= present:
        return math.ceil(slots / each - ROUNDING)
    return math.ceil(present / each + (slots - present) / one_more - ROUNDING)


class RecentMost:
    """The most that was wanted within some steps; see `staffing.RecentMaximum`."""

    def __init__(self, steps: float) -> None:
        self._steps = -1.0
        self._length = 1.0
        self._buckets = [0]
        self._current = 0
        self._step = 0
        self.resize(steps)

    def resize(self, steps: float) -> None:
        """Look back for so many steps from now on; what was wanted until now counts as wanted now."""
        if steps == self._steps:
            return
        self._steps = steps
        most = max(self._buckets)
        self._length = max(1.0, steps / BUCKETS)
        self._buckets = [0] * (min(math.ceil(steps), BUCKETS) + 1)
        self._current = int(self._step / self._length)
        self._buckets[self._current % len(self._buckets)] = most

    def update(self, wanted: int) -> int:
        """Take in what is wanted now, one step after the last, and return the recent maximum."""
        self._step += 1
        number = int(self._step / self._length)
        buckets = self._buckets
        bucket = number % len(buckets)
        if number != self._current or wanted > buckets[bucket]:
            buckets[bucket] = wanted
            self._current = number
        return max(buckets)
