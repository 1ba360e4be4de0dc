"""`upswell dead list|show|retry|purge`: uploads that failed permanently or too often."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click
import msgspec

from upswell.broker.declaring import declare_upload_queue
from upswell.broker.topology import DIED_AT_HEADER, TRACEBACK_HEADER, dead_letter_queue
from upswell.cli.connection import PATIENCE_SECONDS, connected, run
from upswell.cli.help import CommandGroup
from upswell.cli.options import app_option, with_settings
from upswell.cli.safe_json import safe_json
from upswell.cli.text import confirm_deletion, counted, instant, wrapped
from upswell.errors import UpswellError
from upswell.messages import MAX_EXCERPT_BYTES
from upswell.publisher.dead_letters import died_at, ready_in, reason_of, request_id_of, retry_dead
from upswell.safe import safe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from upswell.broker import Delivery
    from upswell.settings import Settings

MAX_TRACEBACK_LINES = 200


@click.group("dead", cls=CommandGroup)
def command() -> None:
    """List, show, retry or purge the dead-lettered requests of an application."""


@command.command("list")
@app_option()
@click.option(
    "--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Maximum number to show."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@with_settings("dead", quiet="warning")
async def list_dead(app: str, settings: Settings, limit: int, as_json: bool) -> None:
    """List dead-lettered requests, oldest first, without removing them."""
    async with connected(settings, "dead", patience=PATIENCE_SECONDS) as broker:
        queue = dead_letter_queue(settings.upload_queue_of(app)).name
        found = await broker.look(queue)
        for delivery in found[:limit]:
            click.echo(_json(delivery) if as_json else wrapped(_line(delivery)))
        if not as_json:
            more = f", showing the oldest {limit}" if len(found) > limit else ""
            click.echo(f"{counted(len(found), 'request')} in {queue}{more}", err=True)


@command.command("show")
@app_option()
@click.argument("request_id")
@with_settings("dead", quiet="warning")
async def show(app: str, settings: Settings, request_id: str) -> None:
    """Show one dead-lettered request: its headers and its body."""
    async with connected(settings, "dead", patience=PATIENCE_SECONDS) as broker:
        queue = dead_letter_queue(settings.upload_queue_of(app)).name
        for delivery in await broker.look(queue):
            if request_id_of(delivery) == request_id:
                click.echo("\n".join(_letter(delivery)))
                return
        raise UpswellError(f"no request with id {request_id!r} in {queue}")


@command.command("retry", short_help="Publish dead-lettered requests again under the same ids.")
@app_option()
@click.argument("request_ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="Retry all of them.")
@with_settings("dead", quiet="warning")
async def retry(app: str, settings: Settings, request_ids: tuple[str, ...], everything: bool) -> None:
    """Publish dead-lettered requests again under the same ids; each is removed once confirmed."""
    if everything == bool(request_ids):
        raise click.UsageError("give either ids to retry or --all")
    queue, wanted = settings.upload_queue_of(app), set(request_ids)

    def is_wanted(delivery: Delivery) -> bool:
        return everything or request_id_of(delivery) in wanted

    own = settings.for_app(app)
    async with connected(settings, "dead", patience=PATIENCE_SECONDS) as broker:
        await declare_upload_queue(broker, queue, delivery_limit=own.delivery_limit)
        count = await retry_dead(broker, queue, is_wanted, time.time)
    click.echo(f"retried {counted(count, 'request')} from {queue}.dead")
    if count < len(wanted):
        raise UpswellError(f"found only {count} of {counted(len(wanted), 'id')} in {queue}.dead")


@command.command("purge")
@app_option()
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@with_settings("dead", quiet="warning")
def purge(app: str, settings: Settings, yes: bool) -> None:
    """Permanently delete all dead-lettered requests of an application."""
    queue = dead_letter_queue(settings.upload_queue_of(app)).name

    async def count() -> int:
        async with connected(settings, "dead", patience=PATIENCE_SECONDS) as broker:
            return await ready_in(broker, queue)

    async def delete() -> int:
        async with connected(settings, "dead", patience=PATIENCE_SECONDS) as broker:
            return await broker.purge(queue)

    found = run(count())
    if found and not yes:
        confirm_deletion(f"{counted(found, 'request')} from {queue}")
    click.echo(f"purged {counted(run(delete()) if found else 0, 'request')} from {queue}")


def _line(delivery: Delivery) -> str:
    at = died_at(delivery)
    parts = (request_id_of(delivery), _uri(delivery), reason_of(delivery))
    return "  ".join((instant(at) if at else "-", *(safe(part, 300) for part in parts)))


def _letter(delivery: Delivery) -> Iterator[str]:
    """Yield the lines of one letter: its headers, the traceback of its handler, its body."""
    told: dict[str, Any] = dict(delivery.headers)
    traceback = str(told.pop(TRACEBACK_HEADER, ""))
    at = died_at(delivery)
    if at is not None:
        told[DIED_AT_HEADER] = instant(at)
    for name, value in sorted(told.items()):
        yield f"{safe(name)}: {safe(str(value), 10_000)}"
    for line in traceback.splitlines()[:MAX_TRACEBACK_LINES]:
        yield f"  {safe(line)}"
    yield safe(delivery.body, 100_000)


def _json(delivery: Delivery) -> str:
    fields = {
        "id": request_id_of(delivery),
        "reason": safe(reason_of(delivery), 10_000),
        "died_at": died_at(delivery),
        "headers": {safe(name): _plain(value) for name, value in delivery.headers.items()},
        "body": safe(delivery.body, None),
    }
    return safe_json(fields)


def _plain(value: str | float) -> str | float:
    """Return a header's value as JSON takes it: no integer of more than 64 bits, no half a character."""
    is_small = isinstance(value, int | float) and -(2**63) <= value < 2**63
    return value if is_small else safe(str(value), 10_000)


def _uri(delivery: Delivery) -> str:
    try:
        body = msgspec.json.decode(delivery.body)
        return str(body["uri"])
    except (msgspec.DecodeError, RecursionError, KeyError, TypeError, UnicodeDecodeError):
        return safe(delivery.body[:MAX_EXCERPT_BYTES], 60)
