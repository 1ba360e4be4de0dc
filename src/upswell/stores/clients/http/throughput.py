"""Whether bytes come fast enough to be waited for. Pure: what was waited is passed in."""

from __future__ import annotations

WINDOW_SECONDS = 30.0


class Throughput:
    """A sender's bytes over the time that was spent waiting for it, one window after the other.

    Only waiting counts: a source is not slow because the store, or a rate limit, takes its bytes slowly.
    """

    def __init__(self, bytes_per_second: float, window: float = WINDOW_SECONDS) -> None:
        """Ask for at least so many bytes per second (0: any) over each `window` seconds of waiting."""
        self._least = bytes_per_second
        self._window = window
        self._waited = 0.0
        self._bytes = 0

    def too_slow(self, waited: float, count: int) -> float | None:
        """Take in that `count` bytes came after `waited` seconds; return the rate where it is too low."""
        self._waited += waited
        self._bytes += count
        if self._waited < self._window:
            return None
        rate = self._bytes / self._waited
        self._waited, self._bytes = 0.0, 0
        return rate if rate < self._least else None
