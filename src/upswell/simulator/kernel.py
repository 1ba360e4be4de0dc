"""One interval of all shadow fleets, compiled: what `Shadows` does with numpy, a fleet after the other.

In: arrays (of `compiled_shadows.py`, which says what is in them). Out: the same arrays, an interval later.
The only importer of numba, which takes half a second and 90 MB to import: nothing may import this module
but where shadows are made. It must not know Python objects. Every sum is made in the order that `Shadows`
makes it in, so both come to the same numbers, bit for bit.
"""

# What is compiled is typed by what it is called with: numba's stubs and numpy's know less.
# pyright: basic, reportArgumentType=false, reportReturnType=false
# ruff: noqa: PLR0912, PLR0915, PLR0917, C901

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.policies.slo.staffing import Flags, Floats, Ints

Function = TypeVar("Function", bound="Callable[..., object]")

ROUNDING = 1e-9
PRESENT, STARTING, HEAD, STANDING = range(4)
"""Columns of `fleets`: slots that are there, that were asked for; the next upload; slots on standby."""
COST, LATE, STARTS = range(3)
"""Columns of `sums`."""


def _compiled(function: Function) -> Function:
    """Compile at the first call; keep the result for other processes where there is room for it."""
    try:
        return njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # neither this folder nor the user's cache can be written to
        return njit(nogil=True)(function)


@_compiled
def _replace_first(heap: Floats, size: int, value: float) -> None:
    """Put a slot that is free at `value` in the place of the one that is free first."""
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= value:
            break
        heap[place] = heap[child]
        place = child
    heap[place] = value


@_compiled
def _push(heap: Floats, size: int, value: float) -> None:
    """Add a slot that is free at `value`."""
    place = size
    while place > 0:
        parent = (place - 1) // 2
        if heap[parent] <= value:
            break
        heap[place] = heap[parent]
        place = parent
    heap[place] = value


