"""More workers, no more throughput: stop scaling out, say what was measured, go back, probe again later.

Behind the workers something may be shared: an uplink, a disk, a store that takes 100 uploads a second and no
more. Then each worker more makes every upload slower, and a policy that sees slow uploads asks for more. The
signature: while all slots are busy and uploads wait, a slot's rate falls as the slots grow in number
(service time grows in proportion to them).

From rates measured with fewer workers (y uploads a second and busy slot) and the throughput X with the
present ones follows the number of slots from where more add nothing, N* = X / y: the knee of the asymptotic
bounds (Denning and Buzen 1978; Lazowska et al., "Quantitative System Performance", 1984, chapter 5).

Slower slots alone prove nothing: the uploads may have grown. So a suspicion is tried: with fewer workers
throughput stays (a bottleneck: they were useless) or falls with them (none: they come back, and the check
keeps quiet for a while, twice as long each time). A confirmed limit is probed again with more workers, after
a pause that doubles each time nothing has changed.

    free --suspicion--> fewer tried --same throughput--> capped --pause over--> more tried --no gain--> capped
                           |                                                       |
                           +--throughput fell--> free, quiet for a while           +--gain--> free

Where nothing gets through at all, no rates are needed: while every attempt fails, and as many did in a row as
there are slots (the store is down, for one), more workers would only fail more often, so none is added.

What this snapshot shows of load counts from the next decision on, so that more backlog never means fewer
workers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from msgspec import Struct

from upswell.analysis.slot_rates import Estimate, SlotBatch, SlotRates, ratio_bounds, slot_rate, throughput

if TYPE_CHECKING:
    from upswell.analysis.decision import Decision, Inputs
    from upswell.analysis.snapshot import Snapshot

WHO = "bottleneck"
FAILING = "nothing gets through: {failed:attempt} failed and none succeeded since, so no worker is added"
TRY_FEWER = (
    "{before:worker} did {throughput} uploads/s, {slot_rate} a slot, where fewer did {best_slot_rate}: "
    "{knee:worker} could do the same, so {limit} are tried"
)
TRY_MORE = "{before:worker} did {throughput} uploads/s and more did no more; {limit} are tried again"
CAPPED = (
    "a shared bottleneck: {before:worker} did {throughput_before} uploads/s, {limit} did {throughput} "
    "(± {error} in {measurements:measurement}), so no more than {limit} run; "
    "more are tried every {pause:s} or less often"
)

LEAST_FAILED = 3
"""Attempts that failed in a row, at least, before they mean more than a bad upload."""
FORGOTTEN_SECONDS = 60.0
"""After so long without a further one, or a window if that is longer: workers pause for 30 s at most."""
WASTED = 2 / 3
"""A suspicion begins where, for sure, this share of the slots would have had the same throughput."""
LEAST_BATCHES = 6
LEAST_UPLOADS = 100
"""A rate from fewer uploads starts no trial: sizes vary, and few workers are no bottleneck worth a search."""
MOST_BATCHES = 40
"""A trial that is undecided after so many batches has found no clear difference."""
LIKELY = 1.48
"""Student's t for 90 % on one side and six batches: a trial that probably costs throughput ends at once."""
TRIED_SHARE = 0.5
"""A trial takes away half of the workers at most."""
PROBE_FACTOR = 1.5
PAUSE_WINDOWS = 10.0
LONGEST_PAUSE_WINDOWS = 160.0
TRIAL_WINDOWS = 20.0
MEMORY_WINDOWS = 60.0


class Trial(Struct, frozen=True):
    """`workers` are tried instead of `before`, which had the throughput `reference`."""

    workers: int
    before: int
    reference: Estimate
    begun_at: float


