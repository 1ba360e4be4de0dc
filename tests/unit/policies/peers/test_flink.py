from __future__ import annotations

import pytest

from support.peer_snapshots import seen
from upswell.policies.peers.flink import FlinkPolicy


def test_capacity_covers_the_input_the_catch_up_and_the_restart() -> None:
    """100/s in, 18,000 behind, 1,800 s to catch up, 300 s of restart: 142.9 + 10 + 16.7 = 169.5 a second."""
    decision = FlinkPolicy().decide(seen(0.0, 5, ready=18_000, mean=0.1, rate=100.0))
    assert decision.inputs["needed"] == pytest.approx(169.5, abs=0.1)
    assert decision.desired_workers == 17


def test_nothing_changes_within_the_boundary_of_the_utilisation() -> None:
    assert FlinkPolicy().decide(seen(0.0, 15, mean=0.1, rate=100.0)).desired_workers == 15


def test_the_restart_counts_in_what_is_wanted_and_not_in_the_threshold_for_more() -> None:
    """ScalingMetricEvaluator.java: 100/s (100 %) are enough; below, 142.9 + 16.7 are wanted."""
    assert FlinkPolicy().decide(seen(0.0, 10, mean=0.1, rate=100.0)).desired_workers == 10
    assert FlinkPolicy().decide(seen(0.0, 9, mean=0.1, rate=100.0)).desired_workers == 16


def test_while_the_lag_is_over_five_minutes_of_work_nobody_goes() -> None:
    policy = FlinkPolicy()
    wanted = {
        policy.decide(seen(600.0 * n, 50, ready=30_001, mean=0.1, rate=10.0)).desired_workers
        for n in range(10)
    }
    assert wanted == {50}


def test_scale_in_waits_an_hour_and_ends_at_most_sixty_percent() -> None:
    policy = FlinkPolicy()
    wanted = [
        policy.decide(seen(60.0 * minute, 50, mean=0.1, rate=10.0)).desired_workers for minute in range(61)
    ]
    assert set(wanted[:60]) == {50}
    assert wanted[60] == 20
