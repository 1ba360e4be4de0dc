"""The monitor's eyes in virtual time: a policy sees what a monitor would see, and no more.

In: the reports of uploads that ended, counts of the queue and of the workers. Out: a `Snapshot`, by the code
of `analysis/` wherever there is any. Of an upload that waits it knows only that there is one.
"""

from __future__ import annotations

from bisect import bisect_right
from heapq import heappop, heappush
from itertools import compress
from typing import TYPE_CHECKING

from upswell.analysis.age_estimates import AgeEstimates
from upswell.analysis.application import RECENT_REPORTS
from upswell.analysis.arrivals import Arrivals, in_flight_bounds
from upswell.analysis.queue_depths import DepthHistory, DepthSample
from upswell.analysis.snapshot import ObservedTotals, Snapshot, Workers
from upswell.analysis.worker_statuses import STALE_AFTER_INTERVALS
from upswell.simulator.simulated_window import SimulatedWindow
from upswell.simulator.world import LATE_BY

if TYPE_CHECKING:
    from random import Random

    from upswell.simulator.pool import Ended, WorkerPool
    from upswell.simulator.slotted import SlottedPool
    from upswell.simulator.world import World


class Observer:
    """One application's, from `begin` on; taken to have watched an empty queue for one window before."""

    def __init__(self, world: World, rng: Random, begin: float) -> None:
        self._world = world
        self._rng = rng
        self._objective = world.slo
        self._each, self._one_more = world.slots, float(world.slots)
        """Slots of a worker, and of a new one, where all have as many."""
        self._at_once = not (world.report_lag or world.report_loss or world.late_reports)
        interval = world.decision_interval
        intervals = max(1, round(world.window / interval))
        self._window = window = SimulatedWindow(intervals, interval, world.slo.seconds)
        self._ages = AgeEstimates(world.window)
        self._depths = DepthHistory(window.seconds)
        self._arrivals = Arrivals(world.window, STALE_AFTER_INTERVALS * world.status_interval)
        self._arrivals.look(begin, 0, 0, 0, 0)
        self._depths.add(DepthSample(begin, 0, 0, 0, world.initial_workers, 0))
        self._consumers = world.initial_workers
        self._lagging: Ended = ([], [], [])
        """Ended, not yet reported."""
        self._late: list[tuple[float, float, float, float]] = []
        """Of the late reports: when it comes, end, response, service."""
        self._stored = self._in_time = 0

    def look(
        self, now: float, ended: Ended, wanted: int, pool: WorkerPool | SlottedPool, waiting: int
    ) -> Snapshot:
        """Return what is seen at `now`: `ended` since the look before, `wanted` by the newest decision."""
        window, ages, depths = self._window, self._ages, self._depths
        measured = pool.measured
        ends, responses, services = ended if self._at_once else self._reported(now, ended)
        if ends:
            heard_at = ends[-1] + self._world.report_lag
            ages.begun(responses[-1] - services[-1], heard_at)
            ages.ended(heard_at)
            self._stored += len(responses)
        self._in_time += len(responses) - window.add(responses, services)
        silent, silent_busy, unheard = pool.silent
        ready = pool.size - pool.starting + silent
        depth = self._depth(now, waiting, pool.in_flight, ready)
        depths.add(depth)
        in_flight = depth.in_flight
        each, one_more = self._each, self._one_more
        slots = ready * each
        if self._world.slots_of is not None:
            slots, one_more = pool.mixed
            each = slots // ready if ready else each
        return Snapshot(
            app_id=self._world.app_id,
            at=now,
            slo=self._objective,
            window=window.seconds,
            slots_per_worker=each,
            slots=slots,
            slots_of_new=one_more,
            # A worker's first status comes when it is ready: those that start are not heard of.
            workers=Workers(
                desired=wanted,
                ready=ready,
                busy=pool.busy_workers + silent_busy,
                standby=pool.standby,
                draining=pool.draining,
            ),
            start_delay=measured.start_delay,
            arrival_rate=depths.arrival_rate(now, window.seconds),
            arrivals=depth.arrived,
            throughput=window.count / window.seconds,
            messages_ready=waiting,
            messages_unacknowledged=in_flight,
            unheard_in_flight=depth.unheard,
            depth_age=0.0,
            oldest_age=ages.oldest(depth, depths.seconds_since_empty(now), now) if waiting else 0.0,
            in_flight_age=ages.in_flight(in_flight, now),
            service_time=window.service_time,
            waiting_time=window.waiting_time,
            response_time=window.response_time,
            attainment=window.attainment,
            recent_response_times=tuple(responses[-RECENT_REPORTS:]) if ends else (),
            recent_service_times=tuple(services[-RECENT_REPORTS:]) if ends else (),
            totals=ObservedTotals(stored=self._stored, in_time=self._in_time, start_seconds=measured.seconds),
            stale=_STALE[window.service_is_old, unheard],
        )

    def _depth(self, now: float, waiting: int, in_flight: int, consumers: int) -> DepthSample:
        """Return the broker's answer, and what follows from it of the uploads in flight."""
        least, most, unheard = in_flight, in_flight, 0
        before, self._consumers = self._consumers, consumers
        if not self._world.in_flight_told:
            slots = self._world.slots
            joined = max(0, consumers - before)  # ready since the round before: not heard of yet
            held = in_flight - min(in_flight, joined * slots)
            heard = min(before, consumers)
            least, most, unheard = in_flight_bounds(consumers, before, held, heard * slots, slots)
        in_flight = self._arrivals.look(now, self._stored, waiting, least, most)
        unheard = min(unheard, most - in_flight)
        return DepthSample(now, waiting, in_flight, unheard, consumers, self._arrivals.total)

    def _reported(self, now: float, ended: Ended) -> Ended:
        """Return what reaches the monitor by now: late by the report lag, thinned by the report loss."""
        lag, loss = self._world.report_lag, self._world.report_loss
        if lag:
            for kept, new in zip(self._lagging, ended, strict=True):
                kept.extend(new)
            count = bisect_right(self._lagging[0], now - lag)
            ended = self._lagging[0][:count], self._lagging[1][:count], self._lagging[2][:count]
            for kept in self._lagging:
                del kept[:count]
        if self._world.late_reports:
            ended = self._with_late(now, ended)
        if loss and ended[0]:
            heard = [self._rng.random() >= loss for _ in ended[0]]
            ends, responses, services = (list(compress(values, heard)) for values in ended)
            return ends, responses, services
        return ended

    def _with_late(self, now: float, ended: Ended) -> Ended:
        """Hold some of the reports back, and add those held back until now."""
        world = self._world
        heard: Ended = ([], [], [])
        for report in zip(*ended, strict=True):
            if self._rng.random() < world.late_reports:
                heappush(self._late, (report[0] + world.report_lag + LATE_BY, *report))
            else:
                for values, value in zip(heard, report, strict=True):
                    values.append(value)
        while self._late and self._late[0][0] <= now:
            _, *report = heappop(self._late)
            for values, value in zip(heard, report, strict=True):
                values.append(value)
        return heard


_STALE: dict[tuple[bool, bool], tuple[str, ...]] = {
    (False, False): (),
    (True, False): ("service_time",),
    (False, True): ("workers",),
    (True, True): ("service_time", "workers"),
}
