from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from upswell.worker.slots import SlotFinder

if TYPE_CHECKING:
    from collections.abc import Callable


def run(
    finder: SlotFinder,
    rate: Callable[[int], float],
    seconds: int,
    *,
    began: int = 0,
    busy: Callable[[int], int] = lambda slots: slots,
) -> list[int]:
    """Let a finder work for so long where `slots` slots move `rate(slots)` a second; return its slots."""
    moved, found = 1e9 * began, []
    for second in range(began, began + seconds):
        found.append(finder.observe(float(second), moved, busy(finder.slots)))
        moved += rate(finder.slots)
    return found


def shared(capacity: float, each: float = 10.0) -> Callable[[int], float]:
    """A wire of so much capacity, of which one upload takes `each` at most."""
    return lambda slots: min(capacity, each * slots)


def most_of(found: list[int]) -> float:
    """The mean of the second half, when the climbing is over."""
    late = found[len(found) // 2 :]
    return sum(late) / len(late)


@pytest.mark.parametrize("first", [1, 4, 32])
@pytest.mark.parametrize("enough", [1, 3, 8, 20])
def test_it_finds_about_as_many_slots_as_fill_the_wire(first: int, enough: int) -> None:
    found = run(SlotFinder(first, 32), shared(10.0 * enough), 1800)
    assert enough * 0.9 <= most_of(found) <= enough * 1.5 + 1


@pytest.mark.parametrize("seed", range(5))
def test_it_finds_them_in_spite_of_noise(seed: int) -> None:
    rng = random.Random(seed)
    wire = shared(100.0)
    found = run(SlotFinder(2, 32), lambda slots: wire(slots) * rng.uniform(0.8, 1.2), 3600)
    assert 8 <= most_of(found) <= 18


def test_it_climbs_within_a_minute() -> None:
    found = run(SlotFinder(4, 32), shared(1e9), 60)
    assert found[-1] == 32


def test_it_keeps_away_from_where_more_slots_bring_less() -> None:
    found = run(SlotFinder(4, 64), lambda slots: 10.0 * slots if slots <= 10 else 1000.0 / slots, 1800)
    assert 7 <= most_of(found) <= 12


def test_it_follows_a_wire_that_grows_and_one_that_shrinks() -> None:
    finder = SlotFinder(4, 32)
    assert most_of(run(finder, shared(50.0), 1200)) <= 9
    assert most_of(run(finder, shared(200.0), 1800, began=1200)) >= 15
    assert most_of(run(finder, shared(20.0), 3600, began=3000)) <= 9


def test_a_worker_with_little_to_do_learns_nothing() -> None:
    finder = SlotFinder(4, 32)
    assert set(run(finder, shared(1e9), 600, busy=lambda slots: slots - 1)) == {4}


def test_nothing_moved_at_all_is_no_reason_to_grow_without_end() -> None:
    """An outage: every number of slots moves nothing, and a quarter of nothing is brought by each."""
    assert max(run(SlotFinder(4, 1000), lambda _slots: 0.0, 600)) <= 6


def test_it_never_leaves_its_bounds() -> None:
    rng = random.Random(1)
    found = run(SlotFinder(50, 8), lambda _slots: rng.uniform(0, 100), 3600)
    assert min(found) >= 1
    assert max(found) <= 8
