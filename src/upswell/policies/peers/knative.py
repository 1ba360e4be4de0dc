"""Knative's pod autoscaler (KPA): a stable window of 60 s and a panic window of 6 s over the concurrency.

From the source (knative/serving, pkg/autoscaler/scaling/autoscaler.go as of 2023, which newer releases kept;
defaults of pkg/autoscaler/config): both windows, the panic threshold and rates; without a history, over a
fleet of more than one, it begins in panic, so that none goes until a stable window is over. The scale-down
delay is 0, the default.

Assumed: concurrency is the queue's depth, as a request that waits counts in Knative's queue proxy and
activator; it is sampled at each decision, every 2 s.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Annotated

from msgspec import Struct

from upswell.analysis.decision import Decision
from upswell.settings.fields import Positive
from upswell.settings.setting import Setting

if TYPE_CHECKING:
    from upswell.analysis.snapshot import Snapshot

WHO = "knative"
AVERAGE = "{average} uploads at once in the last {window:s} / {target} a worker = {workers:worker}"
RATES = "one decision goes from {ready:ready worker} to {least} at least and {most} at most"
PANIC = f"in panic: {AVERAGE}, never fewer than {{before}} before in it"
GRACE = "the last worker stays for {grace:s}"

STABLE_WINDOW = 60.0
PANIC_WINDOW = 6.0
PANIC_THRESHOLD = 2.0
MAX_SCALE_UP_RATE = 1000.0
MAX_SCALE_DOWN_RATE = 2.0
ZERO_GRACE = 30.0
UTILISATION = 0.7


class KnativeSettings(Struct, frozen=True, kw_only=True):
    """The table `[policies.knative]`."""

    concurrency: Annotated[
        Positive | None, Setting("Target of concurrent uploads per worker. Not set: its slots.")
    ] = None


class KnativePolicy:
    """`concurrency` uploads at once a worker, 70 % of it aimed at; by default a worker's slots."""

    def __init__(self, concurrency: float | None = None) -> None:
        self._concurrency = concurrency
        self._seen: deque[tuple[float, int]] = deque()
        self._panic_at: float | None = None
        self._most_in_panic = 0
        self._zero_since: float | None = None

    def decide(self, snapshot: Snapshot) -> Decision:
        """Return the stable window's number, or in panic the larger of both, never fewer than before."""
        current = snapshot.workers.desired
        depth = snapshot.queue_depth
        if depth is None:
            return Decision.hold(WHO, current, "the queue's depth is unknown")
        now = snapshot.at
        if not self._seen and snapshot.workers.ready > 1:
            self._panic_at, self._most_in_panic = now, snapshot.workers.ready
        self._seen.append((now, depth))
        while self._seen[0][0] <= now - STABLE_WINDOW:
            self._seen.popleft()
        target = (self._concurrency or snapshot.slots_per_worker) * UTILISATION
        stable_average, panic_average = self._averages(now)
        stable, panic = math.ceil(stable_average / target), math.ceil(panic_average / target)
        ready = max(1, snapshot.workers.ready)
        self._watch_panic(now, over=panic / ready >= PANIC_THRESHOLD)
        most, least = math.ceil(MAX_SCALE_UP_RATE * ready), math.floor(ready / MAX_SCALE_DOWN_RATE)
        wanted = min(max(stable, least), most)
        inputs = {"average": stable_average, "window": STABLE_WINDOW, "target": target, "workers": stable}
        decision = Decision.of(WHO, current, stable, AVERAGE, inputs)
        if wanted != stable:
            decision = decision.then(WHO, wanted, RATES, {"least": least, "most": most, "ready": ready})
        if self._panic_at is not None:
            wanted = max(wanted, min(max(panic, least), most), self._most_in_panic)
            before, self._most_in_panic = self._most_in_panic, wanted
            inputs = {"average": panic_average, "window": PANIC_WINDOW, "target": target, "workers": panic}
            decision = decision.then(WHO, wanted, PANIC, {**inputs, "before": before})
        graced = self._graced(now, wanted, current)
        if graced == wanted:
            return decision
        return decision.then(WHO, graced, GRACE, {"grace": ZERO_GRACE})

    def _averages(self, now: float) -> tuple[float, float]:
        stable = sum(depth for _, depth in self._seen) / len(self._seen)
        recent = [depth for at, depth in self._seen if at > now - PANIC_WINDOW]
        return stable, sum(recent) / len(recent)

    def _watch_panic(self, now: float, *, over: bool) -> None:
        if over:
            self._panic_at = now
        elif self._panic_at is not None and self._panic_at + STABLE_WINDOW < now:
            self._panic_at = None
            self._most_in_panic = 0

    def _graced(self, now: float, wanted: int, current: int) -> int:
        """Return the number wanted, or 1 while 0 has been wanted for less than the grace period."""
        if wanted > 0 or current == 0:
            self._zero_since = None
            return wanted
        if self._zero_since is None:
            self._zero_since = now
        return 0 if now - self._zero_since >= ZERO_GRACE else 1
