"""`upswell doctor`: check the installation. Each line is ok, or says what to do.

In: settings. Out: lines, and exit status 1 if one is not ok. The checks run side by side, each with a
deadline; what they ask is in `checks.py`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click
import msgspec

from upswell.cli.help import SettingsCommand
from upswell.cli.look.checks import CheckResult, all_checks
from upswell.cli.options import app_option, with_settings
from upswell.cli.text import wrapped
from upswell.safe import safe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from upswell.settings import Settings


@click.command("doctor", cls=SettingsCommand)
@app_option(multiple=True, help="Check this application (repeatable). Default: those in the settings.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@with_settings("doctor", quiet="error")
async def command(app: tuple[str, ...], settings: Settings, *, as_json: bool) -> int:  # noqa: ARG001 - the settings hold it
    """Check that everything works that the settings need; exit 1 if something needs fixing.

    Each destination is tried with a small object that is written, read and deleted.
    """
    results: list[CheckResult] = []
    async for result in _results(settings):
        shown = msgspec.structs.replace(result, words=safe(result.words))
        results.append(shown)
        if not as_json:
            click.echo(wrapped(f"{'ok ' if shown.ok else 'NOT'} {shown.subject}: {shown.words}"))
    well = all(result.ok for result in results)
    if as_json:
        click.echo(msgspec.json.encode({"ok": well, "checks": results}).decode())
    return 0 if well else 1


async def _results(settings: Settings) -> AsyncIterator[CheckResult]:
    """Yield the results in their order, as soon as they are there."""
    running = [asyncio.create_task(check.results()) for check in all_checks(settings)]
    for task in running:
        for result in await task:
            yield result
