"""From the objective alone to a number of workers, by the setting of a family that is best in rehearsal.

In: snapshots. Out: decisions, by the rule of `staffing.py` under one setting of the family. Which one is
set from outside (`follow`): the rehearsal in `simulator/` replays the recent uploads under each. Until then
it follows a cautious one. It computes no other: a decision costs what one setting costs.
"""

from __future__ import annotations

import math
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from msgspec import Struct

from upswell.analysis.decision import REHEARSED, Decision, Reason, Step
from upswell.analysis.sentence import escaped
from upswell.policies.slo.scalar_staffing import RecentMost, ScalarRule, workers_with
from upswell.policies.slo.slo_formula import ASSUMED_SHARE, MOST_SLOTS, service_time
from upswell.policies.slo.staffing import FAMILY, FIRST, ROUNDING, Services, family_with, kept_for

if TYPE_CHECKING:
    from collections.abc import Iterable

    from upswell.analysis.snapshot import Snapshot
    from upswell.policies.slo.staffing import StaffingSetting
    from upswell.settings import Settings

WHO = "slo"
_WORK = {
    (True, True): "{queued:upload} queued, {work_each:s} each, {running} running, {work_left:s} left each",
    (True, False): "{queued:upload} queued, {work_each:s} each",
    (False, True): "{running:upload} running, {work_left:s} left each",
}
_TAKES = "takes {slots:slot} = {workers:worker} of {slots_per_worker:slot}"
_TAKES_MIXED = (
    "takes {slots:slot} = {workers:worker}: {present:slot} on {ready:worker}, {one_more:slot} on each more"
)
_WHY = {
    "backlog": "; to start all within {horizon:s} ",
    "foresight": "; {present:slot} do {done:s} of it in the {start_delay:s} before a new worker is ready, "
    "the rest within {rest:s} ",
    "each": "; a slot for each ",
}
BACKLOG = {
    (*parts, why, mixed): f"{work}{because}{_TAKES_MIXED if mixed else _TAKES}"
    for parts, work in _WORK.items()
    for why, because in _WHY.items()
    for mixed in (False, True)
}
"""What is said where uploads (queued, running) decide; mixed: workers differ in their slots."""
_STREAM = "{rate} uploads/s, {mean:s} each, keep {load:slot} busy; "
_SPARE = "with {beta} x sqrt({load}) to spare "
STREAM = {
    (spare, mixed): f"{_STREAM}{_SPARE if spare else ''}that {_TAKES_MIXED if mixed else _TAKES}"
    for spare in (False, True)
    for mixed in (False, True)
}
NOTHING = "nothing queued, nothing running"
MOST_NEEDED = "the most needed in the last {keep:s} was {most}"
LAST_ONE = "the last worker stays for {keep:s}: a cold start would be late"
UNHEARD = "new workers may run {unheard:upload} more than is known yet"
STANDBY = "{standby:worker} on standby besides, for bursts within a start-up"
BUSY = "{busy:worker is|workers are} busy"
FILLED = "{running:upload} running fill {filled:worker}"

LOAD_DELAYS = 4
"""The offered load is averaged over this many start-up delays: no fleet could follow anything faster."""
SEEN_ROUNDS = 100
"""Rounds of which is known what another setting would have wanted, where that is followed now."""
LOAD_ROUNDS = 5
"""And over at least this many rounds."""
LAST_DELAYS = 100
"""Start-up delays for which the last worker stays, where a cold start is late and nothing was rehearsed. Ski
rental (one start-up) weighs idle time against starting again; here starting again is late as well. Of Poisson
uploads on average g apart exp(-100 d / g) then start cold: fewer than one in a hundred while g < 21 d."""
_DELAY_TOLERANCE = 0.1
COST_OF_CPU = 2.0
"""Seconds that a start costs for each that the worker takes of a processor: its scaler takes one, too."""


class Signals(Struct, frozen=True, gc=False):
    """What one decision was made from, kept for the rehearsal."""

    load: float
    mean: float
    """Of the service times, or what is assumed for it."""
    start_delay: float
    start_cost: float


