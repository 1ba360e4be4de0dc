"""Where two histories of decisions differ: the stretches of time, by how much, and why each side did so.

In: what was recorded, and a simulated run of the same uploads. Out: the stretches that weigh most.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from msgspec import Struct

from upswell.journal import JournalEntry

if TYPE_CHECKING:
    from upswell.lab.runs import Run


class Difference(Struct, frozen=True, kw_only=True):
    """A stretch of time in which one side wanted more; the numbers and reasons are those of its widest point.

    Instants in seconds since 1970.
    """

    begin: float
    end: float
    widest_at: float
    recorded: int
    replayed: int
    recorded_reason: str
    replayed_reason: str
    worker_seconds: float
    """By how much the replayed policy wanted more (or, negative, less), summed over the stretch."""


class _Point(Struct, frozen=True):
    at: float
    until: float
    entry: JournalEntry
    replayed: int

    @property
    def gap(self) -> int:
        return self.replayed - self.entry.decision.desired_workers


def differences(entries: list[JournalEntry], run: Run, base: float, count: int) -> list[Difference]:
    """Return the `count` stretches with the most worker-seconds between the two, in the order of time.

    Args:
        entries: the recorded decisions, in the order of time.
        run: the simulated run, whose timeline begins at 0.
        base: the instant that is 0 there.
        count: how many.
    """
    stretches: list[list[_Point]] = []
    previous = 0
    for point in _points(entries, run, base):
        sign = (point.gap > 0) - (point.gap < 0)
        if sign and sign == previous:
            stretches[-1].append(point)
        elif sign:
            stretches.append([point])
        previous = sign
    told = [_difference(stretch, run, base) for stretch in stretches]
    told = sorted(told, key=lambda one: -abs(one.worker_seconds))[:count]
    return sorted(told, key=lambda one: one.begin)


def _points(entries: list[JournalEntry], run: Run, base: float) -> list[_Point]:
    """Return both sides at each recorded decision within the simulated time."""
    times = [at + base for at, _, _, _ in run.outcome.timeline]
    wanted = [number for _, _, _, number in run.outcome.timeline]
    points: list[_Point] = []
    for index, entry in enumerate(entries):
        place = bisect_right(times, entry.at) - 1
        if place < 0 or entry.at > times[-1]:
            continue
        until = entries[index + 1].at if index + 1 < len(entries) else times[-1]
        points.append(_Point(entry.at, min(until, times[-1]), entry, wanted[place]))
    return points


def _difference(stretch: list[_Point], run: Run, base: float) -> Difference:
    widest = max(stretch, key=lambda point: abs(point.gap))
    place = bisect_right([made.at for made in run.made], widest.at - base) - 1
    reason = run.made[place].decision.reason if place >= 0 else "nothing was changed since the start"
    return Difference(
        begin=stretch[0].at,
        end=stretch[-1].until,
        widest_at=widest.at,
        recorded=widest.entry.decision.desired_workers,
        replayed=widest.replayed,
        recorded_reason=widest.entry.decision.reason,
        replayed_reason=reason,
        worker_seconds=sum(point.gap * (point.until - point.at) for point in stretch),
    )
