"""`upswell explain`: one recorded decision: its steps, inputs and rejected options."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click
import msgspec
from msgspec.structs import asdict

from upswell.analysis.sentence import headline, quantities, told
from upswell.cli.journals import application, open_journal, parse_time
from upswell.cli.look.choice_view import choice_lines, numbers
from upswell.cli.options import app_option, with_settings
from upswell.cli.text import counted, duration, moment, number, seconds, wrapped
from upswell.errors import JournalError
from upswell.safe import safe

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from upswell.analysis.snapshot import Snapshot
    from upswell.journal import JournalEntry, JournalReader
    from upswell.messages import WorkerCrash
    from upswell.settings import Settings


CRASHES_SHOWN = 5


@click.command("explain")
@click.argument("journal", required=False)
@click.option(
    "--at",
    default="latest",
    show_default=True,
    metavar="TIME",
    help="2026-11-24T14:03:20 (local unless it has a zone), 14:03:20, -5min, seconds since 1970, or latest.",
)
@app_option(required=False, help="Application; optional if the journal has only one.")
@click.option("--choice", is_flag=True, help="Show what slo follows, and what all its settings would cost.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@with_settings("explain", quiet="warning")
def command(  # noqa: PLR0917 - click passes them by name
    journal: str | None, at: str, app: str | None, settings: Settings, choice: bool, as_json: bool
) -> None:
    """Explain the decision in force at TIME.

    It reads JOURNAL: its file, or a state folder (default: state_dir).
    """
    reader = open_journal(journal, settings)
    app = application(reader, app)
    newest = reader.latest(app)
    assert newest is not None  # the journal has this application
    instant = parse_time(at, newest.at, time.time())
    if choice:
        _show_choice(reader, app, instant, as_json=as_json)
        return
    entry = reader.decision_at(app, instant)
    if entry is None:
        oldest = reader.oldest(app)
        since = f"; the oldest is from {moment(oldest.at)}" if oldest else ""
        raise JournalError(f"no decision for {app} at {moment(instant)}{since}")
    crashes = reader.crashes(app, since=entry.at - entry.snapshot.window, until=instant, limit=CRASHES_SHOWN)
    if as_json:
        told_json = {"sentence": entry.decision.reason, **asdict(entry), "crashes": crashes}
        click.echo(msgspec.json.encode(told_json).decode())
        return
    for line in (*explanation(entry, instant), *crash_lines(crashes)):
        click.echo(wrapped(line))


def _show_choice(reader: JournalReader, app: str, instant: float, *, as_json: bool) -> None:
    row = reader.choice_at(app, instant)
    if row is None:
        raise JournalError(
            f"no choice of a setting for {app} by {moment(instant)}: only the policy slo makes one, "
            "once uploads have come"
        )
    if as_json:
        click.echo(
            msgspec.json.encode({**asdict(row), "costs": numbers(row.costs), "late": numbers(row.late)})
        )
        return
    for line in choice_lines(row):
        click.echo(line)


def explanation(entry: JournalEntry, instant: float) -> list[str]:
    """Return the decision as lines: result, steps, inputs, rejected options."""
    decision, snapshot = entry.decision, entry.snapshot
    what = f"{headline(decision)}{', because no decision was possible' if decision.held else ''}"
    age = instant - entry.at
    later = f", {duration(age)} before the requested time" if age >= 1 else ""
    lines = [f"{entry.app_id}, {moment(entry.at)}{later}: {what}", "why:"]
    for step in decision.steps:
        lines.append(safe(f"  {step.who}, {step.before} → {step.after}: {told(step)}"))
        lines += [f"    {name} {value}" for name, value in quantities(step)]
    if decision.rejected:
        lines += ["rejected:", *(safe(f"  {option.who}: {told(option)}") for option in decision.rejected)]
    return [*lines, "signals:", *(f"  {line}" for line in seen(snapshot))]


def crash_lines(crashes: Sequence[WorkerCrash]) -> Iterator[str]:
    """Yield workers that crashed, with their last lines of output."""
    for crash in crashes:
        code = "" if crash.exit_code is None else f", exit code {crash.exit_code}"
        yield f"worker {crash.worker_id} crashed {moment(crash.at)}{code}{':' if crash.last_lines else ''}"
        yield from (f"  {safe(line)}" for line in crash.last_lines.splitlines())


def in_flight(snapshot: Snapshot) -> str:
    """Return how many uploads are in flight, at least and at most; "-": unknown."""
    known, unheard = snapshot.messages_unacknowledged, snapshot.unheard_in_flight
    return number(known) if known is None or not unheard else f"{number(known)} to {number(known + unheard)}"


def seen(snapshot: Snapshot) -> list[str]:
    """Return the signals of a snapshot as lines; "-": unknown."""
    workers = snapshot.workers
    attained = "-" if snapshot.attainment is None else f"{snapshot.attainment:.1%}"
    lines = [
        f"slo {snapshot.slo}, {attained} attained in the last {snapshot.window:g} s",
        (
            f"queue: {number(snapshot.messages_ready)} waiting, oldest {seconds(snapshot.oldest_age)}; "
            f"{in_flight(snapshot)} in flight"
        ),
        f"rates: {number(snapshot.arrival_rate)}/s arriving, {number(snapshot.throughput)}/s stored",
        (
            f"workers: {workers.ready} ready, {workers.busy} busy, {workers.starting} starting, "
            f"{workers.standby} standby, {workers.draining} draining; "
            f"{counted(snapshot.slots_per_worker, 'slot')} each, start-up {seconds(snapshot.start_delay)}"
        ),
    ]
    for name in ("service_time", "waiting_time", "response_time"):
        times = getattr(snapshot, name)
        if times is not None:
            lines.append(
                f"{name.replace('_', ' ')}: mean {seconds(times.mean)}, p50 {seconds(times.p50)}, "
                f"p95 {seconds(times.p95)}, p99 {seconds(times.p99)} of {times.count}"
            )
    if snapshot.failures:
        lines.append(f"failed attempts: {snapshot.failures}")
    if snapshot.stale:
        lines.append(f"stale: {', '.join(snapshot.stale)}")
    if snapshot.warming_up:
        lines.append("warming up: the monitor has not yet seen one full window")
    return lines
