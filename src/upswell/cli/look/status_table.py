"""The state of applications as tables for a terminal, once or repeatedly."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from upswell.cli.cost import cost_text
from upswell.cli.text import clock, number, seconds
from upswell.safe import safe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from upswell.analysis.snapshot import Percentiles
    from upswell.cli.look.parts import PartSeen
    from upswell.cli.look.status import AppState

    Seen = tuple[list[AppState], list[PartSeen]]

REFRESH = 1.0
WIDE = 110


def console() -> Console:
    """Return the console for tables: as wide as the terminal, or `WIDE` without one."""
    return Console() if sys.stdout.isatty() else Console(width=WIDE)


def print_states(states: list[AppState], parts: list[PartSeen]) -> None:
    """Print the tables once."""
    console().print(_tables(states, parts, time.time()))


async def watch_states(look: Callable[[], Awaitable[Seen]]) -> None:
    """Show the tables until cancelled; without a terminal, print them repeatedly."""
    out = console()
    if not out.is_terminal:
        while True:
            print_states(*await look())
            await asyncio.sleep(REFRESH)
    with Live(console=out, auto_refresh=False, screen=False) as live:
        while True:
            live.update(_tables(*await look(), time.time()), refresh=True)
            await asyncio.sleep(REFRESH)


def _tables(states: list[AppState], parts: list[PartSeen], now: float) -> Group:
    health = [_part(part) for part in parts]
    if not states:
        nothing = "no applications: none in the settings or the journal, and no worker sends a status"
        return Group(Text(nothing), *health)
    overview = Table(
        "app", "target", "queue", "in flight", "dead", "p50", "p95", "attained", "workers", "busy slots",
        "cost",
    )  # fmt: skip
    for state in states:
        overview.add_row(*_row(state))
    return Group(overview, *health, *(decision for state in states for decision in _decisions(state, now)))


def _part(seen: PartSeen) -> Text:
    """Return a line on the monitor or the scaler; what is wrong stands out in words, too."""
    if seen.ok:
        return Text(f"{seen.part} {seen.words}", "dim")
    return Text(f"NO {seen.part.upper()}: {seen.words}", "bold red")


def _row(state: AppState) -> tuple[Text | str, ...]:
    snapshot = state.latest.snapshot if state.latest else None
    times = snapshot.response_time if snapshot else None
    return (
        state.app_id,
        state.slo,
        number(state.depth.messages_ready if state.depth else None),
        number(state.depth.messages_unacknowledged if state.depth else None),
        number(state.dead),
        _aged(seconds(times.p50 if times else None), old=state.old),
        _aged(seconds(times.p95 if times else None), old=state.old),
        attained(
            snapshot.attainment if snapshot else None,
            snapshot.slo.share if snapshot else 0.0,
            times,
            old=state.old,
        ),
        workers(state),
        f"{state.busy_slots} of {state.slots}",
        cost_text(state.latest.bill if state.latest else None, state.price_per_worker_hour),
    )


def _aged(figure: str, *, old: bool) -> Text:
    """Return a figure of the newest decision; one that is old says so in a word."""
    return Text(f"{figure} old", "dim") if old and figure != "-" else Text(figure)


def workers(state: AppState) -> str:
    """Return how many workers are in which state, and how many consumers said nothing of theirs."""
    counts = {**state.workers, "not heard": state.unheard} if state.unheard else state.workers
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"


def attained(attainment: float | None, share: float, times: Percentiles | None, *, old: bool = False) -> Text:
    """Return the share of uploads within the target: green if it is met, else red; no colour if old."""
    if attainment is None or times is None:
        return Text("-")
    if old:
        return _aged(f"{attainment:.1%}", old=True)
    return Text(f"{attainment:.1%}", style="green" if attainment >= share else "bold red")


def _decisions(state: AppState, now: float) -> list[Text]:
    lines: list[Text] = []
    if state.latest is None:
        lines.append(Text(f"{state.app_id}: no decision yet (is a monitor running on this machine?)", "dim"))
    elif state.old:
        age = f"{now - state.latest.at:.0f} s old"
        lines.append(Text(f"{state.app_id}: the last decision is {age}, and so are its figures", "yellow"))
    else:
        alarms = ", ".join(alarm.replace("_", " ") for alarm in state.latest.decision.alarms)
        if alarms:
            words = f"{state.app_id}: ALARM {alarms}: {state.latest.decision.reason}"
            lines.append(Text(safe(words), "bold red"))
    sentences = (f"{clock(e.at)} {state.app_id}: {e.decision.reason}" for e in state.decisions)
    return [*lines, *(Text(safe(sentence)) for sentence in sentences)]
