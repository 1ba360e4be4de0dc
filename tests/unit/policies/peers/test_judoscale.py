from __future__ import annotations

from support.peer_snapshots import seen
from upswell.policies.peers.judoscale import JudoscalePolicy


def test_one_more_worker_when_the_queue_time_leaves_the_range_and_a_pause_before_the_next() -> None:
    policy = JudoscalePolicy(1.0, 5.0)
    wanted = [policy.decide(seen(at, 3, ready=9, oldest=6.0)).desired_workers for at in (0.0, 10.0, 50.0)]
    assert wanted == [4, 3, 4]


def test_one_fewer_after_ten_minutes_below_the_range() -> None:
    policy = JudoscalePolicy(1.0, 5.0)
    wanted = [policy.decide(seen(10.0 * tick, 3)).desired_workers for tick in range(61)]
    assert wanted == [3] * 60 + [2]


def test_within_the_range_nothing_changes_and_the_ten_minutes_begin_again() -> None:
    policy = JudoscalePolicy(1.0, 5.0)
    wanted = [
        policy.decide(seen(10.0 * tick, 3, ready=1, oldest=2.0 if tick == 30 else None)).desired_workers
        for tick in range(61)
    ]
    assert set(wanted) == {3}
