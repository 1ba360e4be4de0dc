"""ElasticityControl: what counts as slow, normal and fast, and how K follows."""

from __future__ import annotations

import pytest

from upswell.policies.elasticity_control import ElasticityControlPolicy
from upswell.testing.snapshots import ordinary


def test_workers_are_the_normal_time_times_the_requests_over_k() -> None:
    policy = ElasticityControlPolicy()
    decision = policy.decide(ordinary(messages_ready=26, recent_response_times=(10.0, 20.0, 29.0, 1.0)))
    assert decision.desired_workers == 15  # 15 s x 30 requests / 30 s
    assert decision.inputs == {"normal_time": 15.0, "requests": 30, "k": 30.0, "workers": 15}


def test_mostly_slow_uploads_lower_k_after_five_and_fast_ones_raise_it() -> None:
    slow, fast, even = ElasticityControlPolicy(), ElasticityControlPolicy(), ElasticityControlPolicy()
    assert slow.decide(ordinary(recent_response_times=(24.0,) * 4)).inputs["k"] == 30.0
    assert slow.decide(ordinary(recent_response_times=(24.0,))).inputs["k"] == pytest.approx(24.0)
    assert fast.decide(ordinary(recent_response_times=(6.0,) * 5)).inputs["k"] == pytest.approx(37.5)
    assert even.decide(ordinary(recent_response_times=(6.0, 24.0, 12.0, 12.0, 12.0))).inputs["k"] == 30.0


def test_k_stays_within_its_bounds() -> None:
    policy = ElasticityControlPolicy()
    assert policy.decide(ordinary(recent_response_times=(99.0,) * 500)).inputs["k"] == pytest.approx(0.3)


def test_requests_without_any_time_told_give_a_hold_and_none_give_no_worker() -> None:
    policy = ElasticityControlPolicy()
    silent = ordinary(response_time=None, recent_response_times=())
    assert policy.decide(silent).held
    idle = ordinary(response_time=None, recent_response_times=(), messages_unacknowledged=0)
    assert policy.decide(idle).desired_workers == 0
