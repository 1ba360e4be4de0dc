"""`upswell up`: monitor, scaler and fleet in one process."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import click

from upswell.cli.connection import Interrupts, connected, first_to_end, on_hang_up, run
from upswell.cli.help import SettingsCommand
from upswell.cli.look.dashboard import PORT, opening, tell_url
from upswell.cli.options import app_option, with_settings
from upswell.cli.run.draining import tell_progress
from upswell.cli.run.metrics import with_metrics
from upswell.cli.run.monitoring import monitoring
from upswell.cli.run.reloading import Reloader
from upswell.cli.run.scaling import check_apps, scaling
from upswell.cli.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.broker import Broker
    from upswell.scaler import Scaler
    from upswell.settings import Settings


@click.command("up", cls=SettingsCommand)
@app_option(multiple=True, help="Scale only this application (repeatable). Default: those in the settings.")
@click.option("--dashboard", is_flag=True, help="Serve the live page, too, on 127.0.0.1.")
@click.option(
    "--dashboard-port",
    type=click.IntRange(0, 65535),
    default=PORT,
    show_default=True,
    help="Port of the page; 0 takes a free one.",
)
@with_settings("up", reloads=True)
def command(
    app: tuple[str, ...],  # noqa: ARG001 - the settings hold it
    dashboard: bool,
    dashboard_port: int,
    settings: Settings,
    reload: Callable[[], Settings],
) -> None:
    """Run monitor, scaler and workers until Ctrl-C drains them; a second Ctrl-C stops them immediately.

    SIGHUP reloads the settings.
    """
    check_apps(settings)
    run(_up(settings, reload, dashboard_port if dashboard else None), handle_sigterm=False)


async def _up(settings: Settings, reload: Callable[[], Settings], port: int | None) -> None:
    interrupts = Interrupts()
    async with (
        AsyncExitStack() as page,
        connected(settings, "up") as broker,
        monitoring(settings, broker) as monitor,
        scaling(settings, broker) as scaler,
        with_metrics(settings, monitor, scaler) as more,
    ):
        on_hang_up(Reloader(broker, settings, reload, monitor, scaler, *more), interrupts.interrupt)
        if port is not None:
            tell_url(await page.enter_async_context(opening(settings, port=port)))
        loops = [asyncio.create_task(monitor.run()), asyncio.create_task(scaler.run())]
        try:
            await first_to_end(*loops, interrupts.next())
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
        await drain(scaler, interrupts, broker)  # not reached if a loop failed: the workers keep running


async def drain(scaler: Scaler, interrupts: Interrupts, broker: Broker | None = None) -> None:
    """Drain all workers and wait; at another interrupt they requeue their uploads and exit.

    Given a `broker`, it says how far it is.
    """
    count = len(scaler.workers())
    telling: asyncio.Task[None] | None = None
    if count and broker is not None:
        click.echo(
            f"draining {counted(count, 'worker')}; Ctrl-C again returns their uploads to the queue", err=True
        )
        telling = asyncio.create_task(tell_progress(broker, scaler))
    draining = asyncio.ensure_future(scaler.drain_all())
    interrupted = interrupts.next()
    await asyncio.wait([draining, interrupted], return_when=asyncio.FIRST_COMPLETED)
    interrupted.cancel()
    if telling is not None:
        telling.cancel()
    if not draining.done():
        draining.cancel()
        await asyncio.gather(draining, return_exceptions=True)
        await scaler.abandon_all()
    else:
        draining.result()
