"""One limit over all applications: who gets the next worker where not everyone can have what they want.

An application's need is w workers: what its policy asked for. With k of them it does about k / w of its
uploads in time, and 1 - k / w late. The next worker goes where that late share, counted half a worker ahead,
is largest:

    gain(k) = (1 - (k + 1/2) / w) x (1 + age / D)

the most that any assignment takes off the sum of w x (late share)^2: nobody is left half late so that another
is perfect. (Taking the most off the plain sum of late uploads would give one application all and the next
nothing; counting shares of an application's own uploads would give fewer workers for more backlog.) `age` is
how long its oldest upload waits, D the time in its objective: of two in equal need the one that waits longer
is served, so that none starves. Where k >= w the gain is negative: workers beyond the need (still there from
a recent peak) come last. A worker in place counts `KEEP` more than one that would first have to start.

Standby workers come out of the total first: they are there whatever is decided, and are paid for. Then, in
this order: minimums, then higher priorities, then the gain, then the name, so that the same numbers give
the same answer. What is not known is not taken from: an application that holds, or was not watched for a full
window yet, keeps what it has where there is enough for that.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from msgspec import Struct

from upswell.analysis.decision import Decision
from upswell.analysis.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from upswell.analysis.decision import Inputs

WHO = "global_limit"
OVER = "all applications need {wanted:worker}, max_workers_total is {total}"
STANDBY = ", {standby} of them on standby"
STANDBY_CUT = "max_workers_total {total} leaves {granted} for standby"
UNKNOWN_TAKEN = "; it had to be taken from applications whose need is unknown, too"
MINIMUMS_TAKEN = "; that is less than all min_workers together"
NOTHING_LEFT = "; nothing is left beyond what is guaranteed"
LOWER_PRIORITY = "; {here} here: its priority is {priority}, the last worker went to priority {last_priority}"
LESS_GAIN = "; {here} here: one more would gain {gain}, the last worker given out gained {last_gain}"

KEEP = 0.1
"""A tenth of an application's uploads must be at stake before a worker changes hands."""


class Bid(Struct, frozen=True, gc=False):
    """What one application wants, and what stands in its settings."""

    snapshot: Snapshot
    decision: Decision
    min_workers: int
    priority: int
    standby: int = 0
    """Workers that the settings have kept connected and idle beyond those decided for; they count in the
    total. Those that a decision chooses besides get what is left."""


class Shares(Struct, frozen=True):
    """The workers of each bid, in order, and what was handed out last: its gain and priority."""

    workers: list[int]
    broken: str
    last_gain: float | None
    last_priority: int


def limited(bids: Sequence[Bid], total: int) -> list[Decision]:
    """Return the decisions, in order, cut to `total` workers in all, standby ones included; 0 means no limit.

    Time grows as (applications + workers) x log(applications).
    """
    if total == 0:
        return [bid.decision for bid in bids]
    wanted = sum(bid.decision.desired_workers for bid in bids)
    left = max(0, total - _standby(bids))
    if wanted <= left:
        return _with_standby([bid.decision for bid in bids], left - wanted, total)
    shares = share_out(bids, left)
    limit = {"total": total, "standby": total - left, "wanted": wanted}
    decisions = [
        bid.decision
        if workers == bid.decision.desired_workers
        else bid.decision.then(WHO, workers, *_why(bid, workers, shares, limit))
        for bid, workers in zip(bids, shares.workers, strict=True)
    ]
    return _with_standby(decisions, 0, total)


def _with_standby(decisions: list[Decision], left: int, total: int) -> list[Decision]:
    """Return the decisions with no more workers chosen for standby than are left, in their order."""
    within: list[Decision] = []
    for decision in decisions:
        chosen = decision.standby_workers or 0
        granted = min(chosen, left)
        left -= granted
        if granted < chosen:
            desired, inputs = decision.desired_workers, {"granted": granted, "total": total}
            within.append(decision.then(WHO, desired, STANDBY_CUT, inputs).with_standby(granted))
        else:
            within.append(decision)
    return within


def below_minimums(bids: Sequence[Bid], total: int) -> int:
    """Return by how many workers the limit is too small for all minimums; 0 where it is not."""
    return max(0, sum(map(_minimum, bids)) + _standby(bids) - total) if total else 0


def _standby(bids: Sequence[Bid]) -> int:
    return sum(bid.standby for bid in bids)


def share_out(bids: Sequence[Bid], total: int) -> Shares:
    """Return the workers of each bid: floors first, then one by one to the largest gain."""
    workers, broken = _floors(bids, total)
    left = total - sum(workers)
    # The smallest comes first: the highest priority, the largest gain, the first name.
    heap = [
        (-bid.priority, -_gain(bid, workers[number]), bid.snapshot.app_id, number)
        for number, bid in enumerate(bids)
        if workers[number] < bid.decision.desired_workers
    ]
    heapq.heapify(heap)
    last_gain, last_priority = None, 0
    while heap and left > 0:
        priority, gain, app_id, number = heap[0]
        last_gain, last_priority = -gain, -priority
        workers[number] += 1
        left -= 1
        bid = bids[number]
        if workers[number] < bid.decision.desired_workers:
            heapq.heapreplace(heap, (priority, -_gain(bid, workers[number]), app_id, number))
        else:
            heapq.heappop(heap)
    return Shares(workers, broken, last_gain, last_priority)


def _floors(bids: Sequence[Bid], total: int) -> tuple[list[int], str]:
    """Return what each has for sure, and what had to be broken for that: as little as the total allows."""
    promises: tuple[tuple[str, Callable[[Bid], int]], ...] = (
        ("", lambda bid: max(_minimum(bid), _unknown(bid))),
        (UNKNOWN_TAKEN, _minimum),
    )
    for broken, floor in promises:
        workers = [floor(bid) for bid in bids]
        if sum(workers) <= total:
            return workers, broken
    return [0] * len(bids), MINIMUMS_TAKEN


def _minimum(bid: Bid) -> int:
    return min(bid.min_workers, bid.decision.desired_workers)


def _unknown(bid: Bid) -> int:
    if bid.decision.held or bid.snapshot.warming_up:
        return min(bid.snapshot.workers.desired, bid.decision.desired_workers)
    return 0


def need(bid: Bid) -> int:
    """Return the workers that the policy itself asked for, without what guards keep beyond it."""
    return min(bid.decision.desired_workers, bid.decision.wanted)


def _gain(bid: Bid, workers: int) -> float:
    """Return what one worker more than `workers` is worth."""
    snapshot, needed = bid.snapshot, need(bid)
    gain = (needed - workers - 0.5) / max(1, needed)
    if gain > 0 and snapshot.oldest_age:
        gain *= 1 + snapshot.oldest_age / snapshot.slo.seconds
    return gain + KEEP if workers < snapshot.workers.desired else gain


def _why(bid: Bid, workers: int, shares: Shares, limit: dict[str, int]) -> tuple[str, Inputs]:
    """Return why one got less than it wanted: a template and its inputs, those of the `limit` first."""
    why = (STANDBY if limit["standby"] else "") + shares.broken
    if shares.last_gain is None:
        return OVER + why + NOTHING_LEFT, limit
    inputs: dict[str, float] = {**limit, "here": workers}
    if bid.priority < shares.last_priority:
        inputs |= {"priority": bid.priority, "last_priority": shares.last_priority}
        return OVER + why + LOWER_PRIORITY, inputs
    inputs |= {"gain": _gain(bid, workers), "last_gain": shares.last_gain}
    return OVER + why + LESS_GAIN, inputs
