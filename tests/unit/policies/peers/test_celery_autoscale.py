from __future__ import annotations

from support.peer_snapshots import seen
from upswell.policies.peers.celery_autoscale import CeleryAutoscalePolicy


def test_grows_at_once_to_the_reserved_requests_up_to_the_most() -> None:
    assert CeleryAutoscalePolicy(10).decide(seen(0.0, 3, ready=4, in_flight=3)).desired_workers == 7
    assert CeleryAutoscalePolicy(10).decide(seen(0.0, 3, ready=100)).desired_workers == 10


def test_shrinks_only_when_the_last_growth_is_older_than_the_keepalive() -> None:
    policy = CeleryAutoscalePolicy()
    policy.decide(seen(0.0, 1, ready=8))
    assert policy.decide(seen(30.0, 8, in_flight=2)).desired_workers == 8
    assert policy.decide(seen(31.0, 8, in_flight=2)).desired_workers == 2


def test_before_its_first_growth_nothing_shrinks() -> None:
    """autoscale.py, scale_down: `if self._last_scale_up and ...`."""
    assert CeleryAutoscalePolicy().decide(seen(1000.0, 3)).desired_workers == 3
