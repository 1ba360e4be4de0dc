"""When a crashed worker may be replaced: at once, unless new ones keep crashing. Pure.

What comes in: crashes and healthy workers, with their instants. What goes out: whether a worker may be
started now. It must not know why they crash.
"""

from __future__ import annotations

HEALTHY_SECONDS = 30.0
"""A worker that has lived this long has shown that its application can run."""

FIRST_DELAY = 1.0
LONGEST_DELAY = 300.0


class CrashBackoff:
    """Counts one application's crash loop: rounds in which workers crashed young."""

    def __init__(self) -> None:
        """Begin without a crash."""
        self.crashes = 0
        self._last_crash_at = 0.0
        self._until = 0.0

    def crashed(self, now: float) -> float:
        """Take note of a round in which young workers crashed; return the seconds until the next start.

        The first is replaced at once; then the delay doubles from 1 s to 5 minutes.
        """
        self.crashes += 1
        delay = (
            0.0 if self.crashes == 1 else min(FIRST_DELAY * 2.0 ** min(self.crashes - 2, 30), LONGEST_DELAY)
        )
        self._last_crash_at, self._until = now, now + delay
        return delay

    def lives(self, requested_at: float, now: float) -> bool:
        """Take note of a worker that runs; return whether it ends a crash loop: begun since, and grown up."""
        healthy = requested_at >= self._last_crash_at and now - requested_at > HEALTHY_SECONDS
        over = healthy and self.crashes > 0
        if over:
            self.crashes = 0
        return over

    def may_start(self, now: float) -> bool:
        """Return whether a worker may be started now; no clock that is set back makes the wait longer."""
        return not now < self._until <= now + LONGEST_DELAY
