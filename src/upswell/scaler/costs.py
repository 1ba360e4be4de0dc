"""What scaling cost and did: starts, drains, crashes and billed worker-seconds. Pure.

What comes in: what happened, with its instants. What goes out: totals. It must not know why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from upswell.fleets.protocol import FleetWorker


class ScalingCosts:
    """Adds up since the scaler began; a worker, adopted or not, is billed from its request to its end."""

    def __init__(self) -> None:
        self.starts = 0
        self.drains = 0
        self.crashes = 0
        self.start_failures = 0
        self._running: dict[str, float] = {}
        self._ended_seconds = 0.0

    def running(self, workers: Collection[FleetWorker], now: float) -> None:
        """Take note of who runs at this instant; who ran before and does not any more has ended."""
        alive = {worker.worker_id: worker.requested_at for worker in workers if worker.state == "running"}
        for worker_id, requested_at in self._running.items():
            if worker_id not in alive:
                self._ended_seconds += max(0.0, now - requested_at)
        self._running = alive

    def has_seen_running(self, worker_id: str) -> bool:
        """Return whether a worker ran at the last instant noted."""
        return worker_id in self._running

    def started(self, worker_id: str, requested_at: float) -> None:
        """Take note of a worker that was asked for: it is billed from now on."""
        self.starts += 1
        self._running[worker_id] = requested_at

    def worker_seconds(self, now: float) -> float:
        """Return what is billed up to this instant."""
        return self._ended_seconds + sum(max(0.0, now - since) for since in self._running.values())
