"""Rates of slots: what makes a batch, and that its statistics are those of the textbook."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from upswell.analysis.slot_rates import (
    Estimate,
    SlotBatch,
    SlotRates,
    ratio_bounds,
    slot_rate,
    student,
    throughput,
)
from upswell.analysis.snapshot import ObservedTotals, Snapshot
from upswell.testing.snapshots import constant_time, ordinary


def full(at: float, stored: int, **fields: Any) -> Snapshot:
    """Two workers of four slots, all busy, with a backlog; uploads of 2 s."""
    return ordinary(
        at=at,
        **{
            "current": 2, "messages_ready": 100, "messages_unacknowledged": 8,
            "totals": ObservedTotals(stored=stored), "service_time": constant_time(2.0), **fields,
        },
    )  # fmt: skip


def batches(*seen: Snapshot) -> list[SlotBatch]:
    rates = SlotRates(3600.0)
    return [batch for snapshot in seen if (batch := rates.observe(snapshot)) is not None]


def test_a_batch_begins_a_service_time_after_the_last_change_and_lasts_two() -> None:
    found = batches(*(full(1000.0 + 2 * n, 8 * n) for n in range(6)))
    assert found == [
        SlotBatch(at, 2, seconds=4.0, stored=16, slot_seconds=32.0, saturated=True) for at in (1006.0, 1010.0)
    ]


def test_uploads_begun_before_all_slots_were_busy_do_not_count_as_saturated() -> None:
    calm = [full(2.0 * n, 8 * n, messages_ready=0) for n in range(3)]
    busy = [full(6.0 + 2 * n, 24 + 8 * n) for n in range(5)]
    assert [(batch.at, batch.saturated) for batch in batches(*calm, *busy)] == [
        (6.0, False),
        (10.0, False),
        (14.0, True),
    ]


@pytest.mark.parametrize(
    "disturbed",
    [
        {"messages_unacknowledged": None},
        {"stale": ("workers",)},
        {"failures": 50},
        {"current": 3},
    ],
)
def test_what_disturbs_a_batch_ends_it(disturbed: dict[str, Any]) -> None:
    seen = [full(2.0 * n, 8 * n) for n in range(3)]
    assert batches(*seen, full(6.0, 24)) != []
    assert batches(*seen, full(6.0, 24, **disturbed), full(8.0, 32)) == []


def test_without_uploads_that_wait_a_batch_is_not_saturated() -> None:
    calm = batches(*(full(2.0 * n, 8 * n, messages_ready=1) for n in range(20)))
    assert calm
    assert not any(batch.saturated for batch in calm)


def test_rates_are_sums_over_sums_with_the_error_of_a_ratio() -> None:
    made = [
        SlotBatch(0.0, 1, seconds, stored, 4 * seconds, saturated=True)
        for seconds, stored in ((2, 4), (6, 12))
    ]
    assert throughput(made) == Estimate(2.0, 0.0, 2, 16)
    assert slot_rate(made) == Estimate(0.5, 0.0, 2, 16)


def test_the_error_shown_is_the_error_made() -> None:
    """Poisson counts of a known rate: about two in three estimates lie within one standard error."""
    rng = random.Random(1)
    inside = 0
    for _ in range(400):
        made = []
        for _ in range(12):
            seconds, stored, at = rng.uniform(2, 6), 0, rng.expovariate(5.0)
            while at < seconds:
                stored, at = stored + 1, at + rng.expovariate(5.0)
            made.append(SlotBatch(0.0, 1, seconds, stored, seconds, saturated=True))
        estimate = throughput(made)
        inside += abs(estimate.mean - 5.0) <= estimate.error
    assert 0.58 < inside / 400 < 0.75


def test_bounds_of_a_ratio_are_wide_where_little_was_measured() -> None:
    one, other = Estimate(50.0, 1.0, 20, 1000), Estimate(100.0, 2.0, 20, 2000)
    low, high = ratio_bounds(one, other)
    assert low < 0.5 < high
    assert high - 0.5 == pytest.approx(0.5 * student(19) * math.hypot(0.02, 0.02))
    assert ratio_bounds(Estimate(0.0, 0.0, 9, 0), other) == (0.0, math.inf)
    assert student(1) > student(6) > student(1000) == 3.23
    assert student(0) == math.inf


def test_what_was_measured_long_ago_is_forgotten() -> None:
    rates = SlotRates(100.0)
    for n in range(10):
        rates.observe(full(2.0 * n, 8 * n))
    assert rates.of(2)
    for n in range(100, 110):
        rates.observe(full(2.0 * n, 8 * n, current=5, messages_unacknowledged=20))
    assert rates.below(5) == []
    rates.forget()
    assert rates.of(5) == []
