"""What became of uploads whose reply does not come: the dead letters and the destination are asked.

What comes in: the uploads of one application that a program holds. What goes out: the end of those that
can be found. A reply is lost when the broker restarts or nobody listens; the upload itself is not.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from upswell.broker.topology import dead_letter_queue
from upswell.client.results import UploadResult
from upswell.publisher.already_stored import AlreadyStored
from upswell.publisher.dead_letters import published_at, ready_in, reason_of, request_id_of
from upswell.publisher.unanswered import SILENT_SECONDS
from upswell.requests import key_of
from upswell.stores.addresses import Addresses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from upswell.broker import Broker
    from upswell.client.pending import Pending
    from upswell.settings import Settings

QUIET_SECONDS = 3.0
"""An upload that has shown no sign for so long may have lost its reply."""

MAX_PAUSE_SECONDS = 60.0
"""How long, at most, between two questions for one object: the pause doubles with each."""

MOST_ASKED = 200
MOST_DEAD = 10_000


class Inquiry:
    """Asks for the uploads of one application; `settings` are those that hold for it."""

    def __init__(
        self,
        broker: Broker,
        queue: str,
        settings: Settings,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._broker = broker
        self._queue = queue
        self._settings = settings
        self._monotonic = monotonic
        self._known: AlreadyStored | None = None
        self._opening = asyncio.Lock()
        self._asked: dict[str, tuple[float, float]] = {}  # id -> when to ask again, and the pause before that
        self._searched: set[str] = set()  # the ids searched for while the dead letters were so many:
        self._searched_at_depth = 0
        self._resources = ExitStack()
        self._idle_since: float | None = None

    async def ask(self, waiting: Iterable[Pending]) -> None:
        """End the uploads of which something is found, and those of which nothing can be any more."""
        now = self._monotonic()
        quiet = [one for one in waiting if now - one.last_sign >= QUIET_SECONDS]
        self._asked = {one.id: self._asked[one.id] for one in quiet if one.id in self._asked}
        if not quiet:
            self._idle_since = None
            return
        patience = await self._patience(now)
        idle_since = now if self._idle_since is None else self._idle_since
        hopeless = [one for one in quiet if now - max(idle_since, one.last_sign) >= patience]
        await self._search_dead_letters(quiet, again=bool(hopeless))
        await self._ask_destination(quiet, now)
        for one in hopeless:
            one.fail(self._unknown())

    async def known(self) -> AlreadyStored:
        """Return who asks the destination."""
        async with self._opening:
            if self._known is None:
                known = await asyncio.to_thread(AlreadyStored, self._settings, None)
                self._known = self._resources.enter_context(known)
        return self._known

    def close(self) -> None:
        """End its threads."""
        self._resources.close()

    async def _patience(self, now: float) -> float:
        """Look whether the queue is idle; return how long it must be so until nothing can be with a worker.

        Where the broker does not tell what is in flight, an upload may be for as long as its time limit.
        """
        depth = await self._broker.depth(self._queue)
        ready = depth.messages_ready if depth else 0
        in_flight = depth.messages_unacknowledged if depth else 0
        if ready or in_flight:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now
        return SILENT_SECONDS if in_flight is not None else SILENT_SECONDS + self._settings.upload_timeout

    async def _search_dead_letters(self, quiet: Sequence[Pending], *, again: bool) -> None:
        """Find those that died; a letter from before its upload was published is another's."""
        dead_letters = dead_letter_queue(self._queue).name
        wanted = {one.id: one for one in quiet}
        ready = await ready_in(self._broker, dead_letters)
        if not ready:
            return
        if ready != self._searched_at_depth:
            self._searched.clear()
        if wanted.keys() <= self._searched and not again:
            return
        self._searched_at_depth = ready
        self._searched |= wanted.keys()
        for letter in await self._broker.look(dead_letters, MOST_DEAD):
            one = wanted.get(request_id_of(letter))
            if one is not None and published_at(letter) >= one.published_at:
                one.fail(reason_of(letter))

    async def _ask_destination(self, quiet: Sequence[Pending], now: float) -> None:
        due = [one for one in quiet if not one.ended.is_set() and now >= self._asked.get(one.id, (now, 0))[0]]
        if not due:
            return
        known = await self.known()
        if not known.asks_destination:
            return
        asked = due[:MOST_ASKED]
        addresses = Addresses(self._settings.destination_path)
        for one, found in zip(asked, await known.find([one.request for one in asked]), strict=True):
            if found is not None:
                one.store(
                    UploadResult(
                        request_id=one.id,
                        app_id=one.request.app_id,
                        url=addresses.of(key_of(one.request)),
                        bytes=found.bytes,
                        checksum=found.checksum,
                    )
                )
        took = self._monotonic() - now  # to compare large objects takes long: then it is done seldom
        for one in asked:
            pause = max(2 * self._asked.get(one.id, (0.0, QUIET_SECONDS))[1], 10 * took)
            self._asked[one.id] = now + took + min(pause, MAX_PAUSE_SECONDS), pause

    def _unknown(self) -> str:
        asked = self._known is not None and self._known.asks_destination
        why = "does not hold its bytes" if asked else "cannot be asked from here"
        return f"it left the queue and no reply came from a worker; the destination {why}"
