"""From the objective alone to a number of workers, by the setting of a family that is best in rehearsal.

In: snapshots. Out: decisions, by the rule of `staffing.py` under one setting of the family. Which one is told
from outside (`follow`): the rehearsal in `simulator/` replays the recent uploads under each. Left alone it
follows a cautious one. It must not know the others: a decision costs what one setting costs.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from msgspec import Struct

from upswell.analysis.decision import Decision
from upswell.policies.slo.scalar_staffing import RecentMost, Rule
from upswell.policies.slo.slo_formula import MOST_SLOTS, service_time
from upswell.policies.slo.staffing import FAMILY, FIRST, Services

if TYPE_CHECKING:
    from collections.abc import Iterable

    from upswell.analysis.snapshot import Snapshot
    from upswell.policies.slo.staffing import Setting

LOAD_DELAYS = 4
"""The offered load is averaged over so many start-up delays: no fleet could follow anything faster."""
LOAD_ROUNDS = 5
"""And over so many rounds at least."""
ASSUMED_SHARE = 0.25
"""Before anything was measured: a service time, and a start-up delay, of this share of the objective."""
LAST_DELAYS = 100
"""Start-up delays for which the last worker stays, where a cold start is late and nothing was rehearsed. Ski
rental (one start-up) weighs idle time against starting again; here starting again is late as well. Of Poisson
uploads on average g apart exp(-100 d / g) then start cold: fewer than one in a hundred while g < 21 d."""
_DELAY_TOLERANCE = 0.1


class Signals(Struct, frozen=True, gc=False):
    """What one decision was made from, kept for the rehearsal."""

    load: float
    mean: float
    """Of the service times, or what is assumed for it."""
    start_delay: float


class SloPolicy:
    """One application's.

    Args:
        interval: seconds between two decisions.
        settings: the family.
        first: which of them is followed until another is told.
    """

    def __init__(
        self, interval: float = 2.0, settings: tuple[Setting, ...] = FAMILY, first: int = FIRST
    ) -> None:
        self._interval = interval
        self.settings = settings
        self.following = first
        self._told = False
        self._last = RecentMost(1.0)
        self.why = "nothing rehearsed yet"
        self.signals: Signals | None = None
        """What the newest decision was made from; None where the depth was not known."""
        self._services = Services()
        self._arrivals: deque[tuple[float, int]] = deque()
        """When, and how many had come by then."""
        self._start_delay: float | None = None
        self._recent = RecentMost(1.0)
        self._rule: Rule | None = None
        self._within = (0.0, 0.0)

    def follow(self, index: int, why: str) -> None:
        """Follow a setting of the family from the next decision on."""
        self.following = index
        self._told = True
        self.why = why
        self._rule = None

    def learn(self, service_times: Iterable[float]) -> None:
        """Take in service times from before the first snapshot, oldest first."""
        self._services.add(tuple(service_times))

    def decide(self, snapshot: Snapshot) -> Decision:
        """Return the workers that the setting followed wants."""
        self.signals = None
        workers = snapshot.workers
        current = workers.desired
        waiting, in_flight = snapshot.messages_ready, snapshot.messages_unacknowledged
        if waiting is None or in_flight is None or snapshot.arrivals is None:
            return Decision.hold(current, "the queue's depth is not known")
        signals = self._observe(snapshot, snapshot.arrivals)
        load = signals.load
        if not max(load, waiting, in_flight) < MOST_SLOTS:  # not `>`: false for what is no number, too
            return Decision.hold(current, f"a load of {load:.3g} slots is beyond what can be reckoned with")
        self.signals = signals
        changed = self._services.changed(signals.mean)
        rule = self._rule or self._apply(snapshot, signals)
        if changed:
            self._within = self._services.within_one(rule.horizon, signals.mean)
        per_worker = snapshot.slots_per_worker
        present = snapshot.ready_slots
        slots = rule.slots(in_flight, waiting, present, load, self._within)
        wish = -(-slots // per_worker)
        if wish < current and snapshot.unheard_in_flight:
            # Fewer only where what workers not heard of may hold allows it.
            most = in_flight + snapshot.unheard_in_flight
            slots = max(slots, rule.slots(most, waiting, present, load, self._within))
            wish = min(current, -(-slots // per_worker))
        kept = max(self._recent.update(wish), self._last.update(min(1, wish)))
        busy = workers.busy - workers.draining
        # More at once; fewer only to what was wanted lately, never a busy one: see `staffing.target`.
        number = wish if wish > current else min(current, max(wish, kept, busy))
        return Decision(
            desired_workers=number,
            reason=f"{waiting} wait and {in_flight} are in flight, "
            f"to be begun within {rule.horizon:.3g} s; offered load {load:.3g} slots -> {slots} slots; "
            f"{per_worker} a worker -> {wish} workers; {kept} wanted lately, {busy} busy -> {number}",
            numbers={"horizon": rule.horizon, "load": load, "slots": slots, "wanted_lately": kept},
            rejected=(f"other settings: {self.why}",),
        )

    def _apply(self, snapshot: Snapshot, signals: Signals) -> Rule:
        """Return the rule under the setting followed, for what is known now.

        What was wanted lately stays: workers that another setting wanted go no sooner than its own.
        """
        setting = self.settings[self.following]
        self._rule = rule = Rule.of(setting, snapshot.slo.seconds, signals.start_delay)
        self._within = self._services.within_one(rule.horizon, signals.mean)
        self._recent.resize(setting.keep * signals.start_delay / self._interval)
        # A start-up and a mean service that take longer than the objective make a cold start late.
        late = not self._told and signals.start_delay + signals.mean > snapshot.slo.seconds
        self._last.resize(LAST_DELAYS * signals.start_delay / self._interval if late else 0.0)
        return rule

    def _observe(self, snapshot: Snapshot, arrivals: int) -> Signals:
        """Take in one snapshot; the load is that of the uploads that came in the last seconds."""
        start_delay = self._delay(snapshot)
        self._services.add(snapshot.recent_service_times)
        mean = self._mean(snapshot)
        # Nor do busy slots change faster than uploads end; and of a few rounds chance makes the most.
        seconds = max(
            LOAD_DELAYS * start_delay, min(snapshot.slo.seconds, mean), LOAD_ROUNDS * self._interval
        )
        now, counts = snapshot.at, self._arrivals
        if not counts:
            counts.append((now - self._interval, 0))
        while len(counts) > 1 and counts[1][0] <= now - seconds + self._interval / 2:
            counts.popleft()
        counts.append((now, arrivals))
        begin, before = counts[0]
        load = (arrivals - before) / max(seconds, now - begin) * mean
        return Signals(load, mean, start_delay)

    def _mean(self, snapshot: Snapshot) -> float:
        """Return the mean service time, from the best source there is."""
        if self._services.mean is not None:
            return self._services.mean
        known = service_time(snapshot)
        return ASSUMED_SHARE * snapshot.slo.seconds if known is None else known.mean

    def _delay(self, snapshot: Snapshot) -> float:
        """Return the start-up delay as it is known now; small changes are none."""
        before, now = self._start_delay, snapshot.start_delay
        if before is None:
            before = self._start_delay = ASSUMED_SHARE * snapshot.slo.seconds if now is None else now
        elif now is not None and abs(now - before) > _DELAY_TOLERANCE * before:
            before = self._start_delay = now
            self._rule = None
        return before
