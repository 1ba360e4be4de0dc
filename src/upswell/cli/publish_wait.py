"""`publish --wait`: publishes while it watches the replies, and shows how far they are."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from upswell.cli.dead_letters import request_id_of
from upswell.cli.replies import peek
from upswell.cli.text import seconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from upswell.broker import Broker
    from upswell.cli.replies import Replies

REFRESH = 0.2
PLAIN_LINE_EVERY = 2.0
QUIET_SECONDS = 3.0
"""The upload queue has been empty for so long: what is outstanding may be in the dead-letter queue."""
SILENT_SECONDS = 10.0
"""Nothing ready, nothing in flight for so long, and still no reply: none will come."""
MOST_DEAD = 100_000


async def publish_and_wait(
    broker: Broker,
    queue: str,
    replies: Replies,
    sending: Awaitable[None],
    *,
    total: int | None,
    timeout: float | None,
) -> bool:
    """Run `sending` and wait until each expected id is stored or dead; return whether all are.

    `total` requests will be published, where that is known. After `timeout` seconds it gives up; without it,
    it waits as long as there is something to wait for.
    """
    sender = asyncio.ensure_future(sending)
    search = _DeadLetterSearch(broker, queue, replies)
    started = time.monotonic()
    show, close = _display(total)
    try:
        while not (sender.done() and not replies.outstanding):
            show(replies)
            await asyncio.wait([sender], timeout=REFRESH) if not sender.done() else await asyncio.sleep(
                REFRESH
            )
            if sender.done():
                sender.result()
                if await search.is_hopeless(time.monotonic()):
                    break
            if timeout is not None and time.monotonic() - started > timeout:
                break
        show(replies)
    finally:
        close()
        sender.cancel()
    return sender.done() and not sender.cancelled() and not replies.outstanding


class _DeadLetterSearch:
    """Finds what no reply will tell of: the broker's own dead letters, and requests whose reply was lost."""

    def __init__(self, broker: Broker, queue: str, replies: Replies) -> None:
        self._broker = broker
        self._queue = queue
        self._replies = replies
        self._searched_at_depth = 0
        self._empty_since: float | None = None
        self._idle_since: float | None = None

    async def is_hopeless(self, now: float) -> bool:
        """Count the dead-lettered ones; return whether the others have left the queue without a reply."""
        depth = await self._broker.depth(self._queue)
        if depth is None or depth.messages_ready > 0:
            self._empty_since = self._idle_since = None
            return False
        self._empty_since = self._empty_since or now
        if now - self._empty_since < QUIET_SECONDS:
            return False
        await self._search()
        if depth.messages_unacknowledged != 0:  # in flight, or not known
            self._idle_since = None
            return False
        self._idle_since = self._idle_since or now
        return now - self._idle_since >= SILENT_SECONDS

    async def _search(self) -> None:
        dead_letters = f"{self._queue}.dead"
        depth = await self._broker.depth(dead_letters)
        if depth is None or depth.messages_ready == self._searched_at_depth:
            return
        self._searched_at_depth = depth.messages_ready
        found = await peek(self._broker, dead_letters, MOST_DEAD)
        self._replies.count_dead(request_id_of(delivery) for delivery in found)


def _display(total: int | None) -> tuple[Callable[[Replies], None], Callable[[], None]]:
    """Return what shows the replies, and what ends it: a bar on a terminal, else a line every few seconds."""
    if not sys.stderr.isatty():
        return _plain_lines(), lambda: None
    progress = Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[state]}"),
        console=Console(stderr=True),
    )
    task = progress.add_task("uploads", total=total, state="")
    progress.start()

    def show(replies: Replies) -> None:
        progress.update(task, completed=replies.stored + replies.dead, state=_state(replies))

    return show, progress.stop


def _plain_lines() -> Callable[[Replies], None]:
    last_at, last = time.monotonic(), ""

    def show(replies: Replies) -> None:
        nonlocal last_at, last
        state = _state(replies)
        if state != last and time.monotonic() - last_at >= PLAIN_LINE_EVERY:
            last_at, last = time.monotonic(), state
            click.echo(state, err=True)

    return show


def _state(replies: Replies) -> str:
    p50, p95 = replies.percentiles(recent=True)
    return (
        f"{replies.stored} stored, {replies.failed_attempts} failed attempts, {replies.dead} dead, "
        f"p50 {seconds(p50)}, p95 {seconds(p95)}"
    )
