"""`upswell purge APP`: delete everything that waits in an application's queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from upswell.cli.connection import PATIENCE_SECONDS, connected, run
from upswell.cli.options import app_argument, with_settings
from upswell.cli.text import confirm_deletion, counted
from upswell.errors import UpswellError
from upswell.publisher.dead_letters import ready_in
from upswell.publisher.stored_record import forget_sent, record_path

if TYPE_CHECKING:
    from upswell.settings import Settings


@click.command("purge")
@app_argument
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@with_settings("purge", quiet="warning")
def command(app: str, settings: Settings, yes: bool) -> None:
    """Permanently delete all queued uploads of APP; those that workers have in hand are finished.

    `upswell dead purge` deletes its dead letters.
    """
    queue = settings.upload_queue_of(app)

    async def count() -> int:
        async with connected(settings, "purge", patience=PATIENCE_SECONDS) as broker:
            if await broker.depth(queue) is None:
                raise UpswellError(f"there is no queue {queue}")
            return await ready_in(broker, queue)

    async def purge() -> int:
        async with connected(settings, "purge", patience=PATIENCE_SECONDS) as broker:
            deleted = await broker.purge(queue)
        forget_sent(record_path(settings), app)
        return deleted

    # Nobody is connected while the user thinks: a server gives up a connection that is silent.
    found = run(count())
    if found and not yes:
        confirm_deletion(f"{counted(found, 'queued upload')} of {app}")
    click.echo(f"deleted {counted(run(purge()) if found else 0, 'upload')} from {queue}")
