"""`upswell restart`: new workers for old ones, one after the other, never fewer than wanted."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import click
from msgspec.structs import replace

from upswell.cli.operate.orders import obeyed, ordering
from upswell.cli.options import app_option, with_settings
from upswell.cli.text import counted
from upswell.errors import BrokerError, NoAnswerError, NobodyListensError
from upswell.messages import OperatorOrder

if TYPE_CHECKING:
    from upswell.broker.orders import Orders
    from upswell.messages import OperatorAnswer
    from upswell.settings import Settings

POLL_SECONDS = 1.0

SCALER_AWAY_SECONDS = 60.0
"""A scaler that is restarted meanwhile goes on with what it is told again."""


@click.command("restart")
@app_option(required=False, help="Restart only the workers of this application. Default: of all.")
@with_settings("restart", quiet="warning")
async def command(app: str | None, settings: Settings) -> None:
    """Replace all workers by new ones: a new one is ready before an old one drains. No upload is interrupted.

    Ctrl-C leaves the scaler to go on with it.
    """
    async with ordering(settings) as orders:
        await _restart(orders, OperatorOrder(order="restart", app_id=app))


async def _restart(orders: Orders, order: OperatorOrder) -> None:
    answer = obeyed(await orders.give("scaler", order))
    workers = answer.workers
    if not workers:
        click.echo("no worker runs, so there is none to restart")
        return
    click.echo(f"restarting {counted(len(workers), 'worker')}")
    order = replace(order, workers=workers)  # from now on it names them, so that repeating it does no harm
    shown = ""
    while answer.workers_left:
        progress = _progress(answer)
        if progress != shown:
            click.echo(progress)
            shown = progress
        await asyncio.sleep(POLL_SECONDS)
        answer = await _again(orders, order)
    click.echo(f"restarted {counted(len(workers), 'worker')}")


async def _again(orders: Orders, order: OperatorOrder) -> OperatorAnswer:
    """Repeat an order until it is answered, for a while."""
    given_up_at = time.monotonic() + SCALER_AWAY_SECONDS
    while True:
        try:
            return obeyed(await orders.give("scaler", order))
        except (NobodyListensError, NoAnswerError):
            if time.monotonic() > given_up_at:
                raise BrokerError(
                    f"no scaler has answered for {SCALER_AWAY_SECONDS:g} s: once one runs, type this again"
                ) from None
            await asyncio.sleep(POLL_SECONDS)


def _progress(answer: OperatorAnswer) -> str:
    total = len(answer.workers)
    uploads = f", with {counted(answer.uploads_left, 'upload')} in hand" if answer.uploads_left else ""
    return f"{total - answer.workers_left} of {total} replaced, {answer.workers_left} to go{uploads}"
