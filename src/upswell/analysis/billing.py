"""What one application's workers cost: snapshots come in, billed worker-seconds by state go out. Pure.

A worker is billed from the request to start it until its end, whatever it does meanwhile. The counts of a
snapshot hold for the interval that it ends, joined by straight lines (trapezoids), so that each change of a
worker's state is placed to half a decision interval on average and a whole one at worst; errors of either
sign cancel. The time before a worker is first heard of is known from its own status. Known to be wrong: a
crashed worker is billed until it counts as silent; one that is started and never speaks is not billed; what
happened while no monitor ran is not billed, and counted as `unobserved`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from upswell.analysis.snapshot import ObservedTotals

if TYPE_CHECKING:
    from upswell.analysis.snapshot import Snapshot

HOUR = 3600.0


class Bill(Struct, frozen=True, kw_only=True, gc=False):
    """Worker-seconds by state since `since`, and the uploads that they bought.

    `busy`: a worker that runs at least one upload; `idle`: ready, and runs none. `unobserved`: seconds (not
    worker-seconds) in which no monitor ran.
    """

    since: float
    at: float
    starting: float = 0.0
    standby: float = 0.0
    busy: float = 0.0
    idle: float = 0.0
    draining: float = 0.0
    unobserved: float = 0.0
    stored: int = 0
    in_time: int = 0
    dead: int = 0

    @property
    def worker_seconds(self) -> float:
        """All billed worker-seconds."""
        return self.starting + self.standby + self.busy + self.idle + self.draining

    def price(self, per_worker_hour: float) -> float:
        """Return what that costs, in the currency of the price."""
        return self.worker_seconds / HOUR * per_worker_hour

    def price_per_upload_in_time(self, per_worker_hour: float) -> float | None:
        """Return the whole cost over the uploads that met their objective; None where none did."""
        return self.price(per_worker_hour) / self.in_time if self.in_time else None

    @property
    def seconds_per_upload_in_time(self) -> float | None:
        """Worker-seconds for each upload that met its objective: the same without a price."""
        return self.worker_seconds / self.in_time if self.in_time else None


class Billing:
    """Adds up one application's snapshots; goes on from an earlier `bill` where there is one.

    `totals`: of what was observed before; who led then has billed it.
    """

    def __init__(self, bill: Bill | None = None, totals: ObservedTotals | None = None) -> None:
        self._bill = bill
        self._counts: dict[str, int] | None = None
        self._totals = totals or ObservedTotals()

    def observe_anew(self) -> None:
        """Go on with another observation, whose totals begin at 0."""
        self._totals = ObservedTotals()

    def observe(self, snapshot: Snapshot) -> Bill:
        """Take in a snapshot and return the bill up to it."""
        before, counts = self._counts, snapshot.workers.by_state()
        bill = self._bill or Bill(since=snapshot.at, at=snapshot.at)
        at, seconds = max(snapshot.at, bill.at), max(0.0, snapshot.at - bill.at)
        unobserved, half = 0.0, seconds / 2
        if before is None:
            # An earlier monitor's clock may have been ahead: from now on ours counts.
            before, at, unobserved, half = counts, snapshot.at, seconds, 0.0
        elif "workers" in snapshot.stale and sum(counts.values()) < sum(before.values()):
            counts = before  # silent workers most likely run on
        self._counts = counts
        # What the totals grew by: they begin at 0 with each observation, the bill does not.
        before_totals = self._totals
        totals = self._totals = before_totals if snapshot.totals is None else snapshot.totals
        started = totals.start_seconds - before_totals.start_seconds
        worked = {state: half * (before[state] + count) for state, count in counts.items()}
        self._bill = Bill(
            since=bill.since,
            at=at,
            starting=bill.starting + worked["starting"] + started,
            standby=bill.standby + worked["standby"],
            busy=bill.busy + worked["busy"],
            idle=bill.idle + worked["idle"],
            draining=bill.draining + worked["draining"],
            unobserved=bill.unobserved + unobserved,
            stored=bill.stored + totals.stored - before_totals.stored,
            in_time=bill.in_time + totals.in_time - before_totals.in_time,
            dead=bill.dead + totals.dead - before_totals.dead,
        )
        return self._bill
