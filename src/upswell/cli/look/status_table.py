"""The state of applications for a terminal, once or repeatedly: one row each, then what is behind it.

Where the terminal is too narrow for all columns, some of them become a line below the table. What is wrong
is red, and always said in words too.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from upswell.cli.cost import cost_text
from upswell.cli.look.status import problems
from upswell.cli.text import clock, number, seconds, terminal_width
from upswell.safe import safe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from rich.console import RenderableType

    from upswell.cli.look.parts import PartSeen
    from upswell.cli.look.status import AppState, InFlight

    Seen = tuple[list[AppState], list[PartSeen]]

REFRESH = 1.0
WIDE = 110
"""Columns where there is no terminal and COLUMNS is not set."""
WRONG, WARNING = "bold red", "yellow"


def console() -> Console:
    """Return the console for tables: as wide as COLUMNS says or the terminal is, else `WIDE`."""
    return Console(width=WIDE) if terminal_width() is None else Console()


def print_states(states: list[AppState], parts: list[PartSeen]) -> None:
    """Print the state once."""
    out = console()
    out.print(_shown(states, parts, time.time(), out.width))


async def watch_states(look: Callable[[], Awaitable[Seen]]) -> None:
    """Show the state until cancelled; without a terminal, print it repeatedly."""
    out = console()
    if not out.is_terminal:
        while True:
            print_states(*await look())
            await asyncio.sleep(REFRESH)
    with Live(console=out, auto_refresh=False, screen=False) as live:
        while True:
            live.update(_shown(*await look(), time.time(), out.width), refresh=True)
            await asyncio.sleep(REFRESH)


def _shown(states: list[AppState], parts: list[PartSeen], now: float, width: int) -> RenderableType:
    health = [line for part in parts for line in (_part(part), *_notes(part))]
    if not states:
        nothing = "no applications: none in the settings or the journal, and no worker sends a status"
        return Group(Text(nothing), *health)
    wide = _overview(states, wide=True)
    is_wide = Console(width=10_000).measure(wide).maximum <= width
    behind = [part for state in states for part in _behind(state, now, is_wide=is_wide)]
    return Group(wide if is_wide else _overview(states, wide=False), *health, *behind)


def _part(seen: PartSeen) -> Text:
    """Return a line on the monitor or the scaler; what is wrong stands out in words, too."""
    if seen.ok:
        return Text(f"{seen.part} {seen.words}", "dim")
    return Text(f"NO {seen.part.upper()}: {seen.words}", WRONG)


def _notes(seen: PartSeen) -> list[Text]:
    """Return what the platform does not do: workers that are pending, a quota."""
    return [Text(f"  {safe(note)}", WARNING) for note in seen.notes]


def _overview(states: list[AppState], *, wide: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("app", *(("target",) if wide else ())):
        table.add_column(title, overflow="fold")
    for title in ("queue", "in flight", "dead", *(("p50",) if wide else ()), "p95", "attained"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("workers", justify="left" if wide else "right", no_wrap=True)
    table.add_column("busy slots", justify="right", no_wrap=True)
    if wide:
        table.add_column("cost", no_wrap=True)
    for state in states:
        table.add_row(*_row(state, wide=wide))
    return table


def _row(state: AppState, *, wide: bool) -> Iterator[Text | str]:
    snapshot = state.snapshot
    times = snapshot.response_time if snapshot else None
    ready = state.depth.messages_ready if state.depth else None
    yield state.app_id
    if wide:
        yield state.slo
    yield Text(number(ready), style=WRONG if ready and state.depth and not state.depth.consumers else "")
    yield in_flight(state.in_flight) if state.depth else "-"
    yield Text(number(state.dead), style=WRONG if state.dead else "")
    if wide:
        yield _aged(seconds(times.p50 if times else None), old=state.old)
    yield _aged(seconds(times.p95 if times else None), old=state.old)
    share = snapshot.slo.share if snapshot else 0.0
    yield attained(snapshot.attainment if snapshot else None, share, old=state.old)
    yield workers(state) if wide else number(sum(state.workers.values()) + (state.unheard or 0))
    yield f"{state.busy_slots} of {state.slots}"
    if wide:
        yield _cost(state)


def workers(state: AppState) -> str:
    """Return how many workers are in which state, and how many consumers said nothing of theirs."""
    counts = {**state.workers, "not heard": state.unheard} if state.unheard else state.workers
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "no workers"


def in_flight(known: InFlight) -> str:
    """Return the number of uploads in flight, or that it is not known."""
    if known.count is None:
        return "unknown"
    return f"{number(known.count)}{' or more' if known.or_more else ''}"


def attained(attainment: float | None, share: float, *, old: bool = False) -> Text:
    """Return the share of uploads within the target: green if it is met, else red; no colour if old."""
    if attainment is None:
        return Text("-")
    if old:
        return _aged(f"{attainment:.1%}", old=True)
    return Text(f"{attainment:.1%}", style="green" if attainment >= share else WRONG)


def _aged(figure: str, *, old: bool) -> Text:
    """Return a figure of the newest decision; one that is old says so in a word."""
    return Text(f"{figure} old", "dim") if old and figure != "-" else Text(figure)


def _cost(state: AppState) -> str:
    bill = state.latest.bill if state.latest else None
    return cost_text(bill, state.price_per_worker_hour, state.currency)


def _behind(state: AppState, now: float, *, is_wide: bool) -> Iterator[RenderableType]:
    """Yield, below a line with the application's name, what is wrong and what was decided last."""
    yield Text.assemble("\n", (state.app_id, "bold"))
    if not is_wide:
        times = state.snapshot.response_time if state.snapshot else None
        p50 = f", p50 {seconds(times.p50)}" if times else ""
        yield indented(Text(f"target {state.slo}{p50}; {workers(state)}"))
        if state.latest and state.latest.bill:
            yield indented(Text(f"cost {_cost(state)}"))
    for problem in problems(state, now):
        style = WARNING if problem.warning else WRONG
        yield indented(Text(safe(problem.words), style))
    decisions = Table.grid(padding=(0, 2, 0, 0))
    decisions.add_column(no_wrap=True)
    decisions.add_column(overflow="fold")
    for entry in state.decisions:
        decisions.add_row(clock(entry.at), Text(safe(entry.decision.reason)))
    if state.decisions:
        yield indented(decisions)


def indented(part: RenderableType) -> Padding:
    """Return what stands below an application's name."""
    return Padding(part, (0, 0, 0, 2), expand=False)