class SloPolicy:
    """One application's.

    Args:
        interval: seconds between two decisions.
        settings: the family.
        first: which of them is followed until another is chosen.
        start_cost: seconds of a worker that a start costs beyond the time it takes.
        start_cost_measured: whether that holds only until workers tell what they took of a processor.
    """

    def __init__(
        self,
        interval: float = 2.0,
        settings: tuple[StaffingSetting, ...] = FAMILY,
        first: int = FIRST,
        *,
        start_cost: float = 0.0,
        start_cost_measured: bool = False,
    ) -> None:
        self._interval, self._start_cost = interval, start_cost
        self._measures_cost = start_cost_measured
        self._start_cpu: float | None = None
        self.settings = settings
        self.following = first
        self.rehearsed = False
        self._last = RecentMost(1.0)
        self.why = "nothing rehearsed yet"
        self._chooses_standby = len({setting.standby for setting in settings}) > 1
        self._rejected: tuple[Reason, ...] = ()
        self.signals: Signals | None = None
        """What the newest decision was made from; None where the depth was not known."""
        self._services = Services()
        self._arrivals: deque[tuple[float, int]] = deque()
        """When, and how many had come by then."""
        self._start_delay: float | None = None
        self._load_seconds = 0.0
        """Over which the load is averaged, at least."""
        self._recent = RecentMost(1.0)
        self._seen: deque[tuple[int, int, int, float]] = deque(maxlen=SEEN_ROUNDS)
        """In flight, waiting, ready slots and load of the last rounds: for the setting followed next."""
        self._applied = first
        self._rule: ScalarRule | None = None
        self._within = (0.0, 0.0)
        self._keep = self._keep_last = 0.0

    def follow(self, index: int, why: str, *, rehearsed: bool = True) -> None:
        """Follow a setting of the family from the next decision on."""
        self.following = index
        self.rehearsed = rehearsed
        self.why = why
        self._rejected = (Reason(REHEARSED, escaped(why)),)
        self._rule = None

    def learn(self, service_times: Iterable[float]) -> None:
        """Take in service times from before the first snapshot, oldest first."""
        self._services.add(tuple(service_times))

    def decide(self, snapshot: Snapshot) -> Decision:
        """Return the workers that the setting followed wants, and those on standby where it has a say."""
        decision = self._workers(snapshot)
        if not self._chooses_standby:
            return decision
        standby = self.settings[self.following].standby
        if standby and not decision.held:
            decision = decision.then(WHO, decision.desired_workers, STANDBY, {"standby": standby})
        return decision.with_standby(standby)

    def _workers(self, snapshot: Snapshot) -> Decision:
        self.signals = None
        workers = snapshot.workers
        current = workers.desired
        waiting, in_flight = snapshot.messages_ready, snapshot.messages_unacknowledged
        if waiting is None or in_flight is None or snapshot.arrivals is None:
            return Decision.hold(WHO, current, "the queue's depth is unknown")
        signals = self._observe(snapshot, snapshot.arrivals)
        load = signals.load
        if not max(load, waiting, in_flight) < MOST_SLOTS:  # not `>`: false for what is no number, too
            return Decision.hold(WHO, current, "a load of {load:slot} is beyond any fleet", {"load": load})
        self.signals = signals
        changed = self._services.changed(signals.mean)
        rule = self._rule or self._apply(snapshot, signals)
        if changed:
            self._within = self._services.within_one(rule.horizon, signals.mean)
        present, each, one_more = snapshot.ready_slots, snapshot.slots_each, snapshot.slots_of_one_more
        slots, why = rule.need(in_flight, waiting, present, load, self._within)
        self._seen.append((in_flight, waiting, present, load))
        wanted = workers_with(slots, present, each, one_more)
        most, last = self._recent.update(wanted), self._last.update(1 if wanted else 0)
        busy = _filled(snapshot, in_flight, each)
        unheard = 0
        if wanted < current and snapshot.unheard_in_flight:
            at_most = in_flight + snapshot.unheard_in_flight
            slots_then, _ = rule.need(at_most, waiting, present, load, self._within)
            unheard = workers_with(slots_then, present, each, one_more)
        # More at once; fewer only to what was needed lately, and to what is busy: see `staffing.target`.
        number = wanted if wanted > current else min(current, max(wanted, most, last, busy, unheard))
        sizes = _sizes(workers.ready, present, each, one_more)
        mixed = "one_more" in sizes
        why, inputs = _because(why, rule, signals, waiting, in_flight, present, self._within, mixed=mixed)
        if inputs:
            inputs |= sizes
            inputs["slots"], inputs["workers"] = slots, wanted
        steps = (Step(WHO, current, wanted, why, inputs),)
        if number != wanted:
            if number <= busy:
                why, inputs = _because_busy(snapshot, in_flight, each, busy)
            elif number <= unheard:
                why, inputs = UNHEARD, {"unheard": snapshot.unheard_in_flight}
            elif number <= most:
                why, inputs = MOST_NEEDED, {"keep": self._keep, "most": most}
            else:
                why, inputs = LAST_ONE, {"keep": self._keep_last}
            steps = (*steps, Step(WHO, wanted, number, why, inputs))
        return Decision(desired_workers=number, steps=steps, rejected=self._rejected)

    def _apply(self, snapshot: Snapshot, signals: Signals) -> ScalarRule:
        """Return the rule under the setting followed, for what is known now."""
        setting = self.settings[self.following]
        self._rule = rule = ScalarRule.of(setting, snapshot.slo.seconds, signals.start_delay)
        self._within = self._services.within_one(rule.horizon, signals.mean)
        self._keep = setting.keep * kept_for(signals.start_delay, self._start_cost)
        steps = self._keep / self._interval
        changed, self._applied = self._applied != self.following, self.following
        if not changed or steps > SEEN_ROUNDS:
            self._recent.resize(steps)
        else:
            # What this setting would have wanted lately stays, not what the one before did.
            self._recent = RecentMost(steps)
            lately = max(0, len(self._seen) - math.ceil(steps) - 1)
            each, one_more = snapshot.slots_each, snapshot.slots_of_one_more
            for seen in islice(self._seen, lately, None):
                slots, _ = rule.need(*seen, self._within)
                self._recent.update(workers_with(slots, seen[2], each, one_more))
        # A start-up and a mean service that take longer than the objective make a cold start late.
        late = not self.rehearsed and signals.start_delay + signals.mean > snapshot.slo.seconds
        self._keep_last = LAST_DELAYS * signals.start_delay if late else 0.0
        self._last.resize(self._keep_last / self._interval)
        return rule

    def _observe(self, snapshot: Snapshot, arrivals: int) -> Signals:
        """Take in one snapshot; the load is that of the uploads that came in the last seconds."""
        start_delay = self._start_delay
        if (
            start_delay is None
            or snapshot.start_delay != start_delay
            or snapshot.start_cpu != self._start_cpu
        ):
            start_delay = self._delay(snapshot)
        if snapshot.recent_service_times:
            self._services.add(snapshot.recent_service_times)
        mean = self._services.mean
        if mean is None:
            mean = self._assumed_mean(snapshot)
        # Nor do busy slots change faster than uploads end; and of a few rounds chance makes the most.
        seconds = max(self._load_seconds, min(snapshot.slo.seconds, mean))
        now, counts = snapshot.at, self._arrivals
        if not counts:
            counts.append((now - self._interval, 0))
        while len(counts) > 1 and counts[1][0] <= now - seconds + self._interval / 2:
            counts.popleft()
        counts.append((now, arrivals))
        begin, before = counts[0]
        load = (arrivals - before) / max(seconds, now - begin) * mean
        return Signals(load, mean, start_delay, self._start_cost)

    def _assumed_mean(self, snapshot: Snapshot) -> float:
        """Return the mean service time where no report told it, from the best source there is."""
        known = service_time(snapshot)
        return ASSUMED_SHARE * snapshot.slo.seconds if known is None else known.mean

    def _delay(self, snapshot: Snapshot) -> float:
        """Return the start-up delay as it is known now, and note what a start costs: no small changes."""
        before, now = self._start_delay, snapshot.start_delay
        if before is None:
            before = self._start_delay = ASSUMED_SHARE * snapshot.slo.seconds if now is None else now
        elif now is not None and abs(now - before) > _DELAY_TOLERANCE * before:
            before = self._start_delay = now
            self._rule = None
        cpu = self._start_cpu = snapshot.start_cpu
        if self._measures_cost and cpu is not None:
            cost = COST_OF_CPU * cpu
            if abs(cost - self._start_cost) > _DELAY_TOLERANCE * self._start_cost:
                self._start_cost = cost
                self._rule = None
        kept = kept_for(before, self._start_cost)
        self._load_seconds = max(LOAD_DELAYS * kept, LOAD_ROUNDS * self._interval)
        return before


