"""Which reports were seen before: a report that travels twice counts once.

A report travels twice as the same bytes, and no two reports are the same: application, worker and the instant
when the attempt ended stand in them. An id of its request would not do: bare requests of one body share one,
and who knows an id could send a report of it first, so that the true one would be let go. Those of the last
`seconds` at least are remembered, and of the newest `limit` reports at most.
"""

from __future__ import annotations


class Duplicates:
    """Two generations of what was seen; the older is forgotten as a whole, at no cost for each report."""

    def __init__(self, seconds: float, limit: int) -> None:
        self._seconds = seconds
        self._half = max(1, limit // 2)
        self._young: set[int] = set()
        self._old: set[int] = set()
        self._since = 0.0

    def seen(self, body: bytes, at: float) -> bool:
        """Return whether this very report was seen before, and remember it."""
        key = hash(body)
        if key in self._young or key in self._old:
            return True
        if len(self._young) >= self._half or at - self._since > self._seconds:
            self._old, self._young, self._since = self._young, set(), at
        self._young.add(key)
        return False
