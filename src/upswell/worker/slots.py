"""How many uploads a worker should run at once, found by trying: `slots = "auto"`. Pure.

What comes in: the time, what was moved since the start, and how many uploads are in hand. What goes out: a
number of slots. It does not know what is moved, nor how slots are made.

Hill climbing, one step at a time. More slots are kept when they bring at least a quarter of what they would
bring if nothing were shared; else the worker goes back, and waits longer each time before it tries again. Now
and then fewer are tried: they are kept when nothing is lost by it. A worker that is not busy to its last slot
tells nothing, so nothing is learnt from it.
"""

from __future__ import annotations

from typing import Literal

PERIOD_SECONDS = 5.0
"""How long one number of slots is measured for."""

SETTLE_SECONDS = 2.0
"""What comes first after a change is not measured: new uploads connect, old ones end."""

FIRST_HOLD_SECONDS = 30.0
LONGEST_HOLD_SECONDS = 600.0

GROWTH = 1.5
SHRINK = 0.75
WORTH = 0.25
"""The share of a proportional gain that more slots must bring; with none of it they only cost."""

LOSS = 0.05
"""Fewer slots may move so much less: it is within what two measures of one number differ by."""

CHANGED = 0.5
"""Below this share of what was measured before, conditions have changed, and all is measured again."""

_Phase = Literal["measure", "more", "hold", "fewer"]


class SlotFinder:
    """Finds the number of slots, from `first` on and up to `most`."""

    def __init__(self, first: int, most: int) -> None:
        self.slots = min(first, most)
        self._most = most
        self._phase: _Phase = "measure"
        self._kept, self._rate = self.slots, 0.0  # where the hill was highest, and how high
        self._hold_seconds = FIRST_HOLD_SECONDS
        self._hold_until = 0.0
        self._try_fewer = False
        self._began: float | None = None
        self._moved_before = 0.0

    def observe(self, now: float, moved: float, busy: int) -> int:
        """Take in how much was moved since the start, by a monotonic clock; return the slots from now on."""
        if self._began is None or busy < self.slots:
            self._restart(now, moved)
        elif now < self._began:
            self._moved_before = moved  # settling
        elif now - self._began >= PERIOD_SECONDS:
            rate = (moved - self._moved_before) / (now - self._began)
            before = self.slots
            self._judge(now, rate)
            self._restart(now, moved, settle=SETTLE_SECONDS if self.slots != before else 0.0)
        return self.slots

    def _restart(self, now: float, moved: float, settle: float = 0.0) -> None:
        self._began = now + settle
        self._moved_before = moved

    def _judge(self, now: float, rate: float) -> None:
        if rate <= 0:  # an outage, most likely: of nothing there is no more and no less
            if self._phase in {"more", "fewer"}:
                self._go_back(now)
        elif self._phase == "measure":
            self._keep(rate)
            self._try_more(now)
        elif self._phase == "more":
            wanted = WORTH * (self.slots / self._kept - 1)
            if rate >= self._rate * (1 + wanted):
                self._keep(rate)
                self._hold_seconds = FIRST_HOLD_SECONDS
                self._try_more(now)
            else:
                self._go_back(now)
        elif self._phase == "fewer":
            if rate >= self._rate * (1 - LOSS):
                self._keep(max(rate, self._rate))  # else a little would be lost each time, and no end to it
                self._hold(now)
                self._try_fewer = True
            else:
                self._go_back(now)
        else:
            self._while_holding(now, rate)

    def _while_holding(self, now: float, rate: float) -> None:
        if rate < self._rate * CHANGED:
            self._hold_seconds = FIRST_HOLD_SECONDS
            self._rate = rate
            self._try_fewer = True
            self._probe(now)
        elif now >= self._hold_until:
            self._rate = rate
            self._probe(now)
        elif rate > self._rate:
            self._rate = rate

    def _probe(self, now: float) -> None:
        fewer = max(1, min(self.slots - 1, round(self.slots * SHRINK)))
        if self._try_fewer and fewer < self.slots:
            self._try_fewer = False
            self._phase, self.slots = "fewer", fewer
        else:
            self._try_fewer = True
            self._try_more(now)

    def _try_more(self, now: float) -> None:
        more = min(self._most, max(self.slots + 1, round(self.slots * GROWTH)))
        if more > self.slots:
            self._phase, self.slots = "more", more
        else:
            self._hold(now)

    def _keep(self, rate: float) -> None:
        self._kept, self._rate = self.slots, rate

    def _go_back(self, now: float) -> None:
        self.slots = self._kept
        self._hold(now)
        self._hold_seconds = min(LONGEST_HOLD_SECONDS, 2 * self._hold_seconds)

    def _hold(self, now: float) -> None:
        self._phase = "hold"
        self._hold_until = now + self._hold_seconds
