"""`publish --wait`: publishes while it watches the replies, and shows how far they are."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING

import click
import rich.progress
from rich.console import Console
from rich.text import Text

from upswell.cli.data.dead_letters import request_id_of
from upswell.cli.data.meter import Meter
from upswell.cli.text import counted, hours, seconds, size
from upswell.publisher.replies import peek

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from rich.console import RenderableType

    from upswell.broker import Broker
    from upswell.cli.data.publish_tally import Tally
    from upswell.publisher.replies import Replies

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
    tally: Tally,
    total: int | None,
    timeout: float | None,
    each_round: Callable[[], None] = lambda: None,
) -> bool:
    """Run `sending` and wait until each expected id is stored or dead; return whether all are.

    `total` requests will be published, where that is known; else as many as `tally` counts. After `timeout`
    seconds it gives up; without it, it waits as long as there is something to wait for. `each_round` is
    called several times a second.
    """
    sender = asyncio.ensure_future(sending)
    search = _DeadLetterSearch(broker, queue, replies)
    started = time.monotonic()
    show, close = _display(Progress(replies, tally, total))
    try:
        while not (sender.done() and not replies.outstanding):
            show(time.monotonic())
            each_round()
            await asyncio.wait([sender], timeout=REFRESH) if not sender.done() else await asyncio.sleep(
                REFRESH
            )
            if sender.done():
                sender.result()
                if await search.is_hopeless(time.monotonic()):
                    break
            if timeout is not None and time.monotonic() - started > timeout:
                break
        show(time.monotonic())
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


class Progress:
    """How far it is, in words: bytes, rate, time left, failures."""

    def __init__(self, replies: Replies, tally: Tally, total: int | None) -> None:
        self._replies = replies
        self._tally = tally
        self._known_total = total
        self._meter = Meter()

    @property
    def done(self) -> int:
        """How many requests are stored or dead."""
        return self._replies.stored + self._replies.dead

    @property
    def stored(self) -> int:
        """How many are stored."""
        return self._replies.stored

    @property
    def total(self) -> int | None:
        """How many there will be, where that is known."""
        if self._known_total is not None:
            return self._known_total
        return self._tally.sent if self._tally.complete else None

    def lines(self, now: float) -> tuple[str, str]:
        """Return the state at `now` (monotonic seconds): how fast it goes, and how well.

        Each is below 80 columns, whatever the figures.
        """
        replies, tally = self._replies, self._tally
        self._meter.mark(now, self.done, replies.stored_bytes)
        moved = size(replies.stored_bytes)
        if tally.sent_bytes and tally.sizes_known:
            moved = f"{moved} of {size(tally.sent_bytes)}"
        speed = f"{size(self._meter.speed(1) or 0.0)}/s"
        left = "" if self.total is None else f", {hours(self._seconds_left(self.total))} left"
        p50, p95 = replies.percentiles(recent=True)
        failed = f"{counted(replies.failed_attempts, 'failed attempt')}, {replies.dead:,} dead"
        return f"{moved}, {speed}{left}", f"{failed}, p50 {seconds(p50)}, p95 {seconds(p95)}"

    def _seconds_left(self, total: int) -> float | None:
        """Return the seconds left, by bytes where all sizes are known, else by files."""
        replies, tally = self._replies, self._tally
        if tally.complete and tally.sizes_known and tally.sent_bytes:
            left = max(0, tally.sent_bytes - replies.stored_bytes - replies.dead_bytes)
            by_bytes = self._meter.seconds_left(1, left)
            if by_bytes is not None:
                return by_bytes
        return self._meter.seconds_left(0, max(0, total - self.done))


def _display(progress: Progress) -> tuple[Callable[[float], None], Callable[[], None]]:
    """Return what shows the progress, and what ends it: a bar on a terminal, else a line now and then."""
    if not sys.stderr.isatty():
        return _plain_lines(progress), lambda: None
    bar = Bar(progress, Console(stderr=True))
    bar.start()
    return bar.show, bar.stop


class Bar(rich.progress.Progress):
    """A bar with the count, and the progress's lines below it: three lines, so that nothing is cut."""

    def __init__(self, progress: Progress, console: Console) -> None:
        self._progress = progress
        self._lines: tuple[str, ...] = ()
        super().__init__(
            rich.progress.BarColumn(bar_width=None),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TimeElapsedColumn(),
            console=console,
            expand=True,
        )
        self._uploads = self.add_task("uploads", total=progress.total)

    def show(self, now: float) -> None:
        """Show the state at `now` (monotonic seconds)."""
        self._lines = self._progress.lines(now)
        self.update(self._uploads, total=self._progress.total, completed=self._progress.done)

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return what rich draws."""
        yield from super().get_renderables()
        for line in self._lines:
            yield Text(line, no_wrap=True, overflow="ellipsis")


def _plain_lines(progress: Progress) -> Callable[[float], None]:
    last_at, last = time.monotonic(), -1

    def show(now: float) -> None:
        nonlocal last_at, last
        lines = progress.lines(now)
        if progress.done != last and now - last_at >= PLAIN_LINE_EVERY:
            last_at, last = now, progress.done
            click.echo(", ".join((f"{progress.stored:,} stored", *lines)), err=True)

    return show
