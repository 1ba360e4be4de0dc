"""A worker's share of a rate that its whole application must keep: `app_rate_limit`. Pure.

What comes in: statuses of all workers, and how many uploads this one has in hand. What goes out: bytes per
second. Each upload in hand counts alike, on whichever worker it is, so a worker's share follows its uploads;
nobody hands the shares out, so nobody's death takes them away. Between a change and the next statuses (a
second or so) the sum may be over the limit, or under it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from upswell.messages import WorkerStatus

HEARD_INTERVALS = 5.0
"""A worker that was silent for this many status intervals is gone."""


class RateShare:
    """One worker's share."""

    def __init__(
        self, app_id: str, worker_id: str, *, limit: float, own_limit: float, interval: float
    ) -> None:
        """Share `limit` bytes/s among the workers of `app_id`; `own_limit` (0: none) holds besides."""
        self._app_id = app_id
        self._worker_id = worker_id
        self._limit = limit
        self._own_limit = own_limit
        self._patience = HEARD_INTERVALS * interval
        self._others: dict[str, tuple[float, int]] = {}

    def hear(self, status: WorkerStatus, now: float) -> None:
        """Take in a worker's status; `now` is monotonic."""
        if status.app_id != self._app_id or status.worker_id == self._worker_id:
            return
        if status.state == "stopped":
            self._others.pop(status.worker_id, None)
        else:
            self._others[status.worker_id] = now, status.busy

    def rate(self, now: float, busy: int) -> float:
        """Return the bytes per second that this worker may move with `busy` uploads in hand."""
        silent = [worker for worker, (heard, _) in self._others.items() if now - heard > self._patience]
        for worker in silent:
            del self._others[worker]
        mine = max(1, busy)
        share = self._limit * mine / (mine + sum(others for _, others in self._others.values()))
        return min(share, self._own_limit) if self._own_limit else share
