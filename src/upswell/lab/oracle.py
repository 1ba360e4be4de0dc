"""The clairvoyant: what the cheapest fleet would have cost that knew every upload in advance.

In: a trace, the objective, the start-up delay. Out: a lower bound, and a schedule of whole workers that was
replayed with real uploads, first in first out and not preempted. Nothing here is known to a policy.

The work done by an instant lies between two curves: all uploads begun as early as possible (at arrival), and
all begun as late as the objective allows. Dynamic programming over (work done, workers) finds the cheapest
path between them: it pays for worker-seconds, and a start-up delay for each start. Uploads are not a fluid,
and a share of them may be late; so the objective in the curves is loosened or tightened until the replayed
schedule just meets the share.
"""

from __future__ import annotations

import math
from heapq import heapify, heappop, heappush, heapreplace
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from upswell.errors import SettingsError, TraceError
from upswell.simulator.jobs import check

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_REFINEMENTS = 4
_SEGMENT = 256
"""Steps between two kept states of the dynamic programme; those between are computed again."""
_MOST_CELLS = 250_000
"""Of a state, work done x workers: 2 MB. Where whole workers need more, they are scheduled by the dozen."""


class OracleResult(Struct, frozen=True, kw_only=True):
    """Costs in worker-seconds, start-up included."""

    cost: float
    """Of the replayed schedule: C0 of the score."""
    lower_bound: float
    """Of the fluid path between the same curves: no schedule of whole workers on this grid costs less."""
    attainment: float
    work: float

    @property
    def cost_over_work(self) -> float:
        """Cost over the sum of the service times."""
        return self.cost / self.work if self.work else 0.0


class _Goal(Struct, frozen=True):
    objective: float
    start_delay: float
    start_cost: float
    step: float


def work_curve(times: Floats, starts: Floats, services: Floats) -> Floats:
    """Return the work done by each of `times` if every upload begins at its start and is not interrupted."""
    return _ramp(times, starts) - _ramp(times, starts + services)


def _ramp(times: Floats, begins: Floats) -> Floats:
    """Return sum(max(0, t - b)) over all b, at each t."""
    begins = np.sort(begins)
    sums = np.concatenate(([0.0], np.cumsum(begins)))
    count = np.searchsorted(begins, times, side="right")
    return count * times - sums[count]


def cheapest_path(latest: Ints, earliest: Ints, start_cost: float) -> tuple[float, Ints]:
    """Return (cost in worker-steps, workers in each step) of the cheapest path between two curves.

    Args:
        latest: work that must be done by the end of each step, in worker-steps; entry 0 is the beginning.
        earliest: work that can be done by then.
        start_cost: worker-steps that one start costs.
    """
    steps = len(latest) - 1
    curves = (latest, earliest, _worker_limits(latest, earliest, start_cost))
    state = np.zeros((1, 1))
    kept: list[Floats] = []
    for step in range(steps):
        if step % _SEGMENT == 0:
            kept.append(state)
        state = _advance(state, step, curves, start_cost)
    workers = np.zeros(steps, dtype=np.int64)
    done, count = len(state) - 1, int(np.argmin(state[-1]))
    cost = float(state[-1, count])
    for segment in range(len(kept) - 1, -1, -1):
        begin, end = segment * _SEGMENT, min(steps, (segment + 1) * _SEGMENT)
        states = [kept[segment]]
        for step in range(begin, end - 1):
            states.append(_advance(states[-1], step, curves, start_cost))
        for step in range(end - 1, begin - 1, -1):
            workers[step] = count
            before = states[step - begin]
            done = min(max(int(done + latest[step + 1] - latest[step]) - count, 0), len(before) - 1)
            options = before[done] + start_cost * np.maximum(count - np.arange(before.shape[1]), 0)
            count = int(np.argmin(options))
    return cost, workers