class Failing:
    """Counts the attempts that failed since an upload was stored; forgets them a while after the last."""

    def __init__(self) -> None:
        self._stored: int = 0
        self._failed: int = 0
        self._failed_before: int = 0
        self._failed_at = -math.inf
        self._found = False  # it lasts, however many workers become ready meanwhile

    def observe(self, snapshot: Snapshot) -> int:
        """Return how many attempts failed in a row while nothing gets through, else 0."""
        totals = snapshot.totals
        if totals is None:
            return 0
        if snapshot.at - self._failed_at > max(snapshot.window, FORGOTTEN_SECONDS):
            self._failed_before, self._found = self._failed, False
        if totals.stored != self._stored:
            self._stored, self._failed_before, self._found = totals.stored, totals.failed, False
        if totals.failed != self._failed:
            self._failed, self._failed_at = totals.failed, snapshot.at
        in_a_row = self._failed - self._failed_before
        slots = snapshot.ready_slots
        self._found |= in_a_row >= max(LEAST_FAILED, slots)
        return in_a_row if self._found else 0


class BottleneckCheck:
    """Keep any policy from adding workers that add nothing."""

    def __init__(self) -> None:
        self._rates: SlotRates | None = None
        self._trial: Trial | None = None
        self._cap: int | None = None
        self._slot_rate = 0.0  # uploads a second where it was largest: the knee is counted from it
        self._measured: list[SlotBatch] = []  # of the trial, or of the cap, newest last
        self._pause = 0.0  # seconds; doubled by each trial that changed nothing
        self._again_at = -math.inf
        self._why: tuple[str, Inputs] = ("", {})
        self._capped_because = self._why
        self._failing = Failing()

    def __call__(self, snapshot: Snapshot, decision: Decision) -> Decision:
        """Return the decision, or the number beyond which more workers were measured to be useless."""
        failed, current = self._failing.observe(snapshot), snapshot.workers.desired
        limit, why, found = self._limit, self._why, self._cap is not None
        self._observe(snapshot, decision.desired_workers)
        if limit is not None and decision.desired_workers > limit and not decision.held:
            decision = decision.then(WHO, limit, *why)
        if failed:
            kept = decision.desired_workers if decision.held else min(current, decision.desired_workers)
            decision = decision.then(WHO, kept, FAILING, {"failed": failed})
        return decision.alarmed("bottleneck") if found or failed else decision

    @property
    def _limit(self) -> int | None:
        return self._trial.workers if self._trial is not None else self._cap

    def _observe(self, snapshot: Snapshot, wanted: int) -> None:
        if self._rates is None:
            self._rates = SlotRates(MEMORY_WINDOWS * snapshot.window)
        batch = self._rates.observe(snapshot)
        trial = self._trial
        if trial is not None:
            if snapshot.at - trial.begun_at > TRIAL_WINDOWS * snapshot.window:
                self._end(trial, snapshot, kept=trial.workers > trial.before)
            elif batch is not None and batch.saturated and batch.workers == trial.workers:
                self._measured.append(batch)
                self._judge(trial, snapshot)
        elif self._cap is not None:
            self._watch_cap(self._cap, batch, snapshot, wanted)
        elif batch is not None and snapshot.at >= self._again_at:
            self._suspect(batch, self._rates, snapshot)

    def _suspect(self, batch: SlotBatch, rates: SlotRates, snapshot: Snapshot) -> None:
        """Begin a trial where the slots of fewer workers were, each, much faster."""
        if batch.workers < 2 or not batch.saturated:  # noqa: PLR2004 - one worker cannot become fewer
            return
        here = [b for b in rates.of(batch.workers) if b.saturated]
        if not _is_enough(here):
            return
        rate = slot_rate(here)
        fewer = [slot_rate(seen) for seen in rates.below(WASTED * batch.workers) if _is_enough(seen)]
        faster = [seen.mean for seen in fewer if ratio_bounds(rate, seen)[1] < WASTED]
        if faster:
            self._slot_rate = max(faster)
            self._try_fewer(batch.workers, throughput(here), snapshot)

    def _try_fewer(self, before: int, reference: Estimate, snapshot: Snapshot) -> None:
        slots = snapshot.slots_per_worker
        knee = math.ceil(reference.mean / self._slot_rate / slots)
        workers = max(1, knee, math.ceil(TRIED_SHARE * before))
        self._begin(Trial(workers, before, reference, snapshot.at))
        self._why = (
            TRY_FEWER,
            {
                "before": before,
                "throughput": reference.mean,
                "slot_rate": reference.mean / before / slots,
                "best_slot_rate": self._slot_rate,
                "slots_per_worker": slots,
                "knee": knee,
                "limit": workers,
            },
        )

    def _try_more(self, cap: int, reference: Estimate, snapshot: Snapshot) -> None:
        workers = max(cap + 1, math.ceil(PROBE_FACTOR * cap))
        self._begin(Trial(workers, cap, reference, snapshot.at))
        self._why = (TRY_MORE, {"before": cap, "throughput": reference.mean, "limit": workers})

    def _begin(self, trial: Trial) -> None:
        self._trial, self._measured = trial, []

    def _judge(self, trial: Trial, snapshot: Snapshot) -> None:
        """End the trial where throughput is, for sure, nearer to "the same" or nearer to "in proportion"."""
        if len(self._measured) < LEAST_BATCHES:
            return
        measured = throughput(self._measured)
        middle = (1 + trial.workers / trial.before) / 2
        fewer = trial.workers < trial.before
        low, high = ratio_bounds(measured, trial.reference)
        if fewer:
            high = ratio_bounds(measured, trial.reference, LIKELY)[1]
        if low > middle:
            self._end(trial, snapshot, kept=fewer)
        elif high < middle or len(self._measured) >= MOST_BATCHES:
            self._end(trial, snapshot, kept=not fewer)

    def _end(self, trial: Trial, snapshot: Snapshot, *, kept: bool) -> None:
        """Conclude: `kept` says that the difference in workers made none in throughput."""
        self._trial = None
        fewer = trial.workers < trial.before
        if kept and fewer:
            now = throughput(self._measured)
            self._cap_at(trial.workers, trial.before, now, trial.reference, snapshot)
            self._pause = PAUSE_WINDOWS * snapshot.window
            knee = math.ceil(now.mean / self._slot_rate / snapshot.slots_per_worker)
            if max(1, knee) < trial.workers:
                self._try_fewer(trial.workers, now, snapshot)
                return
        elif kept or (fewer and self._cap is not None):
            # More brought nothing, or the last step down was one too many: what was known before stands.
            self._measured = []
            self._why = self._capped_because
            if kept:
                self._pause = min(2 * self._pause, LONGEST_PAUSE_WINDOWS * snapshot.window)
        else:
            self._lift(snapshot, false_alarm=fewer)
        self._again_at = snapshot.at + self._pause

    def _cap_at(self, cap: int, before: int, now: Estimate, reference: Estimate, snapshot: Snapshot) -> None:
        self._cap = cap
        self._capped_because = self._why = (
            CAPPED,
            {
                "before": before,
                "throughput_before": reference.mean,
                "limit": cap,
                "throughput": now.mean,
                "error": now.error,
                "measurements": now.count,
                "pause": PAUSE_WINDOWS * snapshot.window,
            },
        )

    def _lift(self, snapshot: Snapshot, *, false_alarm: bool) -> None:
        self._cap, self._measured = None, []
        if self._rates is not None:
            self._rates.forget()
        least = PAUSE_WINDOWS * snapshot.window
        longest = LONGEST_PAUSE_WINDOWS * snapshot.window
        self._pause = min(longest, max(least, 2 * self._pause)) if false_alarm else 0.0

    def _watch_cap(self, cap: int, batch: SlotBatch | None, snapshot: Snapshot, wanted: int) -> None:
        """Keep the cap's throughput fresh, and try more when the pause is over and more are wanted."""
        if batch is not None and batch.saturated and batch.workers == cap:
            self._measured = [*self._measured[1 - MOST_BATCHES :], batch]
        enough = len(self._measured) >= LEAST_BATCHES
        if enough and wanted > cap and snapshot.at >= self._again_at:
            self._try_more(cap, throughput(self._measured), snapshot)


def _is_enough(batches: list[SlotBatch]) -> bool:
    return len(batches) >= LEAST_BATCHES and sum(b.stored for b in batches) >= LEAST_UPLOADS
