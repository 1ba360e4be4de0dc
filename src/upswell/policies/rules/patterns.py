"""Patterns in time over a stream of snapshots: held for, within, followed by, absent, rising, counted.

What comes in: at each snapshot its instant and what a condition or a number was then. What goes out: the
numbers of what was found, or None where the pattern is not there. Instants must not fall. Memory is bounded
whatever the length of the window. It knows neither rules, snapshots nor clocks.

What was not seen is not made up: where a value is not known, or nothing was observed for longer than a
pattern's own seconds, the caller says `lapse`, and what must hold without a break begins again. A fact of
the past ("was so within the last minute") stays one.
"""

# ruff: noqa: ARG002 - `see` has one form, and only one pattern has a second condition

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import ClassVar

BUCKETS = 60
"""A window of sums is kept in this many parts: it reaches back between 59/60 and the whole of its seconds."""

Found = dict[str, float]


@dataclass
class Pattern:
    """One pattern of one rule. What it needs besides `seconds` is named as in the rules file."""

    seconds: float
    why: ClassVar[str] = ""
    """What was found, as the end of a sentence: a template whose inputs are the numbers found."""

    def see(self, at: float, value: float, then: bool = False) -> Found | None:
        """Take in a condition's truth or a number, and whether a second condition is so now."""
        raise NotImplementedError

    def lapse(self) -> None:
        """Forget what must hold without a break; facts stay."""


@dataclass
class HeldFor(Pattern):
    """The condition was so at every snapshot of the last `seconds`."""

    why = "held for {held:s}"
    so = True
    _since: float | None = field(default=None, init=False)

    def see(self, at: float, value: float, then: bool = False) -> Found | None:
        """Return for how long it held."""
        if bool(value) is not self.so:
            self._since = None
            return None
        if self._since is None:
            self._since = at
        held = at - self._since
        return {"held": held} if held >= self.seconds else None

    def lapse(self) -> None:
        """Begin again: what was in between is unknown."""
        self._since = None


class AbsentFor(HeldFor):
    """The condition was so at no snapshot of the last `seconds`."""

    why = "absent for {held:s}"
    so = False


@dataclass
class Within(Pattern):
    """The condition was so at some snapshot of the last `seconds`."""

    why = "so {ago:s} ago"
    _last: float = field(default=-math.inf, init=False)

    def see(self, at: float, value: float, then: bool = False) -> Found | None:
        """Return how long ago it was so."""
        if value:
            self._last = at
        ago = at - self._last
        return {"ago": ago} if ago <= self.seconds else None


@dataclass
class FollowedBy(Pattern):
    """The condition was so at an earlier snapshot, at most `seconds` ago, and `then` is so now."""

    why = "{after:s} after the first"
    _first: float = field(default=-math.inf, init=False)

    def see(self, at: float, value: float, then: bool = False) -> Found | None:
        """Return how long after the first the second is seen."""
        after = at - self._first
        if value:
            self._first = at
        return {"after": after} if then and after <= self.seconds else None


@dataclass
class Times(Pattern):
    """The condition became so `times` times within `seconds`; staying so counts once."""

    times: int
    why = "{times:time} within {span:s}"
    _was: bool = field(default=False, init=False)
    _starts: deque[float] = field(default_factory=deque[float], init=False)

    def see(self, at: float, value: float, then: bool = False) -> Found | None:
        """Return how often it became so in how long."""
        if value and not self._was:
            self._starts.append(at)
        self._was = bool(value)
        while len(self._starts) > self.times or (self._starts and at - self._starts[0] > self.seconds):
            self._starts.popleft()
        if len(self._starts) < self.times:
            return None
        return {"times": self.times, "span": at - self._starts[0]}


@dataclass
class _Window(Pattern):
    """Sums of numbers by time: [number of the bucket, sum, how many], oldest first."""

    _buckets: deque[list[float]] = field(default_factory=deque[list[float]], init=False)
    _first: float = field(default=0.0, init=False)
    """The bucket with which the stream began."""

    def _add(self, at: float, value: float) -> float:
        """Take in a number and return its bucket's."""
        number = float(math.floor(at / (self.seconds / BUCKETS)))
        buckets = self._buckets
        while buckets and buckets[0][0] <= number - BUCKETS:
            buckets.popleft()
        if not buckets:
            self._first = number
        if buckets and buckets[-1][0] >= number:
            buckets[-1][1] += value
            buckets[-1][2] += 1
        else:
            buckets.append([number, value, 1])
        return buckets[-1][0]


@dataclass
class Count(_Window):
    """The numbers seen within `seconds` add up to `reaches` at least: a count of events."""

    reaches: float
    why = "{sum} within {seconds:s}"

    def see(self, at: float, value: float, then: bool = False) -> Found | None:
        """Return the sum."""
        self._add(at, value)
        total = math.fsum(total for _, total, _ in self._buckets)
        return {"sum": total, "seconds": self.seconds} if total >= self.reaches else None


@dataclass
class Rising(_Window):
    """The number rose by at least `by` within `seconds`.

    The rise is twice the difference between the means of the window's newer and older half: for a steady
    growth, the growth over the window; one odd value among many moves it little. Nothing rises before a
    whole window was seen.
    """

    by: float
    why = "from {older} to {newer} on average between the halves of {seconds:s}"

    def see(self, at: float, value: float, then: bool = False) -> Found | None:
        """Return the two means."""
        newest = self._add(at, value)
        if newest - self._first < BUCKETS - 1:
            return None
        halves = [0.0, 0.0], [0.0, 0.0]
        for number, total, count in self._buckets:
            half = halves[number > newest - BUCKETS // 2]
            half[0] += total
            half[1] += count
        (old, olds), (new, news) = halves
        if not olds or 2 * (new / news - old / olds) < self.by:
            return None
        return {"older": old / olds, "newer": new / news, "seconds": self.seconds}


PATTERNS: dict[str, tuple[type[Pattern], *tuple[str, ...]]] = {
    "held_for": (HeldFor, "held_for"),
    "absent_for": (AbsentFor, "absent_for"),
    "times": (Times, "within", "times"),
    "followed_by": (FollowedBy, "within"),
    "rising": (Rising, "within", "by"),
    "count": (Count, "within", "reaches"),
    "within": (Within, "within"),
}
"""The key of each pattern, and the keys of its arguments."""