def _worker_limits(latest: Ints, earliest: Ints, start_cost: float) -> Ints:
    """Return for each step the most workers that could be of use in it, or be worth keeping for soon."""
    useful = np.minimum(
        earliest[1:] - latest[:-1], np.diff(earliest).max(initial=1) + (earliest - latest)[:-1]
    )
    useful = np.maximum(useful, 0)
    # more than what empties the whole band within a few steps is never cheaper than starting a little later
    reach = int(np.ceil(start_cost)) + 1
    padded = np.pad(useful, reach, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)
    # nor are more than the steepest necessary rise: no schedule without haste ever needs them
    return np.minimum(windows.max(axis=1), np.diff(latest).max(initial=1) + 1)


def _advance(state: Floats, step: int, curves: tuple[Ints, Ints, Ints], start_cost: float) -> Floats:
    """Return the least cost of having done at least each amount with each number of workers, one step later.

    `state[w, n]`: at least `latest + w` done with n workers in the step before. More work is never a
    disadvantage, so cost rises with w.
    """
    latest, earliest, limits = curves
    counts = int(limits[step]) + 1
    before = state.shape[1]
    after_keep = np.minimum.accumulate(state[:, ::-1], axis=1)[:, ::-1]
    slope: Floats = start_cost * np.arange(max(before, counts), dtype=np.float64)
    after_start = np.minimum.accumulate(state - slope[:before], axis=1)
    if counts <= before:
        best = np.minimum(after_keep[:, :counts], after_start[:, :counts] + slope[:counts])
    else:
        best = np.empty((len(state), counts))
        best[:, :before] = np.minimum(after_keep, after_start + slope[:before])
        best[:, before:] = after_start[:, -1:] + slope[before:counts]
    best += np.arange(counts)
    band = int(earliest[step + 1] - latest[step + 1]) + 1
    rise = int(latest[step + 1] - latest[step])
    rows = np.arange(rise, rise + band)[:, None] - np.arange(counts)[None, :]
    moved = best[np.clip(rows, 0, len(state) - 1), np.arange(counts)[None, :]]
    moved[rows >= len(state)] = np.inf
    return moved


def replay(
    arrivals: Floats,
    services: Floats,
    changes: list[tuple[float, int]],
    *,
    objective: float,
    start_delay: float,
    start_cost: float = 0.0,
) -> tuple[float, int]:
    """Return (cost, late uploads) of real uploads under a schedule of (instant, workers from then on).

    A worker that the schedule ends finishes its upload; it stays, unpaid twice, if the schedule wants one
    more before it is done.
    """
    arrived, served = arrivals.tolist(), services.tolist()
    total, head, late = len(arrived), 0, 0
    cost = 0.0
    free: list[float] = []
    leaving: list[float] = []
    ends = [instant for instant, _ in changes[1:]] + [np.inf]
    for (now, wanted), until in zip(changes, ends, strict=True):
        while leaving and leaving[0] <= now:
            heappop(leaving)
        while len(free) < wanted:
            if leaving:
                back = heappop(leaving)
                cost -= back - now
            else:
                back = now
                cost += start_delay + start_cost
            heappush(free, back)
        while len(free) > wanted:
            out = heappop(free)
            if out > now:
                heappush(leaving, out)
                cost += out - now
        heapify(free)
        if until < np.inf:
            cost += wanted * (until - now)
        while free and head < total:
            start = max(free[0], arrived[head])
            if start >= until:
                break
            finish = start + served[head]
            heapreplace(free, finish)
            late += finish - arrived[head] > objective
            head += 1
    return cost, late + total - head


def oracle(
    arrivals: Floats,
    services: Floats,
    *,
    objective: float,
    share: float,
    start_delay: float,
    start_cost: float = 0.0,
    step: float | None = None,
    rounds: int = 8,
) -> OracleResult:
    """Return the cheapest replayed schedule that meets the share.

    Args:
        arrivals: sorted instants, in seconds.
        services: seconds each upload takes.
        objective: seconds within which an upload must be answered.
        share: of the uploads that must.
        start_delay: seconds of start-up that each start is billed.
        start_cost: seconds of a worker that a start costs beyond that.
        step: seconds of one step of the schedule; by default a sixteenth of the objective.
        rounds: bisections of the response time in the curves.

    Raises:
        TraceError: there is no upload, or they are not sorted, not finite, or take less than no time.
        SettingsError: the objective, the share or the step is not above 0, or the start-up delay is below it.
    """
    check(arrivals, services)
    _check_goal(len(arrivals), objective, share, start_delay, step)
    best: OracleResult | None = None
    step = step or objective / 16
    for _ in range(_REFINEMENTS):
        best = _search(arrivals, services, share, _Goal(objective, start_delay, start_cost, step), rounds)
        if best.attainment >= share:
            break
        step /= 2  # uploads shorter than a step fall between two of them
    assert best is not None
    return best


