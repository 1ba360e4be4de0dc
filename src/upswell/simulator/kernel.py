"""One interval of all shadow fleets, compiled: what `Shadows` does with numpy.

In: arrays (of `compiled_shadows.py`, which says what is in them). Out: the same arrays, an interval later.
The only importer of numba, which takes half a second and 90 MB to import: nothing may import this module
but where shadows are made. It must not know Python objects. Every sum is made in the order that `Shadows`
makes it in, so both come to the same numbers, bit for bit.

A processor does the same to many numbers at once, and loses time wherever it guesses wrong which way a branch
goes. So each step is a loop of its own over all fleets, without branches where that can be, and counts are
floats, which are exact as well. The slots of `LANES` fleets stand side by side, each fleet's in order, the
first to be free first: to put one that is taken in its place is the same for all of them. That takes a look
at every slot: where one of these fleets has more than `SMALL`, each has a heap instead, one after the other.
"""

# What is compiled is typed by what it is called with: numba's stubs and numpy's know less.
# pyright: basic, reportArgumentType=false, reportReturnType=false
# ruff: noqa: PLR0912, PLR0915, PLR0917, C901

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numba import njit

from upswell.policies.slo.staffing import BETA, DELAY, HORIZON, ROUNDING, STANDBY
from upswell.simulator import choice
from upswell.simulator.choice import COST, LATE, LATE_BEFORE, SPREAD, STARTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.policies.slo.staffing import Floats, Ints

Function = TypeVar("Function", bound="Callable[..., object]")

LANES = 8
"""Fleets side by side."""
SMALL = 24
"""Slots that none of the fleets side by side exceeds if they are kept in order: beyond, heaps are faster."""
PRESENT, STARTING, HEAD, STANDING, IS_HEAP = range(5)
"""Rows of `fleets`: slots that are there, that were asked for; the next upload; slots on standby; whether a
fleet's slots are a heap."""
INTERVAL, EACH, ONE_MORE, LEAST, MOST, OBJECTIVE, START_DELAY = range(7)
"""Entries of `world`: seconds between two decisions; slots of a worker that is there, on average, and of a
new one; workers that a fleet keeps, and may have; seconds after which an upload is late, and until a slot is
there that is asked for now."""


def _compiled(function: Function) -> Function:
    """Compile at the first call; keep the result for other processes where there is room for it."""
    try:
        return njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # neither this folder nor the user's cache can be written to
        return njit(nogil=True, error_model="numpy")(function)


best = _compiled(choice.best)


@_compiled
def _remember(sums: Floats, forget: float, ended: bool) -> None:
    """Let what was counted fade; see `Shadows.advance`."""
    late, spread, before = sums[LATE], sums[SPREAD], sums[LATE_BEFORE]
    if ended:
        for row in range(len(late)):
            present = late[row] - before[row]
            spread[row] += present * present
            before[row] = late[row]
    for total in sums:
        for row in range(len(total)):
            total[row] *= forget


@_compiled
def _heap(slots: Floats, lane: int) -> Floats:
    """Return the heap of one of the fleets of which `slots` are."""
    room = len(slots) // LANES
    return slots[lane * room : (lane + 1) * room]


@_compiled
def _replace_first(heap: Floats, size: int, free_at: float) -> None:
    """Put another slot in the place of the first of `size`."""
    place, child = 0, 1
    while child < size:
        least = heap[child]
        if child + 1 < size:
            other = heap[child + 1]
            child = child + 1 if other < least else child
            least = min(least, other)
        if least >= free_at:
            break
        heap[place] = least
        place, child = child, 2 * child + 1
    heap[place] = free_at