def from_settings(settings: Settings) -> SloPolicy:
    """Return the policy of an application."""
    return SloPolicy(
        settings.decision_interval,
        family_with(settings.standby_workers),
        start_cost=settings.assumed_start_cost,
        start_cost_measured=settings.start_cost == "auto",
    )


def _sizes(ready: int, present: int, each: float, one_more: float) -> dict[str, float]:
    """Return what turns slots into workers: the slots of each, or what there are and what one more has."""
    if each == one_more and each % 1 == 0:
        return {"slots_per_worker": int(each)}
    return {"present": present, "ready": ready, "one_more": one_more}


def _filled(snapshot: Snapshot, in_flight: int, each: float) -> int:
    """Return how many workers of so many slots are kept for what runs.

    A broker spreads uploads over all workers, so each of several slots has one in hand nearly always: as many
    are kept as they fill. Who drains finishes its uploads first.
    """
    busy = snapshot.workers.busy - snapshot.workers.draining
    if each <= 1:
        return busy
    return min(busy, math.ceil((in_flight + snapshot.unheard_in_flight) / each - ROUNDING))


def _because_busy(snapshot: Snapshot, in_flight: int, each: float, busy: int) -> tuple[str, dict[str, float]]:
    if each <= 1:
        return BUSY, {"busy": busy}
    return FILLED, {"running": in_flight + snapshot.unheard_in_flight, "filled": busy}