def _check_goal(uploads: int, objective: float, share: float, start_delay: float, step: float | None) -> None:
    if not uploads:
        raise TraceError("the oracle needs at least one upload, got none")
    for name, value in (("objective", objective), ("step", 1.0 if step is None else step)):
        if not 0 < value < math.inf:
            raise SettingsError(f"the oracle's {name} must be > 0 s and finite, got {value:g}")
    if not 0 <= start_delay < math.inf:
        raise SettingsError(f"start_delay must be >= 0 s and finite, got {start_delay:g}")
    if not 0 < share <= 1:
        raise SettingsError(f"the share must be > 0 and <= 1, got {share:g}")


def _search(arrivals: Floats, services: Floats, share: float, goal: _Goal, rounds: int) -> OracleResult:
    """Return the cheapest found by bisection, or the tightest where none meets the share."""
    best: OracleResult | None = None
    loose, tight, trial = 2.0 * goal.objective, 0.0, goal.objective
    for _ in range(rounds):
        result = _try(arrivals, services, trial, goal)
        if result.attainment >= share:
            if best is None or result.cost < best.cost:
                best = result
            tight = trial
        else:
            loose = trial
        trial = (tight + loose) / 2
    return best or _try(arrivals, services, 0.0, goal)


def _try(arrivals: Floats, services: Floats, aim: float, goal: _Goal) -> OracleResult:
    step, objective, start_delay = goal.step, goal.objective, goal.start_delay
    paid = (start_delay + goal.start_cost) / step
    begin = float(np.floor(arrivals[0] / step) * step)
    end = float((arrivals + np.maximum(aim, services)).max())
    times = begin + step * np.arange(int(np.ceil((end - begin) / step)) + 2, dtype=np.float64)
    earliest = work_curve(times, arrivals, services)
    latest = work_curve(times, arrivals + np.maximum(aim - services, 0.0), services)
    low, high = _whole(latest / step, earliest / step)
    unit = _unit(low, high, paid)
    if unit > 1:
        low, high = _whole(latest / (step * unit), earliest / (step * unit))
    fluid, workers = cheapest_path(low, high, paid)
    instants = np.flatnonzero(np.diff(workers, prepend=0))
    changes = [(float(times[i]), int(workers[i]) * unit) for i in instants]
    changes.append((float(times[len(workers)]), 0))
    cost, late = replay(
        arrivals,
        services,
        changes,
        objective=objective,
        start_delay=start_delay,
        start_cost=goal.start_cost,
    )
    return OracleResult(
        cost=cost,
        lower_bound=fluid * step * unit,
        attainment=1 - late / len(arrivals),
        work=float(services.sum()),
    )


def _whole(latest: Floats, earliest: Floats) -> tuple[Ints, Ints]:
    """Return the curves in whole worker-steps: rising, the one never above the other, together at the end."""
    low = np.floor(latest + 0.5).astype(np.int64)
    high = np.maximum(np.ceil(earliest - 0.5).astype(np.int64), low)
    low[0] = high[0] = 0
    high = np.maximum.accumulate(high)
    low = np.maximum.accumulate(low)
    high[-1] = low[-1]
    return np.minimum(low, high), high


def _unit(latest: Ints, earliest: Ints, start_cost: float) -> int:
    """Return how many workers must be scheduled together for a state to fit; 1 wherever it can be."""
    band = int((earliest - latest).max()) + 1
    cells = band * (int(_worker_limits(latest, earliest, start_cost).max(initial=0)) + 1)
    return math.ceil(math.sqrt(cells / _MOST_CELLS)) if cells > _MOST_CELLS else 1
