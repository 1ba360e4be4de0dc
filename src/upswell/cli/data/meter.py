"""How fast things go, and how long they will take, from what was done lately. Pure: time is passed in."""

from __future__ import annotations

from collections import deque

SPAN_SECONDS = 15.0
"""What lies further back tells nothing of the speed now."""


class Meter:
    """Speeds of counts that only grow, such as files and bytes."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, tuple[float, ...]]] = deque()

    def mark(self, now: float, *counts: float) -> None:
        """Note the counts at an instant (s)."""
        self._marks.append((now, counts))
        while now - self._marks[0][0] > SPAN_SECONDS and len(self._marks) > 2:  # noqa: PLR2004 - a span has two ends
            self._marks.popleft()

    def speed(self, which: int) -> float | None:
        """Return one count's growth per second over the last seconds; None before there are two marks.

        >>> meter = Meter()
        >>> meter.mark(0.0, 10), meter.mark(2.0, 30), meter.speed(0)
        (None, None, 10.0)
        """
        if not self._marks:
            return None
        (begin, first), (end, last) = self._marks[0], self._marks[-1]
        return (last[which] - first[which]) / (end - begin) if end > begin else None

    def seconds_left(self, which: int, left: float) -> float | None:
        """Return in how many seconds a count will have grown by `left`; None where it stands still."""
        speed = self.speed(which)
        return left / speed if speed else None
