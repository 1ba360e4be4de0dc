"""`upswell status`: queues, response times against the target, workers, last decisions.

It reads the journal (if the monitor runs on this machine), asks the broker for queue depths, and briefly
listens to worker statuses and to the heartbeats of monitor and scaler.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import click
import msgspec
from msgspec import Struct

from upswell.analysis.cold_start import cold_start
from upswell.analysis.decision import BY_HAND
from upswell.analysis.sentence import told
from upswell.broker import QueueDepth, topology
from upswell.cli.connection import PATIENCE_SECONDS, connected, run, run_until_stopped
from upswell.cli.cost import cost_json
from upswell.cli.journals import journal_path
from upswell.cli.look.parts import PARTS, PartSeen, judged, listen_for_parts
from upswell.cli.options import app_option, with_settings
from upswell.cli.text import counted, duration
from upswell.client.roster import Roster, listen_seconds
from upswell.journal import JournalEntry, JournalReader
from upswell.safe import safe

if TYPE_CHECKING:
    from upswell.analysis.decision import Step
    from upswell.analysis.snapshot import Snapshot
    from upswell.broker import Broker
    from upswell.messages import WorkerStatus
    from upswell.settings import Settings

LEAST_OLD_SECONDS = 5.0
OLD_INTERVALS = 3
"""A decision older than so many decision intervals is marked as old."""

DECISIONS = 5


class InFlight(Struct, frozen=True):
    """Uploads in flight, None: unknown; `or_more`: others may be with workers of which nothing was heard."""

    count: int | None
    or_more: bool = False


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
    currency: str = ""
    cold_start: str = ""
    """Why an upload that finds no worker is late whatever is decided; empty where it need not be."""
    old: bool = False
    """Whether the newest decision is older than a monitor that works would let it become."""

    @property
    def snapshot(self) -> Snapshot | None:
        """The monitor's newest snapshot; its figures may be `old`."""
        return self.latest.snapshot if self.latest else None

    @property
    def by_hand(self) -> Step | None:
        """What an operator has set, as the newest decision says; None where the policy decides."""
        steps = self.latest.decision.steps if self.latest else ()
        return next((step for step in steps if step.who == BY_HAND), None)

    @property
    def in_flight(self) -> InFlight:
        """How many uploads are in flight: as the broker, the monitor or the workers say."""
        snapshot = None if self.old else self.snapshot
        if self.depth is None:
            return InFlight(None)
        if self.depth.messages_unacknowledged is not None:
            return InFlight(self.depth.messages_unacknowledged)
        if snapshot is not None and snapshot.messages_unacknowledged is not None:
            return InFlight(snapshot.messages_unacknowledged, or_more=snapshot.unheard_in_flight > 0)
        if self.unheard and not self.busy_slots:
            return InFlight(None)
        return InFlight(self.busy_slots, or_more=bool(self.unheard))

    @property
    def unheard(self) -> int | None:
        """Consumers of which no status was heard: neither `slots` nor `busy_slots` count theirs."""
        return None if self.depth is None else max(0, self.depth.consumers - self.workers.get("ready", 0))


async def look(
    broker: Broker, settings: Settings, apps: tuple[str, ...], roster: Roster, *, decisions: int = DECISIONS
) -> list[AppState]:
    """Return the state of the named applications, else of all in settings, journal and statuses.

    `decisions`: how many of the newest that changed something each has; 0: they are not looked for.
    """
    journal = JournalReader(journal_path(settings))
    workers = roster.workers(time.monotonic())
    if not apps:
        known = {*settings.apps, *journal.applications(), *(worker.app_id for worker in workers)}
        apps = tuple(sorted(known))
    return [
        await _look_at(
            broker, settings, journal, app, [w for w in workers if w.app_id == app], decisions=decisions
        )
        for app in apps
    ]


def old_after(settings: Settings) -> float:
    """Return the seconds after which a decision is old: a monitor that works has made another by then."""
    return max(LEAST_OLD_SECONDS, OLD_INTERVALS * settings.decision_interval)


