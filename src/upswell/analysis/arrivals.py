"""How many uploads came, and how many are in flight, from counts that are certain.

Nothing gets lost between coming and ending: arrived = ended + waiting + in flight. What is in flight is
heard of late (a status is up to an interval old, a new worker has not spoken yet), and so are some reports.
Then the sum falls for a moment though no upload left, and when it rises again nothing came. So an arrival is
what lifts the sum above its recent maximum, and what is missing from a recent maximum is in flight unseen.
Pure: it knows neither messages, brokers nor clocks.
"""

from __future__ import annotations

from collections import deque


class RecentHighest:
    """The highest of the values of the last `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._values: deque[tuple[float, int]] = deque()
        """Those that no later one reaches, so they fall."""

    def at(self, now: float) -> int | None:
        """Return the highest value that is recent at `now`; None without any."""
        values = self._values
        while values and values[0][0] < now - self._seconds:
            values.popleft()
        return values[0][1] if values else None

    def add(self, now: float, value: int) -> None:
        """Take in a value."""
        values = self._values
        while values and values[-1][1] <= value:
            values.pop()
        values.append((now, value))


def in_flight_bounds(
    consumers: int, ready: int, held: int, ready_slots: int, slots: int
) -> tuple[int, int, int]:
    """Return what is surely in flight, what is at most, and how much of that is at consumers not heard of.

    Around a scaling some consumers were not heard of yet, each of which may hold all its slots, or some
    workers consume no more, whose uploads may be back in the queue.

    Args:
        consumers: of the queue, as the broker counts them.
        ready: workers that said that they consume.
        held: uploads that workers said they hold.
        ready_slots: of the ready workers.
        slots: of a worker not heard of.
    """
    unheard = max(0, consumers - ready) * slots
    least = max(0, held - max(0, ready - consumers) * slots)
    return least, held + ready_slots + unheard, unheard


class Arrivals:
    """One application's.

    Args:
        window: seconds for which a report may be late. Uploads that vanish unreported (a purged queue) hide
            as many arrivals for so long.
        unseen: seconds until a status tells what a worker took.
    """

    def __init__(self, window: float, unseen: float) -> None:
        self.total = 0
        """Uploads that came since the first look."""
        self._last: int | None = None
        self._highest = RecentHighest(window)
        self._lately = RecentHighest(unseen)

    def look(self, now: float, ended: int, waiting: int, least: int, most: int) -> int:
        """Take in what is certain at `now`; return what is most likely in flight.

        Args:
            now: the instant.
            ended: uploads reported as ended since the observation began.
            waiting: uploads in the queue.
            least: uploads surely in flight.
            most: no more can be; the same as `least` where it is known.
        """
        certain = ended + waiting + least
        highest = self._highest.at(now)
        if highest is None:  # no look for a whole window
            highest = self._last
        if highest is not None and certain > highest:
            self.total += certain - highest
        self._last = certain
        self._highest.add(now, certain)
        self._lately.add(now, certain)
        recent = self._lately.at(now)
        return least if recent is None else min(most, recent - ended - waiting)
