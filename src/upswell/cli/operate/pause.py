"""`upswell pause`: consume nothing, keep everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from upswell.cli.operate.orders import operator, order_monitor
from upswell.cli.options import app_argument, with_settings
from upswell.messages import ByHand, OperatorOrder

if TYPE_CHECKING:
    from upswell.settings import Settings


@click.command("pause")
@app_argument
@with_settings("pause", quiet="warning")
async def command(app: str, settings: Settings) -> None:
    """Drain all workers of APP and start none until `upswell resume APP`; what is published stays queued."""
    by_hand = ByHand(workers=0, by=operator())
    await order_monitor(settings, OperatorOrder(order="set", app_id=app, by_hand=by_hand))
