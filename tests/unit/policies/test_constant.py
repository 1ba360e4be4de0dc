"""The constant policy."""

from __future__ import annotations

from upswell.policies.constant import ConstantPolicy
from upswell.testing.snapshots import ordinary


def test_constant_wants_the_same_whatever_is_seen() -> None:
    policy = ConstantPolicy(3)
    assert policy.decide(ordinary(messages_ready=10_000)).desired_workers == 3
    assert policy.decide(ordinary(messages_ready=None)).desired_workers == 3
