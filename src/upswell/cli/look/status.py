"""`upswell status`: queues, response times against the target, workers, last decisions.

It reads the journal (where the monitor runs on this machine), asks the broker for depths, and listens for a
moment to what workers say of themselves.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import click
import msgspec

from upswell.cli.connection import PATIENCE_SECONDS, connected, run, run_until_stopped
from upswell.cli.cost import cost_json
from upswell.cli.look.status_state import AppState, Roster, look
from upswell.cli.options import app_option, with_settings
from upswell.safe import safe

if TYPE_CHECKING:
    from upswell.settings import Settings

LISTEN_INTERVALS = 1.3
"""How long to listen, in status intervals: every worker speaks once in one."""


@click.command("status")
@app_option(multiple=True, help="Show this application only (may be repeated).")
@click.option("--watch", is_flag=True, help="Keep showing, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@with_settings("status", quiet="warning")
def command(app: tuple[str, ...], settings: Settings, watch: bool, as_json: bool) -> None:
    """Show how every application is: queue, response times against the target, workers, last decisions."""
    if watch and as_json:
        raise click.UsageError("--watch and --json exclude each other")
    (run_until_stopped if watch else run)(_status(settings, app, watch=watch, as_json=as_json))


async def _status(settings: Settings, apps: tuple[str, ...], *, watch: bool, as_json: bool) -> None:
    async with connected(settings, "status", patience=None if watch else PATIENCE_SECONDS) as broker:
        roster = Roster()
        await roster.listen(broker)
        await asyncio.sleep(LISTEN_INTERVALS * settings.status_interval)
        if watch:
            from upswell.cli.look.status_table import watch_states  # noqa: PLC0415 - rich is for who looks on

            await watch_states(lambda: look(broker, settings, apps, roster))
            return
        states = await look(broker, settings, apps, roster)
        if as_json:
            click.echo(
                msgspec.json.encode({"at": time.time(), "apps": [_as_json(s) for s in states]}).decode()
            )
            return
        from upswell.cli.look.status_table import print_states  # noqa: PLC0415 - as above

        print_states(states)


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
        "snapshot": latest.snapshot if latest else None,
        "desired_workers": latest.decision.desired_workers if latest else None,
        "decided_at": latest.at if latest else None,
        "alarms": latest.decision.alarms if latest else (),
        "cost": cost_json(latest.bill if latest else None, state.price_per_worker_hour),
        "decisions": [
            {"at": e.at, "desired_workers": e.decision.desired_workers, "reason": safe(e.decision.reason)}
            for e in state.decisions
        ],
    }
