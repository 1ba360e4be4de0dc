"""Whether this process stood still between two rounds, or the clock was set. Pure: instants are passed in.

What comes in: each round's instant. What goes out: whether silence until now says nothing.
"""

from __future__ import annotations

from upswell.events import get_logger

_log = get_logger()

STANDSTILL_SECONDS = 10.0
"""A longer gap between two rounds: this process stood still or the clock was set; silence says nothing."""


class RoundClock:
    """Remembers when the last round was."""

    def __init__(self) -> None:
        """Begin before the first round."""
        self._last: float | None = None

    def jumped(self, now: float) -> bool:
        """Take note of a round; return whether too much time, or less than none, has passed since then."""
        last, self._last = self._last, now
        if last is None or 0 <= now - last <= STANDSTILL_SECONDS:
            return False
        _log.warning("scaler.clock_jumped", seconds=now - last)
        return True
