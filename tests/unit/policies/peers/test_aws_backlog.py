from __future__ import annotations

from support.peer_snapshots import seen
from upswell.policies.peers.aws_backlog import AwsBacklogPolicy

# Amazon's worked example: 10 instances, 1,500 messages, 0.1 s a message, 10 s acceptable latency: the
# acceptable backlog is 100 messages an instance, the present one 150, so 5 more instances are needed.


def minute(policy: AwsBacklogPolicy, number: int, workers: int, backlog: int) -> int:
    return policy.decide(seen(60.0 * number, workers, ready=backlog, seconds=10.0)).desired_workers


def test_three_points_above_the_target_scale_out_as_in_amazons_example() -> None:
    policy = AwsBacklogPolicy(0.1)
    assert [minute(policy, number, 10, 1500) for number in range(3)] == [10, 10, 15]


def test_fifteen_points_below_ninety_percent_scale_in() -> None:
    policy = AwsBacklogPolicy(0.1)
    assert [minute(policy, number, 10, 500) for number in range(15)] == [10] * 14 + [5]


def test_between_two_points_nothing_changes() -> None:
    policy = AwsBacklogPolicy(0.1)
    policy.decide(seen(0.0, 10, ready=1500, seconds=10.0))
    assert policy.decide(seen(30.0, 10, ready=9000, seconds=10.0)).held
