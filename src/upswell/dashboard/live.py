"""What the broker knows at this moment: depths, workers and what they have in hand, monitor and scaler.

In: a broker's messages. Out: the newest of each. The page works without a broker, from the journal alone: a
broker that is away is said, and tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

from upswell.broker import topology
from upswell.broker.connecting import connect, unique_name
from upswell.broker.heartbeat import HeardParts
from upswell.client.roster import Roster, tell
from upswell.errors import UpswellError
from upswell.events import get_logger
from upswell.safe import safe

if TYPE_CHECKING:
    from upswell.broker import Broker
    from upswell.messages import PartName, UploadInHand, WorkerStatus
    from upswell.settings import Settings

_log = get_logger()

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 3.0
"""A broker that has not said a depth by then does not answer; its management API alone may take two."""
AGAIN_SECONDS = 5.0
DEPTH_SECONDS = 1.0
DESCRIBE_SECONDS = 2.5
MOST_DESCRIBED = 60
"""Workers asked for their uploads in hand at once; the page lists no more in full."""
SILENT_PART_SECONDS = 5.0


class Live:
    """One connection to the broker for all pages."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.broker: Broker | None = None
        self.problem = "not connected yet"
        self._roster = Roster()
        self._parts = HeardParts(settings.report_queue)
        self._depths: dict[str, tuple[float, dict[str, Any]]] = {}
        self._described: dict[str, float] = {}
        self._silent = asyncio.Event()

    async def run(self) -> None:
        """Connect, again where it fails, and listen until cancelled."""
        told = ""
        while True:
            try:
                broker = await connect(self._settings, "dashboard", patience=CONNECT_SECONDS)
            except UpswellError as error:
                self.problem = safe(str(error))
                if self.problem != told:
                    told = self.problem
                    _log.warning("dashboard.broker_away", error=error)
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            try:
                await self._roster.listen(broker)
                await self._parts.listen(broker, unique_name("dashboard"))
                self._answers()
                self.broker = broker
                await self._watch(broker)
            except UpswellError as error:
                self.problem = safe(str(error))
                await asyncio.sleep(AGAIN_SECONDS)
            finally:
                self.broker = None
                await broker.close()

    async def _watch(self, broker: Broker) -> None:
        """Ask a broker that did not answer again and again, until cancelled: it connects anew by itself."""
        while True:
            await self._silent.wait()
            await asyncio.sleep(AGAIN_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ANSWER_SECONDS):
                    with contextlib.suppress(UpswellError):  # an answer, too
                        await broker.depth(self._settings.report_queue, in_flight=False)
                self._answers()

    def _answers(self) -> None:
        self.problem = ""
        self._silent.clear()

    def _is_silent(self) -> None:
        self.problem = f"nothing within {ANSWER_SECONDS:g} s"
        if not self._silent.is_set():
            self._silent.set()
            _log.warning("dashboard.broker_away", error=self.problem)

    def status_of(self, app: str, worker_id: str) -> WorkerStatus | None:
        """Return a worker's newest status, None where it is not heard of."""
        return next((one for one in self._statuses(app) if one.worker_id == worker_id), None)

    def _statuses(self, app: str) -> list[WorkerStatus]:
        return [one for one in self._roster.workers(time.monotonic()) if one.app_id == app]

    async def workers(self, app: str) -> list[dict[str, Any]]:
        """Return the workers of an application, and what each has in hand as it told last."""
        found = sorted(self._statuses(app), key=lambda one: (one.state, one.worker_id))
        await self._describe(app, [one.worker_id for one in found])
        return [self._worker(one) for one in found]

    async def _describe(self, app: str, worker_ids: list[str]) -> None:
        now = time.monotonic()
        if self.broker is None or self.problem or now - self._described.get(app, 0.0) < DESCRIBE_SECONDS:
            return
        self._described[app] = now
        try:
            async with asyncio.timeout(DESCRIBE_SECONDS):
                await tell(self.broker, worker_ids[:MOST_DESCRIBED], "describe")
        except (TimeoutError, UpswellError):
            return

    def _worker(self, status: WorkerStatus) -> dict[str, Any]:
        uploads = self._roster.uploads(status.worker_id)
        return {
            "id": status.worker_id,
            "state": status.state,
            "busy": status.busy,
            "slots": status.slots,
            "rate": self._roster.bytes_per_second(status.worker_id),
            "since": status.started_at or status.requested_at or status.ready_at,
            "uploads": None if uploads is None else [_in_hand(one) for one in uploads[: status.busy][:10]],
        }

    async def depth(self, app: str) -> dict[str, Any] | None:
        """Return what lies in an application's queues; None where the broker does not answer."""
        now = time.monotonic()
        at, known = self._depths.get(app, (0.0, None))
        if known is not None and now - at < DEPTH_SECONDS:
            return known
        if self.broker is None or self.problem:
            return None
        queue = self._settings.upload_queue_of(app)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                depth, dead = await asyncio.gather(
                    self.broker.depth(queue),
                    self.broker.depth(topology.dead_letter_queue(queue).name, in_flight=False),
                )
        except TimeoutError:
            self._is_silent()
            return None
        except UpswellError:
            return None
        found = {
            "ready": depth.messages_ready if depth else 0,
            "in_flight": depth.messages_unacknowledged if depth else 0,
            "dead": dead.messages_ready if dead else 0,
        }
        self._depths[app] = (now, found)
        return found

    def missing_parts(self) -> list[str]:
        """Return in words which of monitor and scaler is not heard, or does not work."""
        if self.broker is None or self.problem:
            return [f"The broker does not answer: {self.problem}. The journal is shown."]
        now = time.monotonic()
        if self._parts.listened_for(now) < SILENT_PART_SECONDS:
            return []
        names: tuple[PartName, ...] = ("monitor", "scaler")
        words: list[str] = []
        for part in names:
            newest = self._parts.newest(part, now)
            if newest is None:
                words.append(f"No {part} is heard: start “upswell {part}”, or “upswell up”.")
            elif newest.state in ("failing", "waiting", "stopped"):
                words.append(f"The {part} is {newest.state}.")
        return words


def _in_hand(upload: UploadInHand) -> dict[str, Any]:
    return {
        "name": safe(upload.key or upload.request_id or "an invalid request", 120),
        "bytes": upload.bytes,
        "size": upload.size_bytes,
        "seconds": upload.seconds,
        "attempt": upload.attempt,
    }
