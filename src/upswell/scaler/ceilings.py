"""Where the platform takes no more workers: a quota, an admission rule, an image that is missing. Pure.

What comes in: refusals and starts, with their instants. What goes out: log events, what people and the
monitor should know, and whether to ask for another worker now. It must not know what is wanted. A full
platform is no crash: nothing is wrong with the worker.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from msgspec import Struct

from upswell.errors import FleetFullError
from upswell.events import get_logger
from upswell.messages import MAX_NOTE, PlatformLimit
from upswell.safe import safe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from upswell.scaler.plan import ObservedWorker

_log = get_logger()

ASK_AGAIN_SECONDS = 30.0
"""A full platform is asked for one more worker so often: its room is found out by asking only."""


class Ceiling(Struct, frozen=True):
    """An application's ceiling: so many workers run, the platform's reason, and when it is asked again.

    `full`: the platform says that it is. Else something is wrong with the start, and after how long it is
    tried again is for the backoff of crashes to say.
    """

    workers: int
    reason: str
    ask_again_at: float
    full: bool


class FleetCeilings:
    """Remembers each application's ceiling, and says it once."""

    def __init__(self) -> None:
        self.known: dict[str, Ceiling] = {}

    @property
    def full(self) -> int:
        """For how many applications the platform says that it takes no more."""
        return sum(ceiling.full for ceiling in self.known.values())

    def refused(self, app_id: str, workers: int, error: Exception, now: float) -> None:
        """Take note that no more than these workers are taken; say it where that is news."""
        before = self.known.get(app_id)
        full = isinstance(error, FleetFullError)
        wait = ASK_AGAIN_SECONDS if full else 0.0
        self.known[app_id] = Ceiling(workers, str(error), now + wait, full)
        if full and (before is None or before.workers != workers or not before.full):
            _log.warning("scaler.fleet_full", app_id=app_id, workers=workers, error=error)

    def started(self, app_id: str, workers: int) -> None:
        """Take note that a worker was taken and so many are there now: above the ceiling there is none."""
        ceiling = self.known.get(app_id)
        if ceiling is not None and workers > ceiling.workers:
            del self.known[app_id]
            if ceiling.full:
                _log.info("scaler.fleet_has_room", app_id=app_id)

    def unwanted(self, app_id: str) -> None:
        """Take note that no worker is missing: whether there is room, nobody asks."""
        self.known.pop(app_id, None)

    def room(self, app_id: str, workers: int, now: float) -> int | None:
        """Return how many workers may be asked for now, where so many are there; None: no ceiling.

        Those that were taken before and have gone at once, one above the ceiling after a while. No clock that
        is set back makes the wait longer.
        """
        ceiling = self.known.get(app_id)
        if ceiling is None:
            return None
        waits = now < ceiling.ask_again_at <= now + ASK_AGAIN_SECONDS
        return max(0 if waits else 1, ceiling.workers - workers)


def platform_limits(
    workers: Sequence[ObservedWorker], ceilings: Mapping[str, Ceiling]
) -> tuple[PlatformLimit, ...]:
    """Return what the platform does not give each application, for the monitor."""
    pending = Counter(worker.app_id for worker in workers if worker.pending)
    # Of several reasons the first is told, and a ceiling's before that of workers that wait.
    reasons = {worker.app_id: worker.pending for worker in reversed(workers) if worker.pending}
    reasons |= {app_id: ceiling.reason for app_id, ceiling in ceilings.items()}
    return tuple(
        PlatformLimit(
            app_id=app_id,
            reason=safe(reason, MAX_NOTE // 2),
            ceiling=ceilings[app_id].workers if app_id in ceilings else None,
            pending=pending[app_id],
        )
        for app_id, reason in reasons.items()
    )


def platform_notes(workers: Sequence[ObservedWorker], ceilings: Mapping[str, Ceiling]) -> list[str]:
    """Return what people should know of workers that do not run: a line each reason and application."""
    full = [
        f"{app_id}: the platform takes no more than {ceiling.workers} running now: {ceiling.reason}"
        for app_id, ceiling in ceilings.items()
    ]
    waiting = Counter((worker.app_id, worker.pending) for worker in workers if worker.pending)
    return full + [f"{app_id}: {count} starting: {reason}" for (app_id, reason), count in waiting.items()]
