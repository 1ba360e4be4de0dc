"""All that was seen of one application: reports, statuses and depths come in, a `Snapshot` goes out.

Every `at` is the receiver's own clock, which must not jump; the instants in messages serve only for
differences. It knows neither brokers, settings files nor clocks.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from upswell.analysis.age_estimates import AgeEstimates
from upswell.analysis.arrivals import Arrivals, in_flight_bounds
from upswell.analysis.failure_reasons import RecentReasons
from upswell.analysis.queue_depths import DepthHistory, DepthSample
from upswell.analysis.report_window import NOT_KNOWN, ReportWindow, WindowSummary
from upswell.analysis.snapshot import ObservedTotals, Snapshot, Workers
from upswell.analysis.worker_statuses import STALE_AFTER_INTERVALS, WorkerCounts, WorkerStatuses
from upswell.messages import NO_REASON

if TYPE_CHECKING:
    from upswell.messages import PlatformLimit, UploadReport, WorkerStatus
    from upswell.settings import Slo

REASONS_TOLD = 3

RECENT_REPORTS = 10_000
"""Response times handed out with one snapshot, at most: the newest."""


class Application:
    """One application under observation.

    Args:
        app_id: its name.
        slo: the objective that its uploads are counted against.
        window: seconds of reports that a snapshot sums up.
        slots: uploads that one worker runs at once.
        status_interval: seconds between two statuses of a worker.
        capacity: reports kept for percentiles, at most.
        started_at: when the observation began.
    """

    def __init__(
        self,
        app_id: str,
        *,
        slo: Slo,
        window: float,
        slots: int,
        status_interval: float,
        capacity: int,
        started_at: float,
    ) -> None:
        self.app_id = app_id
        self.heard_at = started_at
        self.window = ReportWindow(window, capacity)
        self._slo = slo
        self._slots = slots
        self._started_at = started_at
        self._statuses = WorkerStatuses(status_interval, started_at)
        self._depths = DepthHistory(window)
        self._arrivals = Arrivals(window, STALE_AFTER_INTERVALS * status_interval)
        self._desired: int | None = None
        # Since the snapshot before, one of each a report.
        self._response_times: deque[float] = deque(maxlen=RECENT_REPORTS)
        self._service_times: deque[float] = deque(maxlen=RECENT_REPORTS)
        self._ages = AgeEstimates(window)
        self._reasons = RecentReasons(window)
        self._heard = False
        self.platform: PlatformLimit | None = None
        """What the platform does not give, as the scaler told last."""
        self._stored = self._in_time = self._dead = self._failed = 0

    def begin(self, now: float) -> None:
        """Begin the window now: until now reports went to another monitor, and only statuses were heard."""
        self._started_at = now

    def expect(self, slo: Slo, slots: int) -> None:
        """Count against this objective from now on; a worker not heard of has so many slots."""
        if slots != self._slots:
            self._statuses.forget_slots()
        self._slo, self._slots = slo, slots

    def report(self, report: UploadReport, received_at: float, age: float = 0.0) -> None:
        """Take in a report that is `age` seconds old; one older than the window is dropped."""
        self._heard = True
        self.heard_at = received_at
        if age >= self.window.seconds:
            return
        at = received_at - age
        waiting = NOT_KNOWN if report.waiting_time is None else report.waiting_time
        service = NOT_KNOWN if report.service_time is None else report.service_time
        if report.waiting_time is not None:
            self._ages.begun(waiting, at)
        if report.outcome == "stored":
            response = report.response_time
            in_time = response <= self._slo.seconds
            self.window.stored(at, response, waiting, service, in_time=in_time)
            self._response_times.append(response)
            self._service_times.append(service)
            self._stored += 1
            self._in_time += in_time
        else:
            self._dead += report.outcome == "dead"
            self._failed += report.outcome == "failed"
            self._reasons.add(report.reason or NO_REASON, at, report.request_id or "")
            self.window.unsuccessful(at, waiting, service, dead=report.outcome == "dead")
        self._ages.ended(received_at)
        if report.worker_id is not None and report.finished_at is not None:
            self._statuses.ended(report.worker_id, report.finished_at)

    def status(self, status: WorkerStatus, received_at: float) -> None:
        """Take in a worker's status."""
        self._heard = True
        self.heard_at = received_at
        self._statuses.heard(status, received_at)

    def depth(self, ready: int, unacknowledged: int | None, consumers: int, at: float) -> None:
        """Take in what the broker says of the upload queue; where it says less, statuses bound the rest."""
        if unacknowledged is None:
            count = self._statuses.count(at)
            least, most, unheard = in_flight_bounds(
                consumers, count.ready, count.in_flight, count.slots, self._slots_of(count)
            )
        else:
            least, most, unheard = unacknowledged, unacknowledged, 0
        in_flight = self._arrivals.look(at, self._stored + self._dead, ready, least, most)
        arrived = self._arrivals.total
        unheard = min(unheard, most - in_flight)
        self._depths.add(DepthSample(at, ready, in_flight, unheard, consumers, arrived))

    def _slots_of(self, count: WorkerCounts) -> int:
        """Return the slots of a worker: of the ready ones on average, as set while none was heard of."""
        return count.slots // count.ready if count.ready else self._slots

    def decided(self, desired_workers: int) -> bool:
        """Take in the number decided, `desired` from now on; return whether it is another than before."""
        before, self._desired = self._desired, desired_workers
        return before != desired_workers

    @property
    def blind(self) -> bool:
        """Whether nothing at all was heard so far: no report, no status, no depth."""
        return not self._heard and not self._depths.known

    @property
    def totals(self) -> ObservedTotals:
        """Sums since the observation began."""
        return ObservedTotals(
            stored=self._stored,
            in_time=self._in_time,
            dead=self._dead,
            failed=self._failed,
            start_seconds=self._statuses.start_seconds,
        )

    def snapshot(self, now: float) -> Snapshot:
        """Return what is known at `now`; the response times since the snapshot before are handed out once."""
        summary = self.window.summary(now)
        count = self._statuses.count(now)
        depth = self._depths.newest(now)
        warming_up = now - self._started_at < self.window.seconds
        watched = min(self.window.seconds, now - self._started_at)
        desired = self._current(count, depth, warming_up=warming_up)
        ended = summary.stored + summary.dead
        responses, services = self._take_recent()
        return Snapshot(
            app_id=self.app_id,
            at=now,
            slo=self._slo,
            window=self.window.seconds,
            slots_per_worker=self._slots_of(count),
            slots=count.slots,
            slots_of_new=self._statuses.slots_of_new or float(self._slots),
            workers=Workers(
                desired=desired,
                starting=count.starting,
                ready=count.ready,
                busy=count.busy,
                standby=count.standby,
                draining=count.draining,
            ),
            start_delay=self._statuses.start_delay,
            start_cpu=self._statuses.start_cpu,
            arrival_rate=self._depths.arrival_rate(now, watched),
            throughput=summary.stored / watched if watched > 0 else None,
            messages_ready=None if depth is None else depth.ready,
            arrivals=self._arrivals.total if self._depths.known else None,
            messages_unacknowledged=None if depth is None else depth.in_flight,
            unheard_in_flight=0 if depth is None else depth.unheard,
            depth_age=self._depths.age(now),
            oldest_age=self._ages.oldest(depth, self._depths.seconds_since_empty(now), now),
            in_flight_age=self._ages.in_flight(count.in_flight if depth is None else depth.in_flight, now),
            service_time=summary.service_time,
            waiting_time=summary.waiting_time,
            response_time=summary.response_time,
            attainment=summary.in_time / ended if ended else None,
            recent_response_times=responses,
            recent_service_times=services,
            failures=summary.failed + summary.dead,
            failure_reasons=self._reasons.newest(now, REASONS_TOLD),
            totals=self.totals,
            stale=self._stale(summary, count, depth),
            warming_up=warming_up,
            platform=self.platform,
        )

    def _current(self, count: WorkerCounts, depth: DepthSample | None, *, warming_up: bool) -> int:
        """Return the number of workers that stands until another is decided.

        At first it is the number that run, so that a monitor's restart changes nothing: those whose status
        says so, or, where more, the consumers of the queue. During the first window one that turns up late
        still counts.
        """
        if self._desired is not None and not warming_up:
            return self._desired
        running = max(count.starting + count.ready, depth.consumers if depth is not None else 0)
        return running if self._desired is None else max(running, self._desired)

    def _take_recent(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return response and service times since the last snapshot; none of these where one is unknown."""
        responses, services = tuple(self._response_times), tuple(self._service_times)
        self._response_times.clear()
        self._service_times.clear()
        return responses, () if math.isnan(sum(services)) else services

    def _stale(
        self, summary: WindowSummary, count: WorkerCounts, depth: DepthSample | None
    ) -> tuple[str, ...]:
        stale: list[str] = []
        if depth is None and self._depths.known:
            stale.append("messages_ready")
        if summary.service_is_old:
            stale.append("service_time")
        if count.stale:
            stale.append("workers")
        return tuple(stale)
