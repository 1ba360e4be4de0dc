"""Is there a monitor, is there a scaler, do they work? For `status` and `doctor`, from their heartbeats."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec import Struct

from upswell.broker.heartbeat import HeardParts
from upswell.cli.connection import unique_name
from upswell.cli.text import counted
from upswell.messages import PartName, PartState

if TYPE_CHECKING:
    from upswell.broker import Broker
    from upswell.settings import Settings

PARTS: tuple[PartName, ...] = ("monitor", "scaler")


class PartSeen(Struct, frozen=True):
    """How the monitor or the scaler is: its state (None: not heard), whether that is well, and in words.

    `notes`: what its platform does not do, and why. `standbys`: how many more wait to take over.
    """

    part: PartName
    state: PartState | None
    ok: bool
    words: str
    notes: tuple[str, ...] = ()
    standbys: int = 0


async def parts_seen(broker: Broker, settings: Settings) -> list[PartSeen]:
    """Listen until monitor and scaler are heard, for at most three seconds; return how each is."""
    heard = await listen_for_parts(broker, settings)
    await heard.wait_for_all(*PARTS)
    return judged(heard, time.monotonic())


async def listen_for_parts(broker: Broker, settings: Settings) -> HeardParts:
    """Begin to hear the heartbeats of this installation's monitor and scaler."""
    heard = HeardParts(settings.report_queue)
    await heard.listen(broker, unique_name("cli"))
    return heard


def judged(heard: HeardParts, now: float) -> list[PartSeen]:
    """Return how each part is by what was heard of it."""
    return [_judged(part, heard, now) for part in PARTS]


def _judged(part: PartName, heard: HeardParts, now: float) -> PartSeen:
    status = heard.newest(part, now)
    start = f"start `upswell {part}`, or `upswell up`"
    if status is None:
        words = f"not heard for {heard.silent_for(part, now):.0f} s: {start}"
        return PartSeen(part, None, ok=False, words=words)
    words = f"is {status.state}"
    if status.state == "failing":
        since = "since it started" if status.since_round is None else f"for {status.since_round:.0f} s"
        words = f"it runs, but no round has worked {since}: see its log"
    elif status.state == "waiting":
        words = "one waits to take over, and none works: look again in five seconds, then into its log"
    elif status.state == "stopped":
        words = f"it has stopped: {start}"
    elif status.state == "draining":
        workers, uploads = status.workers_left or 0, status.uploads_left or 0
        words = f"drains all workers: {counted(workers, 'worker')} and {counted(uploads, 'upload')} left"
    standbys = heard.waiting(part, now)
    if standbys and status.state != "waiting":
        words += f"; {standbys} more {'waits' if standbys == 1 else 'wait'} to take over"
    ok = status.state in ("starting", "working", "draining")
    return PartSeen(part, status.state, ok, words, status.notes, standbys)