@_compiled
def pass_interval(
    now: float, interval: float, each: float, one_more: float, least: int, most: int, objective: float,
    start_delay: float, load: float, forget: float, end: int, horizons: Floats, delays: Floats,
    betas: Floats, unfloored: Flags, standbys: Ints, whole: Floats, remaining: Floats, fleets: Ints,
    free_at: Floats, ready: Floats, coming: Ints, resting: Ints, ring: Ints, arrivals: Floats,
    services: Floats, buckets: Ints, of_distinct: Ints, length: Floats, used: Ints, current: Ints,
    step: int, sums: Floats,
) -> tuple[int, int]:  # fmt: skip
    """Let every fleet serve and decide once.

    Args:
        now: when the interval ends.
        interval: its seconds.
        each: slots of a worker that is there, on average.
        one_more: slots of a new one.
        least: workers that a fleet keeps.
        most: workers that a fleet may have.
        objective: seconds after which an upload is late.
        start_delay: seconds until a slot is there that is asked for now.
        load: busy slots offered.
        forget: factor on what was counted before.
        end: uploads that have arrived: those before it in `arrivals` and `services`.
        horizons: of the rule, a fleet each, as are the four after it: see `Family`.
        delays: what the present slots have before new ones come.
        betas: of the floor.
        unfloored: whether there is none.
        standbys: workers kept on standby.
        whole: what an upload that waits adds to the work, a fleet each.
        remaining: what an upload in flight adds.
        fleets: a row a fleet, see above.
        free_at: a heap a fleet: when each slot is free.
        ready: of the slots on their way: when they are ready, a ring.
        coming: how many are, a row a fleet, a column an entry of `ready`.
        resting: how many of them are for standby; no rows where no fleet has any.
        ring: where `ready` begins, and its entries.
        arrivals: instants, rising.
        services: seconds.
        buckets: the most wanted lately: see `RecentMaximum`, as for the five after it.
        of_distinct: which of the distinct times to keep is a fleet's.
        length: of a bucket, in steps, of each distinct time.
        used: its buckets.
        current: its newest bucket's number.
        step: the number of this interval.
        sums: a row a fleet, see above.

    Returns:
        the first upload that some fleet has not begun, and the most slots that any has or awaits, standby
        included.
    """
    begin, entries, room = ring[0], ring[1], len(ready)
    due = 0
    for entry in range(entries):
        if ready[(begin + entry) % room] <= now:
            due = entry + 1
    added = (begin + entries) % room
    any_added = False
    newest, moved = np.empty(len(length), np.int64), np.empty(len(length), np.bool_)
    for distinct in range(len(length)):
        number = np.int64(step / length[distinct])
        moved[distinct] = number != current[distinct]
        current[distinct] = number
        newest[distinct] = number % used[distinct]
    first, largest = end, 0
    floor_load, root = load > 0, math.sqrt(load) if load > 0 else 0.0
    for row in range(len(fleets)):
        heap, fleet, standby = free_at[row], fleets[row], standbys[row]
        present, starting, head = fleet[PRESENT], fleet[STARTING], fleet[HEAD]
        # What is ready by now joins.
        for entry in range(due):
            place = (begin + entry) % room
            if ready[place] <= now:
                for _ in range(coming[row, place]):
                    _push(heap, present, ready[place])
                    present += 1
                    starting -= 1
                coming[row, place] = 0
                if standby > 0:
                    fleet[STANDING] += resting[row, place]
                    resting[row, place] = 0
        # The oldest upload goes to the slot that is free first.
        late = 0
        if present > 0:
            while head < end:
                arrival = arrivals[head]
                start = max(arrival, heap[0])
                if start > now:
                    break
                finish = start + services[head]
                if finish > arrival + objective:
                    late += 1
                _replace_first(heap, present, finish)
                head += 1
        busy = 0
        for place in range(present):
            if heap[place] > now:
                busy += 1
        there = present / each
        workers = there + starting / one_more
        sums[row, COST] = sums[row, COST] * forget + (workers + standby) * interval
        sums[row, LATE] = sums[row, LATE] * forget + late
        # The rule: `Family.slots`.
        waiting, horizon, delay = end - head, horizons[row], delays[row]
        work = busy * remaining[row] + waiting * whole[row]
        done = min(float(present), work / horizon) * delay
        wanted_slots = min(math.ceil((work - done) / (horizon - delay) - ROUNDING), busy + waiting)
        if floor_load and not unfloored[row]:
            wanted_slots = max(wanted_slots, math.ceil(load + betas[row] * root - ROUNDING))
        # `Shadows._decide`.
        needed = wanted_slots / each
        if wanted_slots > present:
            needed = there + (wanted_slots - present) / one_more
        wanted = min(max(math.ceil(needed - ROUNDING), least), most)
        distinct = of_distinct[row]
        bucket = newest[distinct]
        if moved[distinct] or buckets[bucket, row] < wanted:
            buckets[bucket, row] = wanted
        recent = wanted
        for number in range(len(buckets)):
            recent = max(recent, np.int64(buckets[number, row]))
        goal = math.floor(workers + ROUNDING)
        goal = wanted if wanted > goal else min(goal, max(recent, math.ceil(busy / each - ROUNDING)))
        goal_slots = goal * each if goal <= there else present + (goal - there) * one_more
        change = math.floor(goal_slots + 0.5) - present - starting
        started = 0
        if change > 0:
            any_added = True
            if standby > 0:
                started = change  # whoever is called from standby is replaced at once
                called = min(change, fleet[STANDING])
                fleet[STANDING] -= called
                for _ in range(called):
                    _push(heap, present, now)
                    present += 1
                resting[row, added] = called
                change -= called
                for entry in range(entries):
                    place = (begin + entry) % room
                    called = min(change, resting[row, place])
                    resting[row, place] -= called
                    coming[row, place] += called
                    resting[row, added] += called
                    starting += called
                    change -= called
            else:
                started = change
            coming[row, added] = change
            starting += change
        elif change < 0:
            surplus = -change
            for entry in range(entries - 1, -1, -1):
                place = (begin + entry) % room
                called = min(surplus, coming[row, place])
                coming[row, place] -= called
                starting -= called
                surplus -= called
            while surplus > 0 and present > 0 and heap[0] <= now:
                present -= 1
                _replace_first(heap, present, heap[present])
                surplus -= 1
        sums[row, STARTS] = sums[row, STARTS] * forget + started / one_more
        fleet[PRESENT], fleet[STARTING], fleet[HEAD] = present, starting, head
        first = min(first, head)
        awaited = starting + fleet[STANDING]
        if standby > 0:
            awaited += resting[row, added]
            for entry in range(entries):
                awaited += resting[row, (begin + entry) % room]
        largest = max(largest, present + awaited)
    while entries and ready[begin] <= now:
        begin, entries = (begin + 1) % room, entries - 1
    if any_added:
        ready[added] = now + start_delay
        entries += 1
    ring[0], ring[1] = begin, entries
    return first, largest
