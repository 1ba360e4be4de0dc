"""From the objective alone to a number of workers, by the setting of a family that is best in rehearsal.

In: snapshots. Out: decisions. It computes the rule of `staffing.py` under every setting of the family, and
follows one. Which one is told from outside (`follow`): the rehearsal in `simulator/` replays the recent
uploads under each. Left alone it follows a cautious one, or another policy that it was given to start with.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from upswell.analysis.decision import Decision
from upswell.policies.staffing import FAMILY, FIRST, Family, Floats, RecentMaximum, Services, target

if TYPE_CHECKING:
    from collections.abc import Iterable

    from upswell.analysis.snapshot import Snapshot
    from upswell.policies.protocol import ScalingPolicy
    from upswell.policies.staffing import Setting

LOAD_DELAYS = 4
"""The offered load is averaged over so many start-up delays: no fleet could follow anything faster."""
ASSUMED_SHARE = 0.25
"""Before anything was measured: a service time, and a start-up delay, of this share of the objective."""
_DELAY_TOLERANCE = 0.1
_REFRESH = 50


class Signals(Struct, frozen=True):
    """What one decision was made from, kept for the rehearsal."""

    load: float
    means: tuple[Floats, Floats]
    start_delay: float


class SloFamilyPolicy:
    """One application's.

    Args:
        interval: seconds between two decisions.
        settings: the family.
        first: which of them is followed until another is told.
        beginning: decides until then, in place of `first`.
    """

    def __init__(
        self,
        interval: float = 2.0,
        settings: tuple[Setting, ...] = FAMILY,
        first: int = FIRST,
        beginning: ScalingPolicy | None = None,
    ) -> None:
        self._beginning = beginning
        self._interval = interval
        self._settings = settings
        self.following = first
        self.why = "nothing rehearsed yet"
        self._services = Services()
        self._unrefreshed = _REFRESH
        self._depth_before = 0
        self._arrived: deque[int] = deque()
        self._arrived_sum = 0
        self.family: Family | None = None
        self.signals: Signals | None = None
        """What the newest decision was made from; None where the depth was not known."""
        self._means: tuple[Floats, Floats] | None = None
        self._recent: RecentMaximum | None = None

    def follow(self, index: int, why: str) -> None:
        """Follow a setting of the family from the next decision on."""
        self._beginning = None
        self.following = index
        self.why = why

    def learn(self, service_times: Iterable[float]) -> None:
        """Take in service times from before the first snapshot, oldest first."""
        self._services.add(service_times)

    def decide(self, snapshot: Snapshot) -> Decision:
        """Return the workers that the setting followed wants."""
        decision = self._decide(snapshot)
        return decision if self._beginning is None else self._beginning.decide(snapshot)

    def _decide(self, snapshot: Snapshot) -> Decision:
        self.signals = None
        workers = snapshot.workers
        current = workers.requested
        waiting, in_flight = snapshot.messages_ready, snapshot.messages_unacknowledged
        if waiting is None:
            return Decision.hold(current, "the queue's depth is not known")
        family = self._family(snapshot)
        signals = self.signals = self._observe(snapshot, waiting, in_flight or 0, family)
        per_worker = snapshot.slots_per_worker
        present = workers.ready * per_worker
        slots = family.slots(in_flight or 0, waiting, present, signals.load, signals.means)
        wanted = -(-slots // per_worker)
        assert self._recent is not None
        recent = self._recent.update(wanted)
        index = self.following
        wish, kept = int(wanted[index]), int(recent[index])
        busy = workers.busy - workers.draining
        number = int(target(np.array(current), np.array(wish), np.array(kept), np.array(busy)))
        if number < current and in_flight is None:
            return Decision.hold(current, "the number of uploads in flight is not known")
        horizon = float(family.horizons[index])
        return Decision(
            desired_workers=number,
            reason=f"{waiting} wait and {in_flight or 0} are in flight, to be begun within {horizon:.3g} s; "
            f"offered load {signals.load:.3g} slots -> {int(slots[index])} slots; {per_worker} a worker -> "
            f"{wish} workers; {kept} wanted lately, {busy} busy -> {number}",
            numbers={
                "horizon": horizon,
                "load": signals.load,
                "slots": float(slots[index]),
                "wanted_lately": float(kept),
            },
            rejected=(f"other settings: {self.why}",),
        )

    def _family(self, snapshot: Snapshot) -> Family:
        """Return the family for the start-up delay as it is known now."""
        delay = snapshot.start_delay
        if self.family is None:
            assumed = ASSUMED_SHARE * snapshot.slo.seconds if delay is None else delay
            self.family = Family(self._settings, snapshot.slo.seconds, assumed)
            self._recent = RecentMaximum(self.family.keep * assumed / self._interval)
        elif (
            delay is not None
            and abs(delay - self.family.start_delay) > _DELAY_TOLERANCE * self.family.start_delay
        ):
            self.family.set_start_delay(delay)
            assert self._recent is not None
            self._recent.resize(self.family.keep * delay / self._interval)
            self._unrefreshed = _REFRESH
        return self.family

    def _observe(self, snapshot: Snapshot, waiting: int, in_flight: int, family: Family) -> Signals:
        """Take in one snapshot: arrivals are what was reported and what the depth grew by."""
        ended = len(snapshot.recent_response_times)
        depth = waiting + in_flight
        arrived = max(0, depth - self._depth_before + ended)
        self._depth_before = depth
        self._arrived.append(arrived)
        self._arrived_sum += arrived
        intervals = max(1, round(LOAD_DELAYS * family.start_delay / self._interval))
        while len(self._arrived) > intervals:
            self._arrived_sum -= self._arrived.popleft()
        self._learn(snapshot)
        mean = self._services.mean
        if mean is None:
            known = snapshot.service_time
            mean = ASSUMED_SHARE * snapshot.slo.seconds if known is None else known.mean
        load = self._arrived_sum / (intervals * self._interval) * mean
        if self._unrefreshed >= min(_REFRESH, self._services.count // 4 + 1) or self._means is None:
            self._unrefreshed = 0
            self._means = family.means(self._services, mean)
        return Signals(load, self._means, family.start_delay)

    def _learn(self, snapshot: Snapshot) -> None:
        times = snapshot.recent_service_times
        if times:
            self._services.add(times)
            self._unrefreshed += len(times)
