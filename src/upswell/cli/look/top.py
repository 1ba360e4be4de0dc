"""`upswell top`: applications in a full-screen view, for people on SSH.

It reads the journal and the broker as `upswell status` does, each second, and changes nothing.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING

import click
import msgspec

from upswell.broker.heartbeat import LISTEN_SECONDS
from upswell.cli.connection import connected
from upswell.cli.journals import journal_path
from upswell.cli.look.parts import judged, listen_for_parts
from upswell.cli.look.status import look
from upswell.cli.options import app_option, with_settings
from upswell.client.roster import Roster
from upswell.errors import JournalError, UpswellError
from upswell.journal import JournalReader

if TYPE_CHECKING:
    from upswell.broker import Broker
    from upswell.cli.look.top_screen import TopScreen
    from upswell.settings import Settings

REFRESH = 1.0


@click.command("top")
@app_option(multiple=True, help="Show only this application (repeatable).")
@with_settings("top", quiet="error")
async def command(app: tuple[str, ...], settings: Settings) -> None:
    """Watch applications in the whole terminal: response times, workers, queue, cost and decisions.

    Keys: left and right choose the application, a lists all, p pauses, + and - change the time span, q quits.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("top needs a terminal; elsewhere: upswell status --watch")
    from rich.console import Console  # noqa: PLC0415 - only for terminals
    from rich.live import Live  # noqa: PLC0415 - as above

    from upswell.cli.live.keys import Keys  # noqa: PLC0415 - as above
    from upswell.cli.look.top_screen import TopScreen  # noqa: PLC0415 - as above

    console = Console()
    async with connected(settings, "top") as broker:
        roster = Roster()
        await roster.listen(broker)
        heard = await listen_for_parts(broker, settings)
        screen = TopScreen(settings, app)
        with Keys() as keys, Live(console=console, screen=True, auto_refresh=False) as live:
            looked_at = 0.0
            while not screen.quits:
                due = looked_at + REFRESH
                if time.monotonic() >= due:
                    looked_at = time.monotonic()
                    if not screen.paused:
                        # One that works is heard within this time; before, silence says nothing.
                        listened = heard.listened_for(looked_at) > LISTEN_SECONDS
                        parts = judged(heard, looked_at)
                        screen.parts = [part for part in parts if listened or part.state is not None]
                        await _look(screen, broker, settings, roster)
                    due = looked_at + REFRESH
                live.update(screen.drawn(console), refresh=True)
                before = screen.chosen
                for key in await keys.wait(max(0.0, due - time.monotonic())):
                    screen.press(key)
                if screen.chosen != before:
                    looked_at = 0.0


async def _look(screen: TopScreen, broker: Broker, settings: Settings, roster: Roster) -> None:
    """Have the screen know what is so at this moment; what cannot be read is said there."""
    now = time.time()
    try:
        journal = JournalReader(journal_path(settings))
        workers = roster.workers(time.monotonic())
        screen.know_applications(
            {*settings.apps, *await asyncio.to_thread(journal.applications), *(w.app_id for w in workers)}
        )
        if screen.lists:
            screen.entries = await asyncio.to_thread(screen.read_page, journal)
        elif screen.chosen is not None:
            (state,) = await look(broker, settings, (screen.chosen,), roster, decisions=0)
            if any(part.part == "monitor" and not part.ok for part in screen.parts):
                state = msgspec.structs.replace(state, old=state.latest is not None)
            await asyncio.to_thread(screen.read_history, journal, now)
            screen.state = state
        screen.trouble = ""
    except JournalError as error:
        screen.trouble = f"the journal cannot be read: {error}"
    except UpswellError as error:
        screen.trouble = str(error)
    screen.now = now
