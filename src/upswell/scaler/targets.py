"""The newest request of the monitor for each application, whatever order requests arrive in. Pure.

What comes in: scale requests, some repeated, late or out of order. What goes out: how many workers should
run. It must not know what does.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from msgspec import Struct

from upswell.broker.topology import REQUEST_SECONDS
from upswell.messages import ScaleRequest
from upswell.scaler.plan import Target

if TYPE_CHECKING:
    from upswell.settings import Settings

ORDER_SECONDS = 2 * REQUEST_SECONDS
"""A request older than the newest is ignored so long after that came: twice a request's life in its queue,
so none is late by more. After that, one that looks older is from a monitor whose clock was set back, and
counts."""

LEAST_SILENCE = 10.0
SILENT_INTERVALS = 3
"""A monitor that has sent nothing for so many decision intervals is gone: an older one counts again."""

FUTURE_SECONDS = 10.0
"""A request from further in the future is forged, or its monitor's clock is wrong: any other outranks it."""


class _Newest(Struct, frozen=True):
    request: ScaleRequest
    received_at: float
    is_future: bool


class NewestRequests:
    """One request for each application: the newest by (epoch, decided_at), of those not from the future.

    Nothing in a request keeps the true monitor out: not an epoch in the future, and an epoch of now only
    until that monitor, which hears it too, takes the next (`monitor/epochs.py`), or its sender falls silent.

    Args:
        interval: seconds between two requests of a monitor.
    """

    def __init__(self, interval: float = 0.0) -> None:
        self.longest_silence = max(LEAST_SILENCE, SILENT_INTERVALS * interval)
        """A monitor that was not heard for longer is gone, in seconds."""
        self._newest: dict[str, _Newest] = {}

    def offer(self, request: ScaleRequest, now: float) -> bool:
        """Take a request that has arrived; return whether it counts from now on."""
        known = self._newest.get(request.app_id)
        future = is_future(request, now)
        if known and not _outranks(request, known, future=future):
            silent = now - known.received_at
            takes_over = silent > self.longest_silence and request.decided_at > known.request.decided_at
            if not takes_over and silent <= ORDER_SECONDS:
                return False
        self._newest[request.app_id] = _Newest(request, now, future)
        return True

    def get(self, app_id: str) -> ScaleRequest | None:
        """Return the newest request for an application, None while there was none."""
        known = self._newest.get(app_id)
        return known.request if known else None

    def silent_for(self, app_id: str, now: float) -> float:
        """Return the seconds since a monitor was last heard for an application; infinite before the first."""
        known = self._newest.get(app_id)
        return max(0.0, now - known.received_at) if known else math.inf


def target(settings: Settings, request: ScaleRequest | None, adopted: int, standing: int = 0) -> Target:
    """Return how many workers of an application should run, within its bounds whatever a message says.

    An operator may go below `min_workers`. Without a request as many as were found running (`adopted`) go on:
    no data is not zero. So it is with those on standby (`standing`), where the monitor chooses their number.
    Standby workers that no bound would ever let consume are not kept.
    """
    wanted = adopted if request is None else request.desired_workers
    least = 0 if request is not None and request.by_hand else settings.min_workers
    ready = min(max(wanted, least), settings.max_workers)
    standby = settings.standby_workers
    if standby == "auto":
        chosen = None if request is None else request.standby_workers
        standby = standing if chosen is None else chosen
    return Target(ready, min(standby, settings.max_workers - ready))


def is_future(request: ScaleRequest, now: float) -> bool:
    """Return whether a request claims to be made, or its monitor to have started, well after now."""
    return max(request.decided_at, request.epoch / 1000) > now + FUTURE_SECONDS


def _outranks(request: ScaleRequest, known: _Newest, *, future: bool) -> bool:
    if future != known.is_future:
        return known.is_future
    return (request.epoch, request.decided_at) > (known.request.epoch, known.request.decided_at)