def _because(  # noqa: PLR0917 - positional for speed: once a decision
    why: str,
    rule: ScalarRule,
    signals: Signals,
    queued: int,
    running: int,
    present: int,
    within: tuple[float, float],
    *,
    mixed: bool,
) -> tuple[str, dict[str, float]]:
    """Return what explains the slots wanted: a template, and all inputs but the result.

    `present` are the slots of the ready workers, `within` the seconds of work of one upload within the
    horizon: queued, and running. `mixed`: whether workers differ in their slots.
    """
    if why == "stream":
        load, mean = signals.load, signals.mean
        rate = load / mean if mean > 0 else math.nan
        inputs = {"rate": rate, "mean": mean, "load": load}
        if rule.beta:
            inputs["beta"] = rule.beta
        return STREAM[bool(rule.beta), mixed], inputs
    if not (queued or running):
        return NOTHING, {}
    inputs: dict[str, float] = {}
    if queued:
        inputs["queued"], inputs["work_each"] = queued, within[0]
    if running:
        inputs["running"], inputs["work_left"] = running, within[1]
    if why == "backlog":
        inputs["horizon"] = rule.horizon
    elif why == "foresight":
        work = queued * within[0] + running * within[1]
        inputs["present"], inputs["done"] = present, min(present, work / rule.horizon) * rule.delay
        inputs["start_delay"], inputs["rest"] = rule.delay, rule.horizon - rule.delay
    return BACKLOG[queued > 0, running > 0, why, mixed], inputs
