"""Workers that exited: which were drained, which crashed, and when a crashed one may be replaced.

What comes in: what the fleet lists and what the scaler knows of it. What goes out: log events, totals, and
whether an application's workers may be started now. It must not know what is wanted.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING

from upswell.errors import FleetError
from upswell.events import get_logger
from upswell.messages import MAX_CRASHES, MAX_LAST_LINES, WorkerCrash
from upswell.safe import safe
from upswell.scaler.phases import is_leaving

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from upswell.fleets.protocol import Fleet, FleetWorker
    from upswell.scaler.costs import ScalingCosts
    from upswell.scaler.phases import ReceivedStatus, SentCommand
    from upswell.scaler.plan import ObservedWorker

_log = get_logger()

HEALTHY_SECONDS = 30.0
"""A worker that has lived this long has shown that its application can run."""

TOLD_SECONDS = 30.0
"""A crash is told in the heartbeats of so long a time: a monitor that takes over meanwhile hears it, too."""

FIRST_DELAY = 1.0
LONGEST_DELAY = 300.0


class CrashBackoff:
    """Counts one application's crash loop: rounds in which workers crashed young."""

    def __init__(self) -> None:
        self.crashes = 0
        self._last_crash_at = 0.0
        self._until = 0.0

    def crashed(self, now: float) -> float:
        """Take note of a round in which young workers crashed; return the seconds until the next start.

        The first is replaced at once; then the delay doubles from 1 s to 5 minutes.
        """
        self.crashes += 1
        delay = (
            0.0 if self.crashes == 1 else min(FIRST_DELAY * 2.0 ** min(self.crashes - 2, 30), LONGEST_DELAY)
        )
        self._last_crash_at, self._until = now, now + delay
        return delay

    def lives(self, requested_at: float, now: float) -> bool:
        """Take note of a worker that runs; return whether it ends a crash loop: begun since, and grown up."""
        healthy = requested_at >= self._last_crash_at and now - requested_at > HEALTHY_SECONDS
        over = healthy and self.crashes > 0
        if over:
            self.crashes = 0
        return over

    def may_start(self, now: float) -> bool:
        """Return whether a worker may be started now; no clock that is set back makes the wait longer."""
        return not now < self._until <= now + LONGEST_DELAY


class WorkerExits:
    """Notes each worker's exit, once."""

    def __init__(self, fleet: Fleet, costs: ScalingCosts) -> None:
        self._fleet = fleet
        self._costs = costs
        self._noted: set[str] = set()
        self._backoffs: dict[str, CrashBackoff] = defaultdict(CrashBackoff)
        self._crashes: deque[WorkerCrash] = deque(maxlen=MAX_CRASHES)

    def recent_crashes(self, now: float) -> list[WorkerCrash]:
        """Return the newest crashes, for the monitor's journal."""
        return [crash for crash in self._crashes if now - crash.at < TOLD_SECONDS]

    def may_start(self, app_id: str, now: float) -> bool:
        """Return whether a worker of this application may be started now, as far as crash loops go."""
        return self._backoffs[app_id].may_start(now)

    def start_failed(self, app_id: str, error: Exception, now: float) -> None:
        """Take note of a worker that could not be started; the next try waits as after a crash."""
        self._costs.start_failures += 1
        retry_in = self._backoffs[app_id].crashed(now)
        _log.error("scaler.start_failed", app_id=app_id, error=error, retry_in=retry_in)

    async def note(
        self,
        workers: Collection[FleetWorker],
        seen: Mapping[str, ObservedWorker],
        heard: Mapping[str, ReceivedStatus],
        told: Mapping[str, SentCommand],
        now: float,
    ) -> None:
        """Take note of all workers at this instant: of each end once, and of those that live."""
        self._noted &= {worker.worker_id for worker in workers}
        young: set[str] = set()
        for worker in workers:
            phase, known = seen[worker.worker_id].phase, heard.get(worker.worker_id)
            if phase in ("starting", "starting_standby"):
                continue  # it has not shown yet that it can live
            if phase not in ("ended", "lost"):
                if self._backoffs[worker.app_id].lives(worker.requested_at, now):
                    _log.info("scaler.crash_loop_over", app_id=worker.app_id)
            elif worker.worker_id not in self._noted:
                self._noted.add(worker.worker_id)
                crashed = await self._note_end(worker, phase, known, told.get(worker.worker_id), now)
                if crashed and (known is None or now - worker.requested_at < HEALTHY_SECONDS):
                    young.add(worker.app_id)
        for app_id in young:
            backoff = self._backoffs[app_id]
            retry_in = backoff.crashed(now)
            if retry_in:
                _log.error("scaler.crash_loop", app_id=app_id, crashes=backoff.crashes, retry_in=retry_in)

    async def _note_end(
        self,
        worker: FleetWorker,
        phase: str,
        heard: ReceivedStatus | None,
        told: SentCommand | None,
        now: float,
    ) -> bool:
        """Log how a worker ended; return whether it crashed."""
        names = {"app_id": worker.app_id, "worker_id": worker.worker_id}
        if phase == "ended" and is_leaving(heard, told):
            _log.info("scaler.worker_left", **names, exit_code=worker.exit_code)
            return False
        if worker.evicted:
            _log.warning("scaler.worker_evicted", **names, node=worker.node, exit_code=worker.exit_code)
            return False
        if phase == "ended" and not self._costs.has_seen_running(worker.worker_id):
            # It ended while no scaler watched: whether it was told to, nobody knows.
            _log.info("scaler.worker_gone", **names)
            return False
        self._costs.crashes += 1
        last_lines = await self._last_lines(worker.worker_id)
        kept = "\n".join(safe(line, MAX_LAST_LINES // 5) for line in last_lines.splitlines())
        self._crashes.append(
            WorkerCrash(**names, at=now, exit_code=worker.exit_code, last_lines=kept[-MAX_LAST_LINES:])
        )
        if phase == "lost":
            _log.error("scaler.worker_silent", **names, ever_heard=heard is not None, last_lines=last_lines)
        else:
            _log.error("scaler.worker_crashed", **names, exit_code=worker.exit_code, last_lines=last_lines)
        return True

    async def _last_lines(self, worker_id: str) -> str:
        try:
            return await self._fleet.last_lines(worker_id)
        except FleetError as error:
            return f"(its log cannot be read: {error})"
