"""`upswell dashboard`: the live page."""

from __future__ import annotations

import asyncio
import os
import sys
import webbrowser
from typing import TYPE_CHECKING

import click

from upswell.cli.connection import run_until_stopped
from upswell.cli.options import with_settings
from upswell.errors import SettingsError
from upswell.extras import needs

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from upswell.dashboard.lecture import Lecture
    from upswell.dashboard.serving import Opened
    from upswell.settings import Settings

PORT = 8765


@click.command("dashboard")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Address to listen on. With another than loopback, whoever looks needs the token.",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="Port; 0 takes a free one."
)
@click.option("--prefix", default="", metavar="PATH", help="Path that a proxy in front leaves in place.")
@click.option(
    "--allow-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="Name under which a proxy serves the page (repeatable).",
)
@with_settings("dashboard", quiet="warning")
def command(host: str, port: int, prefix: str, allowed_hosts: tuple[str, ...], settings: Settings) -> None:
    """Serve the live page: response times, workers, decisions, cost; what-if; drain and retry.

    Everyone on this machine may look; to change anything needs the token in the second URL
    (dashboard_token, else a new one).
    """
    run_until_stopped(_dashboard(settings, host, port, prefix, allowed_hosts))


async def _dashboard(
    settings: Settings, host: str, port: int, prefix: str, allowed_hosts: tuple[str, ...]
) -> None:
    async with opening(settings, host=host, port=port, prefix=prefix, allowed_hosts=allowed_hosts) as opened:
        tell_url(opened)
        await asyncio.get_running_loop().create_future()


def opening(
    settings: Settings,
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    prefix: str = "",
    allowed_hosts: tuple[str, ...] = (),
    lecture: Lecture | None = None,
) -> AbstractAsyncContextManager[Opened]:
    """Return the context in which the page is served; raise a SettingsError without the extra."""
    try:
        from upswell.dashboard.serving import PageAddress, dashboard  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise SettingsError(needs("upswell dashboard", "dashboard", error)) from error
    return dashboard(settings, PageAddress(host, port, prefix, allowed_hosts), lecture)


def tell_url(opened: Opened) -> None:
    """Print where the page is."""
    click.echo(f"dashboard: {opened.url}", err=True)
    click.echo(f"to drain, retry and purge: {opened.url_with_token}", err=True)


def show_page(opened: Opened) -> None:
    """Print where the page is, and open it where there is a desktop; the token goes on no command line."""
    tell_url(opened)
    if sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(opened.url)
