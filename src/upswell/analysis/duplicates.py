"""Which reports were seen already: a report that travels twice counts once.

Remembers those of the last `seconds` at least, and of the newest `limit` reports at most: a busier stream
forgets sooner.
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

    def seen(self, request_id: str, attempt: int, at: float, *, failed_at: float = 0.0) -> bool:
        """Return whether this attempt's report was seen before, and remember it.

        `failed_at` is when it failed, if it did: while the store is down the same attempt fails again and
        again, uncounted, and may succeed in the end.
        """
        key = hash((request_id, attempt, failed_at))
        if key in self._young or key in self._old:
            return True
        if len(self._young) >= self._half or at - self._since > self._seconds:
            self._old, self._young, self._since = self._young, set(), at
        self._young.add(key)
        return False