@_compiled
def _enter(slots: Floats, lane: int, is_heap: bool, size: int, count: int, free_at: float) -> None:
    """Add so many slots to a fleet that has `size`."""
    if is_heap:
        heap = _heap(slots, lane)
        for number in range(size, size + count):
            place = number
            while place and heap[(place - 1) // 2] > free_at:
                heap[place] = heap[(place - 1) // 2]
                place = (place - 1) // 2
            heap[place] = free_at
        return
    for number in range(size, size + count):
        place = number * LANES + lane
        while place >= LANES and slots[place - LANES] > free_at:
            slots[place] = slots[place - LANES]
            place -= LANES
        slots[place] = free_at


@_compiled
def _send_away(slots: Floats, lane: int, is_heap: bool, size: int, most: int, now: float) -> int:
    """Take away idle slots of a fleet that has `size`, at most so many; return how many."""
    gone, most = 0, min(most, size)
    if is_heap:
        heap = _heap(slots, lane)
        while gone < most and heap[0] <= now:
            gone += 1
            last, heap[size - gone] = heap[size - gone], np.inf
            if gone < size:
                _replace_first(heap, size - gone, last)
        return gone
    while gone < most and slots[gone * LANES + lane] <= now:
        gone += 1
    if gone:
        for number in range(size):
            after = number + gone
            slots[number * LANES + lane] = slots[after * LANES + lane] if after < size else np.inf
    return gone


@_compiled
def _make_heaps(slots: Floats, present: Ints) -> None:
    """Put the slots of each fleet after those of the fleet before: in order, they are a heap as well."""
    ordered = slots.copy()
    slots[:] = np.inf
    for lane in range(LANES):
        heap = _heap(slots, lane)
        for number in range(present[lane]):
            heap[number] = ordered[number * LANES + lane]


@_compiled
def _make_ordered(slots: Floats, present: Ints) -> None:
    """Put the slots of fleets, each a heap, side by side and in order."""
    heaps = slots.copy()
    slots[:] = np.inf
    for lane in range(LANES):
        heap = _heap(heaps, lane)
        for number in range(present[lane]):
            _enter(slots, lane, False, number, 1, heap[number])


@_compiled
def _serve(slots: Floats, heads: Ints, late: Floats, now: float, objective: float, uploads: Floats) -> None:
    """Start what can start by `now` in fleets side by side: their oldest uploads, again and again."""
    any_starts = True
    while any_starts:
        any_starts = False
        for lane in range(LANES):
            free_at, head = slots[lane], heads[lane]
            arrival = uploads[0, head]
            start = max(free_at, arrival)
            finish = start + uploads[1, head]
            starts = start <= now
            any_starts |= starts
            late[lane] += starts & (finish > arrival + objective)
            heads[lane] = head + starts
            slots[lane] = finish if starts else free_at
        if any_starts:
            for place in range(LANES, len(slots)):
                before, after = slots[place - LANES], slots[place]
                slots[place - LANES] = min(before, after)
                slots[place] = max(before, after)


@_compiled
def _serve_from_heap(
    heap: Floats, size: int, head: int, now: float, objective: float, uploads: Floats
) -> tuple[int, int, int]:
    """Start what can start by `now` in one fleet.

    Returns:
        its next upload, how many of those begun will be late, and its busy slots.
    """
    late = busy = 0
    while True:
        arrival = uploads[0, head]
        start = max(heap[0], arrival)
        if start > now:
            break
        finish = start + uploads[1, head]
        late += finish > arrival + objective
        head += 1
        _replace_first(heap, size, finish)
    for place in range(size):
        busy += heap[place] > now
    return head, late, busy


@_compiled
def _count_busy(slots: Floats, present: Ints, busy: Floats, now: float) -> None:
    """Count the busy slots of fleets side by side."""
    for lane in range(LANES):
        busy[lane] = present[lane]
    for first in range(0, len(slots), LANES):
        for lane in range(LANES):
            busy[lane] -= slots[first + lane] <= now


@_compiled
def pass_interval(
    now: float, load: float, forget: float, ended: bool, end: int, step: int, world: Floats, rule: Floats,
    means: Floats, fleets: Ints, free_at: Floats, ready: Floats, begin: int, entries: int,
    coming: Ints, uploads: Floats, buckets: Ints, of_distinct: Ints, length: Floats,
    used: Ints, current: Ints, sums: Floats,
) -> tuple[int, int, int, int]:  # fmt: skip
    """Let every fleet serve and decide once.

    Args:
        now: when the interval ends.
        load: busy slots offered.
        forget: factor on what was counted before.
        ended: whether an episode did.
        end: uploads that have arrived: those before it in `uploads`.
        step: the number of this interval.
        world: what is the same for all fleets, see above.
        rule: a column a fleet: see `Family.rule`.
        means: a column a fleet: see `Means`.
        fleets: a column a fleet, see above.
        free_at: when each slot is free, a row for `LANES` fleets: the first slot of each, the second of each;
            or all slots of the first, all of the second, where they are heaps. What is not there never is.
        ready: of the slots on their way: when they are ready, a ring.
        begin: where those begin.
        entries: how many entries they are.
        coming: how many for work, a row an entry of `ready`, a column a fleet; then, where any fleet has some
            on standby, how many for that.
        uploads: instants of arrival, rising, and service times; the one at `end` never comes.
        buckets: the most wanted lately: see `RecentMaximum`, as for the four after it.
        of_distinct: which of the distinct times to keep is a fleet's.
        length: of a bucket, in steps, of each distinct time.
        used: its buckets.
        current: its newest bucket's number.
        sums: a column a fleet: see `choice.py`.

    Returns:
        the first upload that some fleet has not begun, the most slots that any has or awaits, standby
        included, and the new `begin` and `entries`.
    """
    interval, each, one_more, start_delay = world[INTERVAL], world[EACH], world[ONE_MORE], world[START_DELAY]
    least, most, objective = world[LEAST], world[MOST], world[OBJECTIVE]
    horizons, delays, betas, standbys = rule[HORIZON], rule[DELAY], rule[BETA], rule[STANDBY]
    present, starting, heads, standing = fleets[PRESENT], fleets[STARTING], fleets[HEAD], fleets[STANDING]
    is_heap = fleets[IS_HEAP]
    whole, remaining = means[0], means[1]
    rows, around, stands_by = rule.shape[1], len(ready) - 1, len(coming) > 1
    resting, coming = coming[-1], coming[0]  # the same where none are for standby
    if forget != 1 or ended:
        _remember(sums, forget, ended)
    # What is ready by now joins.
    for entry in range(entries):
        place = (begin + entry) & around
        if ready[place] <= now:
            for row in range(rows):
                count = coming[place, row]
                if count:
                    slots, lane = free_at[row // LANES], row % LANES
                    _enter(slots, lane, is_heap[row], present[row], count, ready[place])
                    present[row] += count
                    starting[row] -= count
                    coming[place, row] = 0
                if stands_by:
                    standing[row] += resting[place, row]
                    resting[place, row] = 0
    # The oldest upload goes to the slot that is free first.
    busy, late = np.empty(fleets.shape[1]), np.zeros(fleets.shape[1])
    for number in range(len(free_at)):
        side = slice(number * LANES, (number + 1) * LANES)
        slots, most_present = free_at[number], present[side].max()
        if most_present > SMALL:
            if not is_heap[number * LANES]:
                is_heap[side] = True
                _make_heaps(slots, present[side])
            for row in range(number * LANES, min(rows, (number + 1) * LANES)):
                heap, head, size = _heap(slots, row % LANES), heads[row], present[row]
                after = _serve_from_heap(heap, size, head, now, objective, uploads)
                heads[row], late[row], busy[row] = after
        else:
            if is_heap[number * LANES]:
                is_heap[side] = False
                _make_ordered(slots, present[side])
            slots = slots[: LANES * max(1, most_present)]
            _serve(slots, heads[side], late[side], now, objective, uploads)
            _count_busy(slots, present[side], busy[side], now)
    workers = np.empty(rows)
    for row in range(rows):
        workers[row] = present[row] / each + starting[row] / one_more
        sums[COST, row] += (workers[row] + standbys[row]) * interval
        sums[LATE, row] += late[row]
    # The rule: `Family.slots`.
    wanted = np.empty(rows)
    for row in range(rows):
        waiting = float(end - heads[row])
        work = busy[row] * remaining[row] + waiting * whole[row]
        done = min(float(present[row]), work / horizons[row]) * delays[row]
        backlog = np.ceil((work - done) / (horizons[row] - delays[row]) - ROUNDING)
        wanted[row] = min(backlog, busy[row] + waiting)
    if load > 0:
        root = math.sqrt(load)
        for row in range(rows):
            wanted[row] = max(wanted[row], np.ceil(load + betas[row] * root - ROUNDING))
    # `Shadows._decide`.
    for row in range(rows):
        more = wanted[row] - present[row]
        needed = present[row] / each + more / one_more if more > 0 else wanted[row] / each
        wanted[row] = min(max(np.ceil(needed - ROUNDING), least), most)
    newest, moved = np.empty(len(length), np.int64), np.empty(len(length), np.bool_)
    for distinct in range(len(length)):
        number = np.int64(step / length[distinct])
        moved[distinct] = number != current[distinct]
        current[distinct] = number
        newest[distinct] = number % used[distinct]
    for row in range(rows):
        distinct = of_distinct[row]
        bucket = newest[distinct]
        if moved[distinct] or buckets[bucket, row] < wanted[row]:
            buckets[bucket, row] = wanted[row]
    recent = np.zeros(rows, buckets.dtype)
    for bucket in buckets:
        for row in range(rows):
            recent[row] = max(recent[row], bucket[row])
    change = np.empty(rows)
    for row in range(rows):
        there = present[row] / each
        kept = max(float(recent[row]), np.ceil(busy[row] / each - ROUNDING))
        whole_workers = np.floor(workers[row] + ROUNDING)
        goal = wanted[row] if wanted[row] > whole_workers else min(whole_workers, kept)
        goal_slots = goal * each if goal <= there else present[row] + (goal - there) * one_more
        change[row] = np.floor(goal_slots + 0.5) - present[row] - starting[row]
    added = (begin + entries) & around
    any_added = False
    for row in range(rows):
        if change[row] > 0:
            any_added = True
            left = np.int64(change[row])
            sums[STARTS, row] += left / one_more
            if standbys[row]:  # whoever is called from standby is replaced at once
                called = min(left, standing[row])
                standing[row] -= called
                slots, lane = free_at[row // LANES], row % LANES
                _enter(slots, lane, is_heap[row], present[row], called, now)
                present[row] += called
                resting[added, row] = called
                left -= called
                for entry in range(entries):
                    place = (begin + entry) & around
                    called = min(left, resting[place, row])
                    resting[place, row] -= called
                    coming[place, row] += called
                    resting[added, row] += called
                    starting[row] += called
                    left -= called
            coming[added, row] = left
            starting[row] += left
        elif change[row] < 0:
            left = np.int64(-change[row])
            for entry in range(entries - 1, -1, -1):
                place = (begin + entry) & around
                called = min(left, coming[place, row])
                coming[place, row] -= called
                starting[row] -= called
                left -= called
            slots, lane = free_at[row // LANES], row % LANES
            present[row] -= _send_away(slots, lane, is_heap[row], present[row], left, now)
    first, largest = end, 0
    for row in range(rows):
        first = min(first, heads[row])
        awaited = starting[row] + standing[row]
        if stands_by:
            awaited += resting[:, row].sum()
        largest = max(largest, present[row] + awaited)
    while entries and ready[begin] <= now:
        begin, entries = (begin + 1) & around, entries - 1
    if any_added:
        ready[added] = now + start_delay
        entries += 1
    return first, largest, begin, entries
