"""`upswell cancel ID`: delete queued uploads by their ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from upswell.cli.connection import PATIENCE_SECONDS, connected, run
from upswell.cli.options import app_option, with_settings
from upswell.cli.text import confirm_deletion, counted
from upswell.errors import SettingsError, UpswellError
from upswell.messages import UploadReport, encode
from upswell.publisher.dead_letters import request_id_of
from upswell.publisher.stored_record import forget_sent, record_path
from upswell.safe import safe
from upswell.worker.outcomes import reply

if TYPE_CHECKING:
    from upswell.broker import Broker, Delivery
    from upswell.settings import Settings

REASON = "cancelled by an operator"


@click.command("cancel")
@click.argument("request_ids", nargs=-1, required=True, metavar="ID...")
@app_option(multiple=True, help="Look only in this application's queue. Default: those in the settings.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@with_settings("cancel", quiet="warning")
def command(request_ids: tuple[str, ...], app: tuple[str, ...], settings: Settings, yes: bool) -> int:
    """Permanently delete the queued uploads with these IDs; one that a worker has in hand is finished.

    A publisher that waits is told. For a moment workers get nothing: the queue is read through, and RabbitMQ
    before 4.3 replaces what stays by copies.
    """
    apps = app or tuple(settings.apps)
    if not apps:
        raise SettingsError("no application to look in: give --app X, or set UPSWELL_APPS=X")
    if not yes:
        confirm_deletion(f"{', '.join(map(safe, request_ids))} of {', '.join(apps)}")
    wanted, found = set(request_ids), set[str]()

    async def cancel() -> None:
        async with connected(settings, "cancel", patience=PATIENCE_SECONDS) as broker:
            for each in apps:
                cancelled = await _cancel(broker, each, settings.upload_queue_of(each), wanted)
                forget_sent(record_path(settings), each, cancelled)
                found.update(cancelled)

    run(cancel())
    click.echo(f"deleted {counted(len(found), 'upload')}")
    missing = sorted(wanted - found)
    if missing:
        raise UpswellError(f"not queued, so running, done or unknown: {', '.join(missing)}")
    return 0


async def _cancel(broker: Broker, app: str, queue: str, wanted: set[str]) -> set[str]:
    """Remove the wanted requests from one queue; return the ids of those that were there."""
    found: set[str] = set()

    async def tell(delivery: Delivery) -> None:
        request_id = request_id_of(delivery)
        found.add(request_id)
        report = UploadReport(
            app_id=app, request_id=request_id, outcome="dead", response_time=0.0, reason=REASON
        )
        answer = reply(delivery, encode(report))
        if answer is not None:
            await broker.publish(answer)

    await broker.sift(queue, lambda delivery: request_id_of(delivery) in wanted, tell)
    return found
