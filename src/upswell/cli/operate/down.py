"""`upswell down`: drain all workers, then stop scaler and monitor."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from upswell.broker.orders import Orders
from upswell.cli.connection import PATIENCE_SECONDS, connected, unique_name
from upswell.cli.operate.orders import obeyed
from upswell.cli.options import with_settings
from upswell.cli.text import counted
from upswell.client.roster import Roster, listen_seconds, tell
from upswell.errors import NoAnswerError, NobodyListensError, UpswellError
from upswell.messages import OperatorOrder
from upswell.settings.duration import parse_duration

if TYPE_CHECKING:
    from upswell.broker import Broker
    from upswell.messages import OperatorAnswer, PartName
    from upswell.settings import Settings

POLL_SECONDS = 1.0


@click.command("down")
@click.option(
    "--timeout",
    metavar="TIME",
    help="Stop waiting after 90s, 15min, 6h or 2d; the draining goes on. Default: wait for the last upload.",
)
@with_settings("down", quiet="warning")
async def command(timeout: str | None, settings: Settings) -> None:
    """Let all workers finish their uploads and exit, then stop scaler and monitor. Nothing is lost.

    Ctrl-C stops the waiting only.
    """
    seconds = None if timeout is None else parse_duration(timeout)

    async with connected(settings, "down", patience=PATIENCE_SECONDS) as broker:
        down = _Down(broker, settings)
        await down.listen()
        try:
            async with asyncio.timeout(seconds):
                await down.drain()
        except TimeoutError:
            raise UpswellError(
                f"not finished after {timeout}: {down.left}; they go on draining, nothing is lost "
                "(`upswell down` waits again, and stops the monitor)"
            ) from None
        click.echo(await down.stop())


class _Down:
    """Drains and stops one installation."""

    def __init__(self, broker: Broker, settings: Settings) -> None:
        self._broker = broker
        self._settings = settings
        self._orders = Orders(broker, settings.report_queue, unique_name("orders"))
        self._roster = Roster()
        self._stopped: list[str] = []
        self.left = "workers were not heard yet"

    async def listen(self) -> None:
        await self._orders.listen()
        await self._roster.listen(self._broker)
        await asyncio.sleep(listen_seconds(self._settings.status_interval))

    async def drain(self) -> None:
        """Return when no scaler and no worker is left."""
        shown = ""
        while True:
            workers, uploads, scaler = await self._drain_fleet()
            heard = [w for w in self._roster.workers(time.monotonic()) if w.app_id in self._settings.apps]
            # One started by hand, or whose scaler is dead, hears it from nobody else.
            await tell(self._broker, [w.worker_id for w in heard if w.state != "draining"], "drain")
            workers, uploads = max(workers, len(heard)), max(uploads, sum(w.busy for w in heard))
            if not (scaler or heard):
                return
            self.left = f"{counted(workers, 'worker')} with {counted(uploads, 'upload')} in hand"
            if workers and self.left != shown:
                click.echo(f"draining: {self.left}")
                shown = self.left
            await asyncio.sleep(POLL_SECONDS)

    async def _drain_fleet(self) -> tuple[int, int, bool]:
        """Have the scaler drain its fleet and end; return workers and uploads left, whether it is there."""
        try:
            answer = await self._give("scaler", OperatorOrder(order="down"))
        except NobodyListensError:
            return 0, 0, False
        except NoAnswerError:
            if "scaler" not in self._stopped:
                raise
            return 0, 0, True  # it is held up, or ends: the next one tells
        return answer.workers_left, answer.uploads_left, True

    async def stop(self) -> str:
        """Stop the monitor; return what was stopped in all."""
        with suppress(NobodyListensError):  # it ended with the scaler, as in `upswell up`
            await self._give("monitor", OperatorOrder(order="stop"))
        if not self._stopped:
            return "no scaler and no monitor runs, and no worker is heard"
        return f"down: all workers have finished, {' and '.join(self._stopped)} stopped"

    async def _give(self, part: PartName, order: OperatorOrder) -> OperatorAnswer:
        """Give an order, once more where the part seems to have ended with it in its hands."""
        try:
            answer = obeyed(await self._orders.give(part, order))
        except NoAnswerError:
            answer = obeyed(await self._orders.give(part, order))
        if part not in self._stopped:
            self._stopped.append(part)
        return answer
