"""Two estimated ages, which no message contains: of the queue's head, and of the silence in flight.

In: how long reported uploads had waited, depths. Out: seconds. The simulator uses the same, so that a policy
in virtual time sees no more than one in production. It knows neither messages, brokers nor clocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from upswell.analysis.queue_depths import DepthSample


class AgeEstimates:
    """One application's; `window` seconds after its report, a waiting time tells nothing any more."""

    def __init__(self, window: float) -> None:
        self._window = window
        self._newest_waiting: tuple[float, float] | None = None
        self._nothing_ended_since: float | None = None

    def begun(self, waiting: float, at: float) -> None:
        """Take in how long an upload had waited that was reported `at`."""
        self._newest_waiting = (waiting, at)

    def ended(self, at: float) -> None:
        """Take in that an upload's report came."""
        self._nothing_ended_since = at

    def oldest(self, depth: DepthSample | None, since_empty: float | None, now: float) -> float | None:
        """Return an estimate of how long the head of the queue has waited.

        The queue is FIFO, so the newest upload that was begun had waited about as long as the head has now;
        and nothing can have waited since before the queue was last seen empty.
        """
        if depth is None:
            return None
        if depth.ready == 0:
            return 0.0
        if self._newest_waiting is None or now - self._newest_waiting[1] > self._window:
            return since_empty
        waiting = self._newest_waiting[0]
        return waiting if since_empty is None else min(waiting, since_empty)

    def in_flight(self, in_flight: int, now: float) -> float | None:
        """Return for how long uploads have been in flight without one of them ending."""
        if not in_flight:
            self._nothing_ended_since = None
            return None
        if self._nothing_ended_since is None:
            self._nothing_ended_since = now
        return now - self._nothing_ended_since
