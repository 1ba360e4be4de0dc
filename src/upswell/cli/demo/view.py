"""The demo's display: the view of `upswell top` on a terminal, lines elsewhere.

In: sentences as decisions are made, and `Now` several times per second. Out: text.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from msgspec import Struct
from rich.live import Live
from rich.text import Text

from upswell.cli.live.history import Point, PointHistory
from upswell.cli.live.picture import Picture, drawn, response_text
from upswell.cli.look.status_table import attained
from upswell.cli.text import number
from upswell.safe import safe
from upswell.scaler.plan import Phase

if TYPE_CHECKING:
    from rich.console import Console

    from upswell.analysis.decision import Decision
    from upswell.analysis.snapshot import Snapshot

SHOWN: tuple[Phase, ...] = ("starting", "ready", "draining")
"""The phases in which a worker is counted."""
SENTENCES = 6
LINE_EVERY = 5.0
HEIGHT = 22
"""Lines of the view, where the terminal has as many."""
SPAN = 45.0
"""Seconds that the charts span at least."""
HOLDS = 3.0
"""Seconds for which a round's figures stand."""


class Now(Struct, frozen=True, kw_only=True):
    """The demo at one instant."""

    phase: str
    published: int
    planned: int
    stored: int
    workers: dict[Phase, int]


class View:
    """Shows the demo; `snapshot` is the newest."""

    def __init__(self, console: Console) -> None:
        self.snapshot: Snapshot | None = None
        self._console = console
        self._started_at = time.monotonic()

    def take(self, snapshot: Snapshot, decision: Decision) -> None:  # noqa: ARG002 - for those that draw it
        """Take in a round of the monitor."""
        self.snapshot = snapshot

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


def open_view(console: Console) -> View:
    """Return the view that suits the console."""
    return LiveView(console) if console.is_terminal else Lines(console)


def change(decision: Decision) -> str | None:
    """Return a decision that changes the number of workers as a sentence; None for another."""
    return safe(decision.reason) if decision.desired_workers != decision.before else None


class Lines(View):
    """Plain lines: events, and the state every few seconds."""

    _last_at = 0.0

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
            f"{response_text(self.snapshot.response_time if self.snapshot else None).plain}, "
            f"workers: {_words(now.workers)}"
        )


class LiveView(View):
    """The view of `upswell top`, drawn over itself; the last one stays on the screen."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._said = deque[tuple[str, str, str]](maxlen=SENTENCES)
        self._history = PointHistory()
        self._live = Live(console=console, auto_refresh=False)
        self._live.start()

    def say(self, sentence: str, style: str = "") -> None:
        """Add a sentence."""
        self._said.append((f"{self._elapsed:5.1f}s", sentence, style))

    def take(self, snapshot: Snapshot, decision: Decision) -> None:
        """Take in a round, and its point for the charts."""
        super().take(snapshot, decision)
        self._history.add([Point.of(snapshot, decision)])

    def show(self, now: Now) -> None:
        """Draw it."""
        width, height = self._console.size
        shown = drawn(
            self._picture(now), width, min(HEIGHT, height - 1), ascii_only=self._console.options.ascii_only
        )
        self._live.update(shown, refresh=True)

    def close(self) -> None:
        """Keep the last view on the screen."""
        self._live.stop()

    def _picture(self, now: Now) -> Picture:
        snapshot = self.snapshot
        response = response_text(snapshot.response_time if snapshot else None)
        if snapshot:
            response.append(f"; target {snapshot.slo}: ")
            response.append(attained(snapshot.attainment, snapshot.slo.share))
        waiting = number(snapshot.messages_ready if snapshot else None)
        in_flight = number(snapshot.messages_unacknowledged if snapshot else None)
        uploads = f"{now.published} of {now.planned} published, {now.stored} stored"
        return Picture(
            title=f"Upswell demo, {self._elapsed:.0f} s: {now.phase}",
            right=Text(),
            history=self._history,
            slo=snapshot.slo if snapshot else None,
            now=snapshot.at if snapshot else 0.0,
            span=max(SPAN, self._elapsed),
            holds=HOLDS,
            response=response,
            workers=Text(_words(now.workers)),
            facts=(
                ("queue", Text(f"{waiting} waiting, {in_flight} in flight")),
                ("uploads", Text(uploads)),
            ),
            decisions=tuple(self._said),
        )


def _words(workers: dict[Phase, int]) -> str:
    return ", ".join(f"{count} {phase}" for phase, count in workers.items() if count) or "none"
