"""How far a drain is: which workers are left, how many uploads they hold, and how much of them is moved."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import click

from upswell.cli.text import counted, size
from upswell.client.roster import Roster, tell

if TYPE_CHECKING:
    from collections.abc import Collection

    from upswell.broker import Broker
    from upswell.scaler import Scaler

FIRST_PAUSE = 5.0
LONGEST_PAUSE = 60.0
"""Seconds between two lines; they grow, because some drains take hours."""
ANSWER_SECONDS = 0.5


async def tell_progress(broker: Broker, scaler: Scaler) -> None:
    """Print what is left, now and then, until cancelled."""
    roster = Roster()
    await roster.listen(broker)
    pause = FIRST_PAUSE
    while True:
        await asyncio.sleep(pause)
        left = {worker.worker_id for worker in scaler.workers()}
        await tell(broker, left, "describe")
        await asyncio.sleep(ANSWER_SECONDS)
        click.echo(progress(left, roster, time.monotonic()), err=True)
        pause = min(LONGEST_PAUSE, pause * 1.5)


def progress(left: Collection[str], roster: Roster, now: float) -> str:
    """Return a line on the workers that are left."""
    heard = [worker for worker in roster.workers(now) if worker.worker_id in left]
    uploads = [upload for worker in heard if worker.busy for upload in roster.uploads(worker.worker_id) or ()]
    line = (
        f"draining: {counted(len(left), 'worker')} and {counted(sum(w.busy for w in heard), 'upload')} left"
    )
    moved = sum(upload.bytes for upload in uploads)
    sizes = [upload.size_bytes for upload in uploads if upload.size_bytes is not None]
    if uploads and len(sizes) == len(uploads):
        return f"{line}, {size(moved)} of {size(sum(sizes))} moved"
    return f"{line}, {size(moved)} moved" if moved else line
