"""The number of a monitor's term, its epoch: scalers follow the greatest, so a later leader's counts.

What comes in: scale requests, one's own and those of others. What goes out: the epoch to decide under. It
must not know who leads.

The rule: a new leader takes the time, in milliseconds since 1970, or the greatest epoch that it heard plus
one if that is more. A leader that hears an epoch like its own or greater from elsewhere, which is an earlier
leader's whose clock was ahead, or forged, takes that plus one at once. An epoch that is more than
`MOST_AHEAD_SECONDS` ahead of the clock is absurd, and never taken up; scalers, too, let any other outrank it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from upswell.messages import ScaleRequest

MOST_AHEAD_SECONDS = 10.0
"""Between two machines' clocks; more than that is no epoch but a fault, or forged."""

_REMEMBERED = 10


class Epochs:
    """The epoch of one monitor among the others."""

    def __init__(self) -> None:
        self.own = 0
        """The epoch that this monitor decides under; 0: it never led."""
        self._greatest = 0
        self._sent: deque[float] = deque(maxlen=_REMEMBERED)

    def begin(self, now: float) -> int:
        """Return the epoch of a term that begins now."""
        self.own = max(int(now * 1000), self._greatest + 1, self.own + 1)
        return self.own

    def sent(self, decided_at: float) -> None:
        """Take note of an instant under which this monitor sends requests: they come back to it."""
        if not self._sent or self._sent[-1] != decided_at:
            self._sent.append(decided_at)

    def heard(self, request: ScaleRequest, now: float) -> bool:
        """Take note of a request; return whether it is another monitor's and counts against this one's."""
        if request.epoch / 1000 > now + MOST_AHEAD_SECONDS:
            return False
        self._greatest = max(self._greatest, request.epoch)
        if request.epoch == self.own:
            return request.decided_at not in self._sent
        return request.epoch > self.own
