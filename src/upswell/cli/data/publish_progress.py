"""The progress of `publish --wait`: a bar on a terminal, otherwise periodic lines."""

from __future__ import annotations

import sys
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
import rich.progress
from rich.console import Console
from rich.text import Text

from upswell.cli.text import counted, hours, seconds, size

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from rich.console import RenderableType

    from upswell.publisher.replies import Replies
    from upswell.publisher.tally import Tally

PLAIN_LINE_EVERY = 2.0
NOTES_EVERY = 30.0
"""Plain notes come at once when they say something new, and with new counts after so long."""
MOST_NOTES = 3
SPAN_SECONDS = 15.0
"""Time span of the marks used to compute the speed."""


class Speedometer:
    """Growth rates of counts, such as files and bytes. Pure: time is passed in."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, tuple[float, ...]]] = deque()

    def mark(self, now: float, *counts: float) -> None:
        """Record the counts at an instant (s)."""
        self._marks.append((now, counts))
        while now - self._marks[0][0] > SPAN_SECONDS and len(self._marks) > 2:  # noqa: PLR2004 - a span has two ends
            self._marks.popleft()

    def speed(self, which: int) -> float | None:
        """Return one count's growth per second over the recent marks; None with fewer than two.

        >>> meter = Speedometer()
        >>> meter.mark(0.0, 10), meter.mark(2.0, 30), meter.speed(0)
        (None, None, 10.0)
        """
        if not self._marks:
            return None
        (begin, first), (end, last) = self._marks[0], self._marks[-1]
        return (last[which] - first[which]) / (end - begin) if end > begin else None

    def seconds_left(self, which: int, left: float) -> float | None:
        """Return the seconds until a count has grown by `left`; None if it does not grow."""
        speed = self.speed(which)
        return left / speed if speed else None


class Progress:
    """Progress as text: bytes, rate, time left, failures."""

    def __init__(
        self,
        replies: Replies,
        tally: Tally,
        total: int | None,
        unconsumed: Callable[[], str] = lambda: "",
    ) -> None:
        """`unconsumed` returns the name of the queue while nobody consumes it."""
        self._unconsumed = unconsumed
        self._replies = replies
        self._tally = tally
        self._known_total = total
        self._speed = Speedometer()

    @property
    def done(self) -> int:
        """Number of stored or dead requests."""
        return self._replies.stored + self._replies.dead

    @property
    def stored(self) -> int:
        """Number of stored requests."""
        return self._replies.stored

    @property
    def total(self) -> int | None:
        """Total number of requests, if known; what was skipped is none of them."""
        return self._tally.sent if self._tally.complete else self._known_total

    def lines(self, now: float) -> tuple[str, str]:
        """Return two lines for `now` (monotonic seconds): speed, and failures with response times.

        Each is shorter than 80 columns.
        """
        replies, tally = self._replies, self._tally
        self._speed.mark(now, self.done, replies.stored_bytes)
        moved = size(replies.stored_bytes)
        if tally.sent_bytes and tally.sizes_known:
            moved = f"{moved} of {size(tally.sent_bytes)}"
        speed = "" if (a_second := self._speed.speed(1)) is None else f", {size(a_second)}/s"
        seconds_left = None if self.total is None else self._seconds_left(self.total)
        left = "" if seconds_left is None else f", {hours(seconds_left)} left"
        p50, p95 = replies.percentiles(recent=True)
        failed = f"{counted(replies.failed_attempts, 'failed attempt')}, {replies.dead:,} dead"
        return f"{moved}{speed}{left}", f"{failed}, p50 {seconds(p50)}, p95 {seconds(p95)}"

    def notes(self) -> list[str]:
        """Return why nothing gets through, if so: nobody consumes, and the newest reasons, counted."""
        queue = self._unconsumed()
        nobody = [f"nobody consumes {queue}: the uploads wait there"] if queue else []
        return nobody + self._replies.reasons.lines(MOST_NOTES)

    def _seconds_left(self, total: int) -> float | None:
        """Return the seconds left, by bytes if all sizes are known, else by files."""
        replies, tally = self._replies, self._tally
        if tally.complete and tally.sizes_known and tally.sent_bytes:
            left = max(0, tally.sent_bytes - replies.stored_bytes - replies.dead_bytes)
            by_bytes = self._speed.seconds_left(1, left)
            if by_bytes is not None:
                return by_bytes
        return self._speed.seconds_left(0, max(0, total - self.done))


@contextmanager
def shown(progress: Progress) -> Generator[Callable[[float], None]]:
    """Yield a function that shows the progress at an instant (monotonic seconds)."""
    if not sys.stderr.isatty():
        yield _plain_lines(progress)
        return
    with Bar(progress, Console(stderr=True)) as bar:
        yield bar.show


class Bar(rich.progress.Progress):
    """A bar with the count, and lines of progress and notes below it, so that nothing is cut off."""

    def __init__(self, progress: Progress, console: Console) -> None:
        self._progress = progress
        self._lines: tuple[str, ...] = ()
        self._notes: list[str] = []
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
        self._notes = self._progress.notes()
        self.update(self._uploads, total=self._progress.total, completed=self._progress.done)

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return what rich draws."""
        if self._progress.total == 0:
            return
        yield from super().get_renderables()
        for line in self._lines:
            yield Text(line, no_wrap=True, overflow="ellipsis")
        for note in self._notes:
            yield Text(note, style="red")


def _plain_lines(progress: Progress) -> Callable[[float], None]:
    last_at, last = time.monotonic(), -1
    noted_at, noted = time.monotonic() - NOTES_EVERY, list[str]()

    def show(now: float) -> None:
        nonlocal last_at, last, noted_at, noted
        lines, notes = progress.lines(now), progress.notes()
        is_new = _uncounted(notes) != _uncounted(noted)
        if notes != noted and now - noted_at >= (PLAIN_LINE_EVERY if is_new else NOTES_EVERY):
            noted_at, noted = now, notes
            for note in notes:
                click.echo(note, err=True)
        if progress.done != last and now - last_at >= PLAIN_LINE_EVERY:
            last_at, last = now, progress.done
            click.echo(", ".join((f"{progress.stored:,} stored", *lines)), err=True)

    return show


def _uncounted(notes: list[str]) -> list[str]:
    return [note.lstrip("0123456789,") for note in notes]
