"""What `upswell top` shows, and what its keys do: one application, or the list of all. Reads no broker."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.text import Text

from upswell.cli.cost import cost_text, total_text
from upswell.cli.live.history import Point, PointHistory
from upswell.cli.live.picture import WRONG, Picture, drawn, fitted, response_text
from upswell.cli.look.status import old_after, problems
from upswell.cli.look.status_table import WARNING, attained, in_flight, workers
from upswell.cli.text import clock, counted, duration, number, seconds
from upswell.safe import safe

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from rich.console import Console, RenderableType

    from upswell.cli.look.parts import PartSeen
    from upswell.cli.look.status import AppState
    from upswell.journal import JournalEntry, JournalReader
    from upswell.settings import Settings

SPANS = (60.0, 300.0, 900.0, 3600.0, 6 * 3600.0)
"""Seconds that the charts may span; the second is the first shown."""
MOST_READ = 20_000
"""Entries of the journal read for the charts, at most."""
DECISIONS_SHOWN = 50
APP_KEYS = "left/right app   a all   p pause   +/- span   q quit"
LIST_KEYS = "up/down choose   enter open   / find   q quit"


class TopScreen:
    """The state of the screen; `apps` are the only applications shown, all where it is empty."""

    def __init__(self, settings: Settings, apps: Collection[str]) -> None:
        self._settings = settings
        self._only = frozenset(apps)
        self._names: list[str] = sorted(apps)
        self._span = 1
        self._history = PointHistory()
        self._decisions: list[JournalEntry] = []
        self._read_from: tuple[str | None, float] = (None, 0.0)
        self._cursor = 0
        self._page = 10
        self._finds: str | None = None
        """What is typed behind `/`; None: nothing is being typed."""
        self._filter = ""
        self.chosen: str | None = None
        self.lists = False
        self.paused = False
        self.quits = False
        self.now = time.time()
        self.state: AppState | None = None
        self.entries: dict[str, JournalEntry | None] = {}
        self.parts: list[PartSeen] = []
        self.trouble = ""

    def know_applications(self, names: Collection[str]) -> None:
        """Take in which applications there are."""
        self._names = sorted(self._only or names)
        if self.chosen is None and self._names:
            self.chosen = self._names[0]

    def read_history(self, journal: JournalReader, now: float) -> None:
        """Read what is new in the journal of the chosen application, or all of the span."""
        since = now - SPANS[self._span] - old_after(self._settings)
        app, begin = self._read_from
        if app != self.chosen or since < begin:
            self._history.clear()
            self._read_from = (self.chosen, since)
        newest = max(since, self._history.newest_at)
        entries = journal.decisions(self.chosen, newest, MOST_READ)
        self._history.add(Point.of(entry.snapshot, entry.decision) for entry in entries)
        assert self.chosen is not None
        self._decisions = journal.decisions(self.chosen, limit=DECISIONS_SHOWN, changed_only=True)

    def read_page(self, journal: JournalReader) -> dict[str, JournalEntry | None]:
        """Return the newest entry of each application on the page of the list."""
        return {app: journal.latest(app) for app in self._visible()}

    def press(self, key: str) -> None:
        """Do what a key stands for."""
        if self._finds is not None:
            self._type(key)
        elif key == "q":
            self.quits = True
        elif self.lists:
            self._press_in_list(key)
        else:
            self._press_in_view(key)

    def drawn(self, console: Console) -> RenderableType:
        """Return what is shown, as large as the console is at this moment."""
        width, height = console.size
        ascii_only = console.options.ascii_only
        if self.lists:
            return self._list(width, height)
        return drawn(self._picture(), width, height, ascii_only=ascii_only)

    def _press_in_view(self, key: str) -> None:
        if key in ("left", "right") and self._names:
            there = self._names.index(self.chosen) if self.chosen in self._names else 0
            self._choose(self._names[(there + (1 if key == "right" else -1)) % len(self._names)])
        elif key == "a":
            self.lists, self.paused = True, False
            self._filter = ""
            self._cursor = self._names.index(self.chosen) if self.chosen in self._names else 0
        elif key in ("p", " "):
            self.paused = not self.paused
        elif key in ("+", "="):
            self._span = min(len(SPANS) - 1, self._span + 1)
        elif key == "-":
            self._span = max(0, self._span - 1)

    def _press_in_list(self, key: str) -> None:
        steps = {"up": -1, "down": 1, "page up": -self._page, "page down": self._page}
        matching = self._matching()
        if key in steps:
            self._cursor = max(0, min(len(matching) - 1, self._cursor + steps[key]))
        elif key == "/":
            self._finds = ""
        elif key == "enter" and matching:
            self._choose(matching[self._cursor])
            self.lists = False
        elif key in ("a", "escape"):
            self.lists = False

    def _type(self, key: str) -> None:
        assert self._finds is not None
        if key in ("enter", "escape"):
            self._filter = self._finds if key == "enter" else ""
            self._finds = None
        elif key == "backspace":
            self._finds = self._finds[:-1]
        elif len(key) == 1:
            self._finds += key
        self._cursor = 0

    def _choose(self, app: str) -> None:
        if app != self.chosen:
            self.chosen, self.state, self.paused = app, None, False

    def _matching(self) -> list[str]:
        wanted = (self._filter if self._finds is None else self._finds).lower()
        return [name for name in self._names if wanted in name.lower()]

    def _visible(self) -> list[str]:
        first = self._cursor // self._page * self._page
        return self._matching()[first : first + self._page]

    def _picture(self) -> Picture:
        state = self.state
        snapshot = state.snapshot if state else None
        times = snapshot.response_time if snapshot else None
        response = response_text(times)
        running = Text("-")
        several = len(self._names) > 1 and self.chosen in self._names
        position = f" ({self._names.index(self.chosen or '') + 1} of {len(self._names)})" if several else ""
        facts: list[tuple[str, Text]] = []
        wrong = [Text(self.trouble, WRONG)] if self.trouble else []
        decisions: list[tuple[str, str, str]] = []
        if state is not None:
            response.append(f"; target {state.slo}")
            if snapshot is not None:
                response.append(": ").append(attained(snapshot.attainment, snapshot.slo.share, old=state.old))
            running = Text(workers(state))
            if state.latest is not None:
                running.append(f"; {state.latest.decision.desired_workers} decided")
            facts = list(_facts(state))
            wrong += [
                Text(safe(problem.words), WARNING if problem.warning else WRONG)
                for problem in problems(state, self.now)
            ]
            decisions = [(clock(e.at), safe(e.decision.reason), "") for e in self._decisions]
        wrong += [Text(f"NO {part.part.upper()}: {part.words}", WRONG) for part in self.parts if not part.ok]
        return Picture(
            title=f"{self.chosen or 'no application yet'}{position}",
            right=self._right(),
            history=self._history,
            slo=snapshot.slo if snapshot else None,
            now=self.now,
            span=SPANS[self._span],
            holds=old_after(self._settings),
            response=response,
            workers=running,
            facts=facts,
            problems=wrong,
            decisions=decisions,
            footer=APP_KEYS,
        )

    def _right(self) -> Text:
        span = f"last {duration(SPANS[self._span])}, "
        return Text.assemble((span, "dim"), ("PAUSED ", WARNING) if self.paused else "", clock(self.now))

    def _list(self, width: int, height: int) -> RenderableType:
        self._page = max(1, height - 4)
        matching = self._matching()
        self._cursor = max(0, min(self._cursor, len(matching) - 1))
        name = max(12, min(64, width - 52))
        found = f"/{self._finds}" if self._finds is not None else f"/{self._filter}" if self._filter else ""
        lines = [
            Text.assemble((counted(len(matching), "application"), "bold"), f"  {found}"),
            Text(f"  {'app':<{name}} {'p95':>8} {'attained':>9} {'queue':>8} {'workers':>8}  alarms", "bold"),
        ]
        first = self._cursor // self._page * self._page
        for row, app in enumerate(self._visible()):
            lines.append(_row(app, self.entries.get(app), name, chosen=first + row == self._cursor))
        lines += [Text()] * (height - len(lines) - 1)
        lines.append(Text(LIST_KEYS, "dim"))
        return fitted(lines, width, height)


def _facts(state: AppState) -> Iterator[tuple[str, Text]]:
    snapshot, bill = state.snapshot, state.latest.bill if state.latest else None
    ready = state.depth.messages_ready if state.depth else None
    queue = Text(f"{number(ready)} waiting, {in_flight(state.in_flight)} in flight")
    if snapshot is not None and snapshot.oldest_age:
        queue.append(f", the oldest {seconds(snapshot.oldest_age)}")
    if snapshot is not None and snapshot.arrival_rate is not None:
        queue.append(f"; {snapshot.arrival_rate:.3g}/s come")
    if snapshot is not None and snapshot.throughput is not None:
        queue.append(f", {snapshot.throughput:.3g}/s stored")
    yield "queue", queue
    if bill is not None:
        hourly = sum(state.workers.values()) * 3600.0
        now = total_text(hourly, state.price_per_worker_hour, state.currency)
        spent = cost_text(bill, state.price_per_worker_hour, state.currency)
        rate = f"{now} an hour, " if state.price_per_worker_hour > 0 else ""
        yield "cost", Text(f"{rate}{spent} so far")


def _row(app: str, entry: JournalEntry | None, name: int, *, chosen: bool) -> Text:
    """Return one line of the list; the chosen one has a mark before it."""
    mark = "> " if chosen else "  "
    if entry is None:
        nothing = f"{mark}{app:<{name}} {'-':>8} {'-':>9} {'-':>8} {'-':>8}  no decision yet"
        return Text(nothing, "reverse" if chosen else "")
    snapshot = entry.snapshot
    times = snapshot.response_time
    share = attained(snapshot.attainment, snapshot.slo.share)
    running = Point.of(snapshot, entry.decision).workers
    line = Text.assemble(
        f"{mark}{app[:name]:<{name}} {seconds(times.p95 if times else None):>8} ",
        (f"{share.plain:>9}", share.style),
        f" {number(snapshot.messages_ready):>8} {running:>8}  ",
        (", ".join(alarm.replace("_", " ") for alarm in entry.decision.alarms), WRONG),
    )
    if chosen:
        line.stylize("reverse")
    return line
