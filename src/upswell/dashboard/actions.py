"""What the page may change: drain one worker, try dead uploads again, delete them.

In: an order that has passed `security.py`. Out: what became of it, in words. Nothing of it reaches a command
line: a worker must be one that is heard of, a reason only selects.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from upswell.analysis.failure_reasons import common_reason
from upswell.broker.declaring import declare_upload_queue
from upswell.broker.topology import dead_letter_queue
from upswell.client.roster import tell
from upswell.errors import BrokerError, UpswellError
from upswell.events import get_logger
from upswell.publisher.dead_letters import died_at, ready_in, reason_of, request_id_of, retry_dead
from upswell.safe import safe

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from upswell.broker import Broker, Delivery
    from upswell.dashboard.live import Live
    from upswell.settings import Settings

_log = get_logger()

LOOK_SECONDS = 10.0
ACT_SECONDS = 120.0
"""A broker has so long: to take an order or show dead uploads, and to work through all of them."""
MOST_LOOKED_AT = 1000
MOST_EXAMPLES = 5


class Actions:
    """Acts through the broker that `live` is connected to; where it does not answer, with a BrokerError."""

    def __init__(self, settings: Settings, live: Live) -> None:
        self._settings = settings
        self._live = live
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def drain(self, app: str, worker_id: str) -> str:
        """Tell one worker to finish what it has in hand and leave; one that leaves already is an error."""
        broker = self._broker()
        status = self._live.status_of(app, worker_id)
        if status is None:
            raise UpswellError(f"no worker {safe(worker_id, 80)} of {app} is heard of")
        if status.state == "draining":
            raise UpswellError(f"{worker_id} drains already")
        async with _within(LOOK_SECONDS):
            await tell(broker, [worker_id], "drain")
        _log.info("dashboard.acted", what="drain", app=app, worker=worker_id)
        return f"{worker_id} finishes what it has in hand and leaves; the scaler replaces it if it is needed."

    async def dead(self, app: str) -> dict[str, Any]:
        """Return the dead uploads, grouped by reason; they stay where they are."""
        broker = self._broker()
        queue = dead_letter_queue(self._settings.upload_queue_of(app)).name
        async with _within(LOOK_SECONDS), self._alone(app):
            found = await broker.look(queue, MOST_LOOKED_AT)
        alike: defaultdict[str, list[Delivery]] = defaultdict(list)
        for letter in found:
            alike[_common(letter)].append(letter)
        groups: list[dict[str, Any]] = []
        for reason, mine in sorted(alike.items(), key=lambda one: -len(one[1])):
            times = [at for letter in mine if (at := died_at(letter)) is not None]
            groups.append(
                {
                    "reason": reason,
                    "count": len(mine),
                    "newest_at": max(times, default=None),
                    "examples": [
                        {"id": safe(request_id_of(letter), 128), "reason": safe(reason_of(letter), 300)}
                        for letter in mine[:MOST_EXAMPLES]
                    ],
                }
            )
        return {"looked_at": len(found), "most": MOST_LOOKED_AT, "groups": groups}

    async def retry(self, app: str, reason: str | None) -> str:
        """Publish the dead uploads of a reason again (None: all of them)."""
        broker, queue = self._broker(), self._settings.upload_queue_of(app)
        limit = self._settings.for_app(app).delivery_limit
        async with _within(ACT_SECONDS), self._alone(app):
            await declare_upload_queue(broker, queue, delivery_limit=limit)
            count = await retry_dead(broker, queue, _wanted(reason), time.time)
        _log.info("dashboard.acted", what="retry", app=app, count=count, reason=reason or "all")
        return f"{_uploads(count)} published again."

    async def purge(self, app: str, reason: str | None) -> str:
        """Delete the dead uploads of a reason (None: all of them), for good."""
        broker = self._broker()
        queue = dead_letter_queue(self._settings.upload_queue_of(app)).name
        async with _within(ACT_SECONDS), self._alone(app):
            count = await broker.sift(queue, _wanted(reason)) if await ready_in(broker, queue) else 0
        _log.info("dashboard.acted", what="purge", app=app, count=count, reason=reason or "all")
        return f"{_uploads(count)} deleted."

    def _alone(self, app: str) -> asyncio.Lock:
        """Return what keeps others from its dead letters: while one looks, who deletes finds none."""
        return self._locks.setdefault(app, asyncio.Lock())

    def _broker(self) -> Broker:
        if self._live.broker is None or self._live.problem:
            raise BrokerError(f"the broker does not answer: {self._live.problem}")
        return self._live.broker


@asynccontextmanager
async def _within(seconds: float) -> AsyncGenerator[None]:
    """Give the broker so long, then raise a BrokerError."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        words = f"the broker did not answer within {seconds:g} s: look again what is done"
        raise BrokerError(words) from None


def _common(letter: Delivery) -> str:
    return safe(common_reason(reason_of(letter)), 300)


def _wanted(reason: str | None) -> Callable[[Delivery], bool]:
    return lambda letter: reason is None or _common(letter) == reason


def _uploads(count: int) -> str:
    return "1 dead upload" if count == 1 else f"{count:,} dead uploads"
