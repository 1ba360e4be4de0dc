"""The demo's display: a live table on a terminal, lines elsewhere.

In: sentences as decisions are made, and `Now` several times per second. Out: text.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

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


class View:
    """Shows the demo; `snapshot` is the newest."""

    def __init__(self) -> None:
        self.snapshot: Snapshot | None = None
        self._started_at = time.monotonic()

    def say(self, sentence: str, style: str = "") -> None:
        """Show a sentence."""
        raise NotImplementedError

    def show(self, now: Now) -> None:
        """Update the display."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop showing."""

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._started_at

    def _response_times(self) -> str:
        times = self.snapshot.response_time if self.snapshot else None
        return f"p50 {seconds(times.p50 if times else None)}, p95 {seconds(times.p95 if times else None)}"


def open_view(console: Console) -> View:
    """Return the view that suits the console."""
    return LiveTable(console) if console.is_terminal else Lines(console)


def change(decision: Decision) -> str | None:
    """Return a decision that changes the number of workers as a sentence; None for another."""
    return safe(decision.reason) if decision.desired_workers != decision.before else None


class Lines(View):
    """Plain lines: events, and the state every few seconds."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._last_at = 0.0

    def say(self, sentence: str, style: str = "") -> None:  # noqa: ARG002 - plain
        """Print a line."""
        self._console.print(f"{self._elapsed:5.1f}s  {sentence}", markup=False, soft_wrap=True)

    def show(self, now: Now) -> None:
        """Print the state every few seconds."""
        if self._elapsed - self._last_at < LINE_EVERY:
            return
        self._last_at = self._elapsed
        self.say(
            f"[{now.phase}] {now.published} published, {now.stored} stored, "
            f"{number(self.snapshot.queue_depth if self.snapshot else None)} in the system, "
            f"{self._response_times()}, workers: {_words(now.workers)}"
        )


class LiveTable(View):
    """A table updated in place, with the last decisions below it."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._last = deque[Text](maxlen=SENTENCES)
        self._live = Live(console=console, auto_refresh=False)
        self._live.start()

    def say(self, sentence: str, style: str = "") -> None:
        """Add a sentence."""
        self._last.append(Text(f"{self._elapsed:5.1f}s  {sentence}", style=style))

    def show(self, now: Now) -> None:
        """Draw the table."""
        self._live.update(Group(self._table(now), *self._last), refresh=True)

    def close(self) -> None:
        """Keep the last table on the screen."""
        self._live.stop()

    def _table(self, now: Now) -> Table:
        snapshot = self.snapshot
        table = Table(show_header=False, title=f"Upswell demo, {self._elapsed:.0f} s: {now.phase}")
        table.add_column(justify="right", style="dim")
        table.add_column(min_width=60)
        table.add_row("uploads", f"{now.published} of {now.planned} published, {now.stored} stored")
        table.add_row(
            "queue",
            f"{number(snapshot.messages_ready if snapshot else None)} waiting, "
            f"{number(snapshot.messages_unacknowledged if snapshot else None)} in flight",
        )
        row = Text(self._response_times())
        if snapshot:
            row.append(f"; target {snapshot.slo}: ").append(attained(snapshot.attainment, snapshot.slo.share))
        table.add_row("response time", row)
        table.add_row("workers", Text(f"{'█' * sum(now.workers.values())} {_words(now.workers)}"))
        return table


def _words(workers: dict[Phase, int]) -> str:
    return ", ".join(f"{count} {phase}" for phase, count in workers.items() if count) or "none"
