"""Where the platform takes no more workers: a quota, an admission rule. Pure.

What comes in: refusals and starts, with their instants. What goes out: log events, and whether to ask for
another worker now. It must not know what is wanted. A ceiling is no crash: nothing is wrong with the worker.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from msgspec import Struct

from upswell.events import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from upswell.errors import FleetFullError
    from upswell.scaler.plan import ObservedWorker

_log = get_logger()

ASK_AGAIN_SECONDS = 30.0
"""A full platform is asked for one more worker so often: its room is found out by asking only."""


class Ceiling(Struct, frozen=True):
    """An application's ceiling: so many workers run, the platform's reason, and when it is asked again."""

    workers: int
    reason: str
    ask_again_at: float


class FleetCeilings:
    """Remembers each application's ceiling, and says it once."""

    def __init__(self) -> None:
        """Begin without one."""
        self.known: dict[str, Ceiling] = {}

    def refused(self, app_id: str, workers: int, error: FleetFullError, now: float) -> None:
        """Take note that no more than these workers are taken; say it where that is news."""
        before = self.known.get(app_id)
        ceiling = Ceiling(workers, str(error), now + ASK_AGAIN_SECONDS)
        self.known[app_id] = ceiling
        if before is None or before.workers != workers:
            _log.warning("scaler.fleet_full", app_id=app_id, workers=workers, error=error)

    def started(self, app_id: str) -> None:
        """Take note that a worker was taken: there is room again."""
        if self.known.pop(app_id, None) is not None:
            _log.info("scaler.fleet_has_room", app_id=app_id)

    def unwanted(self, app_id: str) -> None:
        """Take note that no worker is missing: whether there is room, nobody asks."""
        self.known.pop(app_id, None)

    def room(self, app_id: str, now: float) -> int | None:
        """Return how many workers may be asked for now: none for a while, then one; None: no ceiling.

        No clock that is set back makes the wait longer.
        """
        ceiling = self.known.get(app_id)
        if ceiling is None:
            return None
        return 0 if now < ceiling.ask_again_at <= now + ASK_AGAIN_SECONDS else 1


def platform_notes(workers: Sequence[ObservedWorker], ceilings: Mapping[str, Ceiling]) -> tuple[str, ...]:
    """Return what people should know of workers that do not run: a line each reason and application."""
    return tuple(_notes(workers, ceilings))


def _notes(workers: Sequence[ObservedWorker], ceilings: Mapping[str, Ceiling]) -> Iterator[str]:
    for app_id, ceiling in ceilings.items():
        yield f"{app_id}: the platform takes no more than {ceiling.workers} running now: {ceiling.reason}"
    waiting = Counter((worker.app_id, worker.pending) for worker in workers if worker.pending)
    for (app_id, reason), count in waiting.items():
        yield f"{app_id}: {count} starting: {reason}"
