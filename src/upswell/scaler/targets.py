"""The newest request of the monitor for each application, whatever order requests arrive in. Pure.

What comes in: scale requests, some repeated, late or out of order. What goes out: how many workers should
run. It must not know what does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from upswell.messages import ScaleRequest
from upswell.scaler.plan import Target

if TYPE_CHECKING:
    from upswell.settings import Settings

ORDER_SECONDS = 120.0
"""A request older than the newest is ignored so long after that came: twice a request's life in its queue,
so none is late by more. After that, one that looks older is from a monitor whose clock was set back, and
counts."""


class _Newest(Struct, frozen=True):
    request: ScaleRequest
    received_at: float


class NewestRequests:
    """One request for each application: the newest by (epoch, decided_at)."""

    def __init__(self) -> None:
        """Begin without any."""
        self._newest: dict[str, _Newest] = {}

    def offer(self, request: ScaleRequest, now: float) -> bool:
        """Take a request that has arrived; return whether it is newer than what was there."""
        known = self._newest.get(request.app_id)
        if known and _order(request) <= _order(known.request) and now - known.received_at <= ORDER_SECONDS:
            return False
        self._newest[request.app_id] = _Newest(request, now)
        return True

    def get(self, app_id: str) -> ScaleRequest | None:
        """Return the newest request for an application, None while there was none."""
        known = self._newest.get(app_id)
        return known.request if known else None


def target(settings: Settings, request: ScaleRequest | None, adopted: int) -> Target:
    """Return how many workers of an application should run, within its bounds whatever a message says.

    An operator may go below `min_workers`. Without a request as many as were found running (`adopted`) go on:
    no data is not zero. Standby workers that no bound would ever let consume are not kept.
    """
    wanted = adopted if request is None else request.desired_workers
    least = 0 if request is not None and request.by_hand else settings.min_workers
    ready = min(max(wanted, least), settings.max_workers)
    return Target(ready, min(settings.standby_workers, settings.max_workers - ready))


def _order(request: ScaleRequest) -> tuple[int, float]:
    return request.epoch, request.decided_at