async def _look_at(
    broker: Broker,
    settings: Settings,
    journal: JournalReader,
    app: str,
    workers: list[WorkerStatus],
    *,
    decisions: int,
) -> AppState:
    queue = settings.upload_queue_of(app)
    dead = await broker.depth(topology.dead_letter_queue(queue).name)
    latest, own = journal.latest(app), settings.for_app(app)
    return AppState(
        app_id=app,
        slo=str(latest.snapshot.slo) if latest else own.slo,
        upload_queue=queue,
        depth=await broker.depth(queue),
        dead=dead.messages_ready if dead else None,
        workers=dict(Counter(worker.state for worker in workers)),
        busy_slots=sum(worker.busy for worker in workers),
        slots=sum(worker.slots for worker in workers if worker.state == "ready"),
        latest=latest,
        decisions=journal.decisions(app, limit=decisions, changed_only=True) if decisions else [],
        price_per_worker_hour=own.price_per_worker_hour,
        currency=own.currency,
        cold_start=cold_start(own, latest.snapshot.start_delay if latest else None),
        old=latest is not None and time.time() - latest.at > old_after(settings),
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


class StatusProblem(Struct, frozen=True):
    """What is wrong with an application, in words; a `warning` may pass by itself."""

    words: str
    warning: bool = False


def problems(state: AppState, now: float) -> list[StatusProblem]:
    """Return what is wrong, the worst first."""
    found: list[StatusProblem] = []
    snapshot = state.snapshot
    if state.latest is None or snapshot is None:
        found.append(StatusProblem("no decision yet: does a monitor run on this machine?", warning=True))
    elif state.old:
        age = duration(max(0.0, now - state.latest.at))
        found.append(StatusProblem(f"the last decision is {age} old, and so are its figures", warning=True))
    else:
        alarms = ", ".join(alarm.replace("_", " ") for alarm in state.latest.decision.alarms)
        if alarms:
            found.append(StatusProblem(f"ALARM {alarms}: {state.latest.decision.reason}"))
        found += [
            StatusProblem(f"{safe(str(reason))} (in the last {snapshot.window:g} s)", warning=not alarms)
            for reason in snapshot.failure_reasons
        ]
        if snapshot.misses:
            late = f"{snapshot.attainment:.1%} within {snapshot.slo.seconds:g} s"
            found.append(StatusProblem(f"target missed: {late}, {snapshot.slo.share * 100:g}% wanted"))
    if state.by_hand is not None:
        found.append(StatusProblem(told(state.by_hand), warning=True))
    elif state.depth and state.depth.messages_ready and not state.depth.consumers:
        found.append(StatusProblem(f"{counted(state.depth.messages_ready, 'upload')} queued and no worker"))
    if state.dead:
        how = f"upswell dead list --app {state.app_id}"
        found.append(StatusProblem(f"{counted(state.dead, 'dead upload')}, see: {how}"))
    if state.cold_start:
        found.append(StatusProblem(state.cold_start, warning=True))
    if state.unheard:
        found.append(StatusProblem(f"{counted(state.unheard, 'consumer')} without a status", warning=True))
    return found


async def _status(settings: Settings, apps: tuple[str, ...], *, watch: bool, as_json: bool) -> None:
    async with connected(settings, "status", patience=None if watch else PATIENCE_SECONDS) as broker:
        roster = Roster()
        await roster.listen(broker)
        heard = await listen_for_parts(broker, settings)
        listening = asyncio.create_task(asyncio.sleep(listen_seconds(settings.status_interval)))
        await heard.wait_for_all(*PARTS)
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
            now = time.time()
            shown = {"at": now, "parts": parts, "apps": [_as_json(s, now) for s in states]}
            click.echo(msgspec.json.encode(shown).decode())
            return
        from upswell.cli.look.status_table import print_states  # noqa: PLC0415 - as above

        print_states(states, parts)


def _as_json(state: AppState, now: float) -> dict[str, Any]:
    latest = state.latest
    return {
        "app_id": state.app_id,
        "slo": state.slo,
        "upload_queue": state.upload_queue,
        "depth": state.depth,
        "in_flight": state.in_flight.count,
        "dead": state.dead,
        "workers": state.workers,
        "busy_slots": state.busy_slots,
        "slots": state.slots,
        "unheard": state.unheard,
        "snapshot": latest.snapshot if latest else None,
        "desired_workers": latest.decision.desired_workers if latest else None,
        "decided_at": latest.at if latest else None,
        "old": state.old,
        "by_hand": _by_hand(state.by_hand),
        "alarms": latest.decision.alarms if latest else (),
        "problems": [problem.words for problem in problems(state, now)],
        "cost": cost_json(latest.bill if latest else None, state.price_per_worker_hour, state.currency),
        "decisions": [
            {"at": e.at, "desired_workers": e.decision.desired_workers, "reason": safe(e.decision.reason)}
            for e in state.decisions
        ],
    }


def _by_hand(step: Step | None) -> dict[str, Any] | None:
    return None if step is None else {"until": None, **step.inputs, "told": safe(told(step))}
