"""`upswell logs`: what the workers of this machine's fleet print."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click
import msgspec

from upswell.cli.connection import run_until_stopped
from upswell.cli.journals import journal_path
from upswell.cli.look.explain import crash_lines
from upswell.cli.options import app_option, with_settings
from upswell.errors import FleetError
from upswell.fleets.registry import open_fleet
from upswell.journal import JournalReader
from upswell.messages import WorkerId
from upswell.safe import safe

if TYPE_CHECKING:
    from upswell.fleets import Fleet, FleetWorker
    from upswell.settings import Settings

POLL_SECONDS = 0.5

MOST_LINES = 10_000
"""Printed at most between two looks; of a worker that prints more, the newest."""


def _check_worker(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """Refuse what is no worker's id: it becomes part of a file's name."""
    try:
        return None if value is None else msgspec.convert(value, WorkerId)
    except msgspec.ValidationError as error:
        raise click.BadParameter("must be a worker's id, as `upswell workers` lists them") from error


@click.command("logs")
@click.option(
    "--worker", metavar="WORKER", callback=_check_worker, help="Only this worker, also if it has exited."
)
@app_option(multiple=True, help="Only workers of this application (repeatable).")
@click.option("--follow", is_flag=True, help="Go on with what is printed from now on, until Ctrl-C.")
@click.option(
    "--lines", type=click.IntRange(0, 100_000), default=20, show_default=True, help="Of each worker's past."
)
@with_settings("logs", quiet="warning")
def command(worker: str | None, app: tuple[str, ...], follow: bool, lines: int, settings: Settings) -> None:
    """Print the newest lines of each worker's log. Run it where the scaler runs: there the logs are."""

    async def work() -> None:
        fleet = open_fleet(settings)
        try:
            await _Logs(fleet, JournalReader(journal_path(settings)), worker, app).show(lines, follow=follow)
        finally:
            await fleet.close()

    run_until_stopped(work())


class _Logs:
    """Prints the logs of one fleet's workers, or of one worker."""

    def __init__(
        self, fleet: Fleet, journal: JournalReader, worker_id: str | None, apps: tuple[str, ...]
    ) -> None:
        self._fleet = fleet
        self._journal = journal
        self._worker_id = worker_id
        self._apps = apps
        self._positions: dict[str, str] = {}

    async def show(self, lines: int, *, follow: bool) -> None:
        found = await self._workers()
        names = [self._worker_id] if self._worker_id else [worker.worker_id for worker in found]
        printed = [await self._print(name, after=None, limit=lines) for name in names]
        if self._worker_id and not any(printed):
            printed = [self._print_crash(self._worker_id)]
        if not (found or any(printed) or (follow and not self._worker_id)):
            which = f"worker {self._worker_id}" if self._worker_id else "workers"
            raise FleetError(f"no {which} found here: run this on the scaler's machine, with its settings")
        while follow:
            await asyncio.sleep(POLL_SECONDS)
            running = {worker.worker_id for worker in await self._workers() if worker.state == "running"}
            for name in {**self._positions, **dict.fromkeys(running, "")}:
                news = await self._print(name, after=self._positions.get(name, ""), limit=MOST_LINES)
                if not news and name not in running:
                    del self._positions[name]
            if self._worker_id and not self._positions:
                return

    def _print_crash(self, worker_id: str) -> bool:
        """Print what the monitor's journal kept of a worker whose log is gone; return whether it did."""
        crashes = self._journal.crashes(worker_id=worker_id)
        for line in crash_lines(crashes):
            click.echo(line)
        return bool(crashes)

    async def _workers(self) -> list[FleetWorker]:
        return [
            worker
            for worker in await self._fleet.list()
            if self._worker_id in (None, worker.worker_id) and (not self._apps or worker.app_id in self._apps)
        ]

    async def _print(self, worker_id: str, *, after: str | None, limit: int) -> bool:
        part = await self._fleet.read_log(worker_id, after=after, limit=limit)
        self._positions[worker_id] = part.position
        for line in part.lines:
            click.echo(safe(line, None) if self._worker_id else f"{worker_id} | {safe(line, None)}")
        return bool(part.lines)
