"""Patterns in time over a stream of snapshots: held for, within, followed by, absent, rising, counted.

What comes in: at each snapshot its instant and what a condition or a number was then. What goes out:
whether the pattern is there now, and the numbers of its phrase. Instants must not fall. Memory is bounded
whatever the length of the window. Must not know: rules, snapshots, clocks.

What was not seen is not made up: where a value is not known, or nobody watched for longer than a pattern's
own seconds, the caller says `lapse`, and what must hold without a break begins anew. A fact of the past
("was so within the last minute") stays one.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Protocol

BUCKETS = 60
"""A window of sums is kept in so many parts: it reaches back between 59/60 and the whole of its seconds."""


class Pattern(Protocol):
    """One pattern of one rule.

    `seconds` is how far back it looks; `lapse` says that the stream had a hole.
    """

    seconds: float
    why: str
    """What was found, as the end of a sentence: a template whose inputs `found` gives."""

    def see(self, at: float, value: float, then: bool = False) -> bool:
        """Take in a condition's truth or a number, and return whether the pattern is there."""
        ...

    def lapse(self) -> None:
        """Forget what must hold without a break."""
        ...

    def found(self, at: float) -> dict[str, float]:
        """Return the numbers of what was found."""
        ...


class HeldFor:
    """The condition was so at every snapshot of the last `seconds`; with `so=False`: not so, absent."""

    def __init__(self, seconds: float, *, so: bool = True) -> None:
        self.seconds = seconds
        self.why = f"{'held' if so else 'absent'} for {{held:s}}"
        self._so = so
        self._since: float | None = None

    def see(self, at: float, value: float, then: bool = False) -> bool:  # noqa: ARG002 - the seam's form
        """Return whether the condition has been so (or absent) for long enough."""
        if bool(value) is not self._so:
            self._since = None
            return False
        if self._since is None:
            self._since = at
        return at - self._since >= self.seconds

    def lapse(self) -> None:
        """Begin anew: nobody knows what was in between."""
        self._since = None

    def found(self, at: float) -> dict[str, float]:
        """Return for how long."""
        return {"held": at - (at if self._since is None else self._since)}


class Within:
    """The condition was so at some snapshot of the last `seconds`."""

    why = "so {ago:s} ago"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._last = -math.inf

    def see(self, at: float, value: float, then: bool = False) -> bool:  # noqa: ARG002 - the seam's form
        """Return whether the condition is so, or was lately."""
        if value:
            self._last = at
        return at - self._last <= self.seconds

    def lapse(self) -> None:
        """Keep the fact."""

    def found(self, at: float) -> dict[str, float]:
        """Return how long ago it was so."""
        return {"ago": at - self._last}


class FollowedBy:
    """The condition was so at an earlier snapshot, at most `seconds` ago, and `then` is so now."""

    why = "{after:s} after the first"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._first = -math.inf
        self._before = -math.inf

    def see(self, at: float, value: float, then: bool = False) -> bool:
        """Return whether the second condition follows the first."""
        self._before = self._first
        if value:
            self._first = at
        return then and at - self._before <= self.seconds

    def lapse(self) -> None:
        """Keep the fact."""

    def found(self, at: float) -> dict[str, float]:
        """Return how long after the first the second was seen."""
        return {"after": at - self._before}


class TimesWithin:
    """The condition became so `times` times within `seconds`."""

    why = "{times:time} within {span:s}"

    def __init__(self, times: int, seconds: float) -> None:
        self.seconds = seconds
        self._was = False
        self._starts: deque[float] = deque(maxlen=times)

    def see(self, at: float, value: float, then: bool = False) -> bool:  # noqa: ARG002 - the seam's form
        """Return whether it became so often enough; staying so is once."""
        if value and not self._was:
            self._starts.append(at)
        self._was = bool(value)
        return len(self._starts) == self._starts.maxlen and at - self._starts[0] <= self.seconds

    def lapse(self) -> None:
        """Keep the facts."""

    def found(self, at: float) -> dict[str, float]:
        """Return how often in how long."""
        return {"times": len(self._starts), "span": at - self._starts[0] if self._starts else 0.0}


class SumWithin:
    """The numbers seen within `seconds` add up to `total` at least: a count of events in a window."""

    def __init__(self, total: float, seconds: float) -> None:
        self.seconds = seconds
        self.why = f"{{sum}} within {seconds:g} s"
        self._total = total
        self._buckets = _Buckets(seconds)
        self._sum = 0.0

    def see(self, at: float, value: float, then: bool = False) -> bool:  # noqa: ARG002 - the seam's form
        """Return whether the sum is reached."""
        self._buckets.add(at, value)
        self._sum = math.fsum(total for _, total, _ in self._buckets.parts)
        return self._sum >= self._total

    def lapse(self) -> None:
        """Keep what was counted."""

    def found(self, at: float) -> dict[str, float]:  # noqa: ARG002 - the seam's form
        """Return the sum."""
        return {"sum": self._sum}


class Rising:
    """The number rose by at least `by` within `seconds`.

    The rise is twice the difference between the means of the window's newer and older half: for a steady
    growth, the growth over the window; one odd value among many moves it little. Nothing rises before a
    whole window was seen.
    """

    def __init__(self, by: float, seconds: float) -> None:
        self.seconds = seconds
        self.why = f"from {{older}} to {{newer}} on average between the halves of {seconds:g} s"
        self._by = by
        self._buckets = _Buckets(seconds)
        self._older = self._newer = 0.0

    def see(self, at: float, value: float, then: bool = False) -> bool:  # noqa: ARG002 - the seam's form
        """Return whether the number rises."""
        buckets = self._buckets
        buckets.add(at, value)
        parts = buckets.parts
        newest = parts[-1][0]
        if newest - buckets.first < BUCKETS - 1:
            return False
        older, newer = [0.0, 0.0], [0.0, 0.0]
        for number, total, count in parts:
            half = older if number <= newest - BUCKETS // 2 else newer
            half[0] += total
            half[1] += count
        if not older[1]:
            return False
        self._older, self._newer = older[0] / older[1], newer[0] / newer[1]
        return 2 * (self._newer - self._older) >= self._by

    def lapse(self) -> None:
        """Keep what was seen: a window with too few values does not rise."""

    def found(self, at: float) -> dict[str, float]:  # noqa: ARG002 - the seam's form
        """Return the two means."""
        return {"older": self._older, "newer": self._newer}


class _Buckets:
    """Sums of numbers by time: (number of the bucket, sum, how many), oldest first, never empty once used."""

    def __init__(self, seconds: float) -> None:
        self._width = seconds / BUCKETS
        self.parts: deque[list[float]] = deque()
        self.first = 0.0

    def add(self, at: float, value: float) -> None:
        number = float(math.floor(at / self._width))
        parts = self.parts
        while parts and parts[0][0] <= number - BUCKETS:
            parts.popleft()
        if not parts:
            self.first = number
        if parts and parts[-1][0] >= number:
            parts[-1][1] += value
            parts[-1][2] += 1
        else:
            parts.append([number, value, 1])
