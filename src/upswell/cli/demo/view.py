"""The demo's display: a live table on a terminal, lines elsewhere.

In: decisions, and `Now` several times per second. Out: text. Each decision is a sentence with its numbers.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from upswell.cli.look.status_table import attained
from upswell.cli.text import number, seconds
from upswell.safe import safe
from upswell.scaler.plan import Phase

if TYPE_CHECKING:
    from upswell.analysis.decision import Decision
    from upswell.analysis.snapshot import Snapshot

SHOWN: tuple[Phase, ...] = ("starting", "ready", "draining")
"""The phases in which a worker is counted."""
SENTENCES = 6
LINE_EVERY = 5.0


class Now(Struct, frozen=True, kw_only=True):
    """The demo at one instant."""

    phase: str
    published: int
    planned: int
    stored: int
    workers: dict[Phase, int]


class View(Protocol):
    """Shows the demo."""

    def say(self, sentence: str) -> None:
        """Show a sentence."""
        ...

    def decided(self, snapshot: Snapshot, decision: Decision) -> None:
        """Record a decision; show it if it changes the number of workers."""
        ...

    def show(self, now: Now) -> None:
        """Update the display."""
        ...

    def close(self) -> None:
        """Stop showing."""
        ...


def open_view(console: Console) -> View:
    """Return the view that suits the console."""
    return LiveTable(console) if console.is_terminal else Lines(console)


class _Clock:
    """The seconds since the view was opened."""

    def __init__(self) -> None:
        self._started_at = time.monotonic()

    def elapsed(self) -> float:
        return time.monotonic() - self._started_at


def change(decision: Decision) -> str | None:
    """Return a decision that changes the number of workers as a sentence; None for another."""
    return safe(decision.reason) if decision.desired_workers != decision.before else None


class Lines:
    """Plain lines: events, each change of the number of workers, and the state every few seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._clock = _Clock()
        self._last_at = 0.0
        self._snapshot: Snapshot | None = None

    def say(self, sentence: str) -> None:
        """Print a line."""
        self._console.print(f"{self._clock.elapsed():5.1f}s  {sentence}", markup=False, soft_wrap=True)

    def decided(self, snapshot: Snapshot, decision: Decision) -> None:
        """Print a line for a change."""
        self._snapshot = snapshot
        sentence = change(decision)
        if sentence:
            self.say(sentence)

    def show(self, now: Now) -> None:
        """Print the state every few seconds."""
        if self._clock.elapsed() - self._last_at < LINE_EVERY:
            return
        self._last_at = self._clock.elapsed()
        snapshot = self._snapshot
        times = snapshot.response_time if snapshot else None
        self.say(
            f"[{now.phase}] {now.published} published, {now.stored} stored, "
            f"{number(snapshot.queue_depth if snapshot else None)} in the system, "
            f"p50 {seconds(times.p50 if times else None)}, p95 {seconds(times.p95 if times else None)}, "
            f"workers: {_words(now.workers)}"
        )

    def close(self) -> None:
        """Do nothing."""


class LiveTable:
    """A table updated in place, with the last decisions below it."""

    def __init__(self, console: Console) -> None:
        self._clock = _Clock()
        self._last = deque[Text](maxlen=SENTENCES)
        self._snapshot: Snapshot | None = None
        self._live = Live(console=console, auto_refresh=False)
        self._live.start()

    def say(self, sentence: str) -> None:
        """Add a sentence."""
        self._last.append(Text(f"{self._clock.elapsed():5.1f}s  {sentence}"))

    def decided(self, snapshot: Snapshot, decision: Decision) -> None:
        """Add a sentence for a change."""
        self._snapshot = snapshot
        sentence = change(decision)
        if sentence:
            self._last.append(Text(f"{self._clock.elapsed():5.1f}s  {sentence}", style="bold"))

    def show(self, now: Now) -> None:
        """Draw the table."""
        self._live.update(Group(self._table(now), *self._last), refresh=True)

    def close(self) -> None:
        """Keep the last table on the screen."""
        self._live.stop()

    def _table(self, now: Now) -> Table:
        snapshot = self._snapshot
        times = snapshot.response_time if snapshot else None
        table = Table(show_header=False, title=f"Upswell demo, {self._clock.elapsed():.0f} s: {now.phase}")
        table.add_column(justify="right", style="dim")
        table.add_column(min_width=60)
        table.add_row("uploads", f"{now.published} of {now.planned} published, {now.stored} stored")
        table.add_row(
            "queue",
            f"{number(snapshot.messages_ready if snapshot else None)} waiting, "
            f"{number(snapshot.messages_unacknowledged if snapshot else None)} in flight",
        )
        row = Text(
            f"p50 {seconds(times.p50 if times else None)}, p95 {seconds(times.p95 if times else None)}"
        )
        if snapshot:
            row.append(f"; target {snapshot.slo}: ").append(
                attained(snapshot.attainment, snapshot.slo.share, times)
            )
        table.add_row("response time", row)
        table.add_row("workers", Text(f"{'█' * sum(now.workers.values())} {_words(now.workers)}"))
        return table


def _words(workers: dict[Phase, int]) -> str:
    return ", ".join(f"{count} {phase}" for phase, count in workers.items() if count) or "none"
