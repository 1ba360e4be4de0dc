"""`upswell resume`: take back what was set by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from upswell.cli.operate.orders import order_monitor
from upswell.cli.options import app_argument, with_settings
from upswell.messages import OperatorOrder

if TYPE_CHECKING:
    from upswell.settings import Settings


@click.command("resume")
@app_argument
@with_settings("resume", quiet="warning")
async def command(app: str, settings: Settings) -> None:
    """Let the policy of APP decide again, after `upswell pause` or `upswell scale`."""
    await order_monitor(settings, OperatorOrder(order="resume", app_id=app))
