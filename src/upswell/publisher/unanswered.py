"""Requests that left the queue and that nobody answers.

The broker itself has dead-lettered them, or they are stored and the reply was lost, or the worker is one that
sends no replies.

What comes in: the depths of the queues, dead letters, and whether the destination has an object. What goes
out: the ended ones counted in `Replies`, and whether it is in vain to wait for the others.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING

from upswell.broker.topology import dead_letter_queue
from upswell.publisher.dead_letters import published_at, ready_in, reason_of, request_id_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from upswell.broker import Broker
    from upswell.broker.protocol import QueueDepth
    from upswell.messages import UploadRequest
    from upswell.publisher.replies import Replies
    from upswell.stores.protocol import StoredObject

    Find = Callable[[Sequence[UploadRequest]], Awaitable[list[StoredObject | None]]]

QUIET_SECONDS = 3.0
"""After the upload queue was empty this long, what is outstanding is looked for elsewhere."""
SILENT_SECONDS = 10.0
"""After nothing was ready and nothing in flight this long, a missing reply will not come."""
MOST_SECONDS_BETWEEN = 60.0
"""The destination is asked after `QUIET_SECONDS`, then at doubled intervals up to this."""
MOST_DEAD = 100_000
BATCH = 200


class Unanswered:
    """Looks for what became of outstanding requests, while one publishing waits.

    Args:
        broker: connected.
        queue: the upload queue.
        replies: holds the outstanding requests, and counts those that are found.
        find: returns the object of each request whose source's bytes the destination has.
        attempt_seconds: how long an attempt may take at most; where nobody knows what is in flight, so long
            without any reply means that none will come.
        since: when publishing began, by the wall clock: what was published earlier counts as another's.
    """

    def __init__(
        self,
        broker: Broker,
        queue: str,
        replies: Replies,
        find: Find,
        attempt_seconds: float,
        *,
        since: float,
    ) -> None:
        self.depth: QueueDepth | None = None
        """The upload queue, as it was last seen."""
        self._broker = broker
        self._queue = queue
        self._replies = replies
        self._find = find
        self._attempt_seconds = attempt_seconds
        self._since = since
        self._searched_at_depth = 0
        self._heard = -1
        self._heard_at = 0.0
        self._empty_since: float | None = None
        self._idle_since: float | None = None
        self._asking: asyncio.Task[None] | None = None
        self._ask_at = 0.0
        self._pause = QUIET_SECONDS

    async def is_hopeless(self, now: float) -> bool:
        """Count those that ended without a reply; return whether the others have left without one."""
        depth = self.depth = await self._broker.depth(self._queue)
        if self._replies.heard != self._heard:
            self._heard, self._heard_at = self._replies.heard, now
        if depth is None or depth.messages_ready > 0:
            self._empty_since = self._idle_since = None
            return False
        if self._empty_since is None:
            self._empty_since, self._ask_at, self._pause = now, now + QUIET_SECONDS, QUIET_SECONDS
        if now - max(self._empty_since, self._heard_at) < QUIET_SECONDS:
            return False
        await self._search_dead_letters()
        self._ask(now)
        if not self._is_idle(depth, now):
            self._idle_since = None
            return False
        if self._idle_since is None:
            self._idle_since, self._ask_at = now, now  # one last time
        return now - self._idle_since >= SILENT_SECONDS and self._asking is None

    def stop(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()

    def _is_idle(self, depth: QueueDepth, now: float) -> bool:
        """Return whether no request is in any worker's hands, as far as can be told."""
        if depth.messages_unacknowledged is not None:
            return depth.messages_unacknowledged == 0
        assert self._empty_since is not None
        silent_since = max(self._heard_at, self._empty_since)
        return depth.consumers == 0 or now - silent_since > self._attempt_seconds

    async def _search_dead_letters(self) -> None:
        dead_letters = dead_letter_queue(self._queue).name
        ready = await ready_in(self._broker, dead_letters)
        if ready == self._searched_at_depth:
            return
        self._searched_at_depth = ready
        found = await self._broker.look(dead_letters, MOST_DEAD)
        self._replies.count_dead(
            {
                request_id_of(delivery): reason_of(delivery)
                for delivery in found
                if published_at(delivery) >= self._since
            }
        )

    def _ask(self, now: float) -> None:
        """Ask the destination beside the waiting: to read large objects takes its time."""
        if self._asking is not None and self._asking.done():
            self._asking.result()
            self._asking = None
        if self._asking is None and now >= self._ask_at:
            self._pause = min(MOST_SECONDS_BETWEEN, self._pause * 2)
            self._ask_at = now + self._pause
            self._asking = asyncio.create_task(self._ask_destination())

    async def _ask_destination(self) -> None:
        unanswered = iter(self._replies.unanswered())
        while requests := list(islice(unanswered, BATCH)):
            found = await self._find(requests)
            self._replies.count_found(
                (request, there) for request, there in zip(requests, found, strict=True) if there is not None
            )
