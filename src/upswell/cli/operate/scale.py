"""`upswell scale`: set the number of workers by hand, over what the policy decides."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from upswell.cli.operate.orders import operator, order_monitor
from upswell.cli.options import app_argument, with_settings
from upswell.messages import ByHand, OperatorOrder
from upswell.settings.duration import parse_duration

if TYPE_CHECKING:
    from upswell.settings import Settings


@click.command("scale")
@app_argument
@click.argument("workers", type=click.IntRange(min=0, max=100_000))
@click.option(
    "--for",
    "duration",
    metavar="TIME",
    help="90s, 15min, 6h or 2d; then the policy decides again. Default: until `upswell resume`.",
)
@with_settings("scale", quiet="warning")
async def command(app: str, workers: int, duration: str | None, settings: Settings) -> None:
    """Run WORKERS workers of APP, whatever its policy decides; 0 pauses it. max_workers still holds."""
    until = None if duration is None else time.time() + parse_duration(duration)
    by_hand = ByHand(workers=workers, by=operator(), until=until)
    await order_monitor(settings, OperatorOrder(order="set", app_id=app, by_hand=by_hand))
