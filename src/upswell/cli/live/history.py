"""Points over time, from the monitor's entries, and in columns as many as there is room for. Pure."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from upswell.analysis.decision import Decision
    from upswell.analysis.snapshot import Snapshot

MOST_POINTS = 20_000


class Point(Struct, frozen=True, gc=False):
    """One round: response times in seconds, and workers; None: not known."""

    at: float
    p50: float | None
    p95: float | None
    workers: int
    desired: int

    @classmethod
    def of(cls, snapshot: Snapshot, decision: Decision) -> Point:
        """Return the point of a round."""
        times = snapshot.response_time
        return cls(
            snapshot.at,
            times.p50 if times else None,
            times.p95 if times else None,
            snapshot.workers.running,
            decision.desired_workers,
        )


class PointHistory:
    """The newest points, oldest first; none twice."""

    def __init__(self) -> None:
        self._points: deque[Point] = deque(maxlen=MOST_POINTS)

    @property
    def newest_at(self) -> float:
        """When the newest point was, 0 without one."""
        return self._points[-1].at if self._points else 0.0

    def add(self, points: Iterable[Point]) -> None:
        """Take in points; those that are not newer than the newest are let pass."""
        for point in points:
            if point.at > self.newest_at:
                self._points.append(point)

    def clear(self) -> None:
        """Forget all."""
        self._points.clear()

    def columns(
        self, of: Callable[[Point], float | None], count: int, span: float, now: float, holds: float
    ) -> list[float | None]:
        """Return the largest value in each of `count` columns of the last `span` seconds.

        A column without a point has the value of the last one before, for at most `holds` seconds: then
        nobody looked, which is not known.
        """
        width = span / count
        begin = now - span
        found: list[float | None] = [None] * count
        last: list[tuple[float, float | None]] = [(-holds, None)] * count  # by column: its last point
        before = (begin - holds, None)
        for point in self._points:
            if point.at > now:
                break
            value = of(point)
            if point.at < begin:
                before = (point.at, value)
                continue
            column = min(count - 1, int((point.at - begin) / width))
            last[column] = (point.at, value)
            if value is not None:
                found[column] = max(value, found[column] or 0.0)
        seen: tuple[float, float | None] = before
        for column in range(count):
            if last[column][0] >= begin:
                seen = last[column]
            elif begin + column * width - seen[0] <= holds:
                found[column] = seen[1]
        return found
