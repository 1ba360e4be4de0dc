"""`upswell status`: queues, response times against the target, workers, last decisions.

It reads the journal (if the monitor runs on this machine), asks the broker for queue depths, and briefly
listens to worker statuses and to the heartbeats of monitor and scaler.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import click
import msgspec
from msgspec import Struct

from upswell.broker import QueueDepth, topology
from upswell.cli.connection import PATIENCE_SECONDS, connected, run, run_until_stopped
from upswell.cli.cost import cost_json
from upswell.cli.journals import journal_path
from upswell.cli.look.parts import PARTS, PartSeen, judged, listen_for_parts
from upswell.cli.options import app_option, with_settings
from upswell.client.roster import LISTEN_INTERVALS, Roster
from upswell.journal import JournalEntry, JournalReader
from upswell.safe import safe

if TYPE_CHECKING:
    from upswell.broker import Broker
    from upswell.messages import WorkerStatus
    from upswell.settings import Settings

LEAST_OLD_SECONDS = 5.0
OLD_INTERVALS = 3
"""A decision older than so many decision intervals is marked as old."""

DECISIONS = 5


class AppState(Struct, frozen=True, kw_only=True):
    """The state of one application; None: unknown."""

    app_id: str
    slo: str
    upload_queue: str
    depth: QueueDepth | None
    dead: int | None
    workers: dict[str, int]
    busy_slots: int
    slots: int
    latest: JournalEntry | None
    decisions: list[JournalEntry]
    price_per_worker_hour: float = 0.0
    old: bool = False
    """Whether the newest decision is older than a monitor that works would let it become."""

    @property
    def unheard(self) -> int | None:
        """Consumers of which no status was heard: neither `slots` nor `busy_slots` count theirs."""
        return None if self.depth is None else max(0, self.depth.consumers - self.workers.get("ready", 0))


async def look(broker: Broker, settings: Settings, apps: tuple[str, ...], roster: Roster) -> list[AppState]:
    """Return the state of the named applications, else of all in settings, journal and statuses."""
    journal = JournalReader(journal_path(settings))
    workers = roster.workers(time.monotonic())
    known = {*settings.apps, *journal.applications(), *(worker.app_id for worker in workers)}
    return [
        await _look_at(broker, settings, journal, app, [w for w in workers if w.app_id == app])
        for app in apps or sorted(known)
    ]


async def _look_at(
    broker: Broker, settings: Settings, journal: JournalReader, app: str, workers: list[WorkerStatus]
) -> AppState:
    queue = settings.upload_queue_of(app)
    dead = await broker.depth(topology.dead_letter_queue(queue).name)
    latest = journal.latest(app)
    states = [worker.state for worker in workers]
    return AppState(
        app_id=app,
        slo=str(latest.snapshot.slo) if latest else settings.for_app(app).slo,
        upload_queue=queue,
        depth=await broker.depth(queue),
        dead=dead.messages_ready if dead else None,
        workers={state: states.count(state) for state in dict.fromkeys(states)},
        busy_slots=sum(worker.busy for worker in workers),
        slots=sum(worker.slots for worker in workers if worker.state == "ready"),
        latest=latest,
        decisions=journal.decisions(app, limit=DECISIONS, changed_only=True),
        price_per_worker_hour=settings.for_app(app).price_per_worker_hour,
        old=latest is not None
        and time.time() - latest.at > max(LEAST_OLD_SECONDS, OLD_INTERVALS * settings.decision_interval),
    )


@click.command("status")
@app_option(multiple=True, help="Show only this application (repeatable).")
@click.option("--watch", is_flag=True, help="Refresh until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@with_settings("status", quiet="warning")
def command(app: tuple[str, ...], settings: Settings, watch: bool, as_json: bool) -> None:
    """Show each application's queue, response times against the target, workers and last decisions."""
    if watch and as_json:
        raise click.UsageError("--watch and --json cannot be combined")
    (run_until_stopped if watch else run)(_status(settings, app, watch=watch, as_json=as_json))


async def _status(settings: Settings, apps: tuple[str, ...], *, watch: bool, as_json: bool) -> None:
    async with connected(settings, "status", patience=None if watch else PATIENCE_SECONDS) as broker:
        roster = Roster()
        await roster.listen(broker)
        heard = await listen_for_parts(broker, settings)
        listening = asyncio.create_task(asyncio.sleep(LISTEN_INTERVALS * settings.status_interval))
        await heard.wait(*PARTS)
        await listening

        async def look_once() -> tuple[list[AppState], list[PartSeen]]:
            parts = judged(heard, time.monotonic())
            states = await look(broker, settings, apps, roster)
            if not parts[0].ok:  # what it decided last may be fresh still, and will not be followed by more
                states = [msgspec.structs.replace(state, old=state.latest is not None) for state in states]
            return states, parts

        if watch:
            from upswell.cli.look.status_table import watch_states  # noqa: PLC0415 - only for terminals

            await watch_states(look_once)
            return
        states, parts = await look_once()
        if as_json:
            shown = {"at": time.time(), "parts": parts, "apps": [_as_json(s) for s in states]}
            click.echo(msgspec.json.encode(shown).decode())
            return
        from upswell.cli.look.status_table import print_states  # noqa: PLC0415 - as above

        print_states(states, parts)


def _as_json(state: AppState) -> dict[str, Any]:
    latest = state.latest
    return {
        "app_id": state.app_id,
        "slo": state.slo,
        "upload_queue": state.upload_queue,
        "depth": state.depth,
        "dead": state.dead,
        "workers": state.workers,
        "busy_slots": state.busy_slots,
        "slots": state.slots,
        "unheard": state.unheard,
        "snapshot": latest.snapshot if latest else None,
        "desired_workers": latest.decision.desired_workers if latest else None,
        "decided_at": latest.at if latest else None,
        "old": state.old,
        "alarms": latest.decision.alarms if latest else (),
        "cost": cost_json(latest.bill if latest else None, state.price_per_worker_hour),
        "decisions": [
            {"at": e.at, "desired_workers": e.decision.desired_workers, "reason": safe(e.decision.reason)}
            for e in state.decisions
        ],
    }
