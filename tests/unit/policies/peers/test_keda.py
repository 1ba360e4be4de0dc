"""KEDA's polls and its queue's depth; the autoscaler behind it: test_hpa.py."""

from __future__ import annotations

from random import Random

from support.peer_snapshots import seen
from upswell.policies.peers.keda import KedaPolicy


def test_depth_over_queue_length_is_wanted_as_in_kedas_example() -> None:
    """KEDA's documents: queueLength 20, 200 messages in the queue: 10 replicas."""
    policy = KedaPolicy(20)
    assert policy.decide(seen(0.0, 8, ready=200)).desired_workers == 10


def test_within_ten_percent_nothing_changes() -> None:
    """Kubernetes' documents: no action where the ratio is within 0.1 of 1."""
    assert KedaPolicy(20).decide(seen(0.0, 10, ready=219)).desired_workers == 10
    assert KedaPolicy(20).decide(seen(0.0, 10, ready=221)).desired_workers == 12


def test_one_sync_doubles_or_goes_to_four() -> None:
    assert KedaPolicy(1).decide(seen(0.0, 1, ready=100)).desired_workers == 4
    assert KedaPolicy(1).decide(seen(0.0, 10, ready=100)).desired_workers == 20


def test_with_a_behavior_one_sync_adds_four_or_doubles() -> None:
    assert KedaPolicy(1, behavior=True).decide(seen(0.0, 2, ready=100)).desired_workers == 6
    assert KedaPolicy(1, behavior=True).decide(seen(0.0, 10, ready=100)).desired_workers == 20


def test_the_number_found_at_the_start_is_a_recommendation() -> None:
    """horizontal.go, recordInitialRecommendation: a controller that starts anew does not scale in at once."""
    policy = KedaPolicy(1)
    assert policy.decide(seen(0.0, 10, ready=2)).desired_workers == 10
    assert policy.decide(seen(301.0, 10, ready=2)).desired_workers == 2


def test_the_autoscaler_syncs_every_fifteen_seconds_only() -> None:
    policy = KedaPolicy(1)
    policy.decide(seen(0.0, 1, ready=1))
    assert policy.decide(seen(10.0, 1, ready=50)).held
    assert policy.decide(seen(15.0, 1, ready=50)).desired_workers == 4


def test_over_http_the_depth_is_that_of_two_to_seven_seconds_ago() -> None:
    policy = KedaPolicy(1, behavior=True)
    ages = {}
    for at in range(61):
        decision = policy.decide(seen(float(at), 30, ready=1000 + at))
        if not decision.held and decision.steps[0].inputs.get("depth"):
            ages[at] = at - (decision.steps[0].inputs["depth"] - 1000)
    assert set(ages) == {0, 15, 30, 45, 60}
    assert all(2 <= age < 7 for at, age in ages.items() if at)


def test_over_amqp_the_depth_is_fresh_and_a_busy_queue_that_looks_empty_loses_all_workers() -> None:
    policy = KedaPolicy(1, over_http=False)
    numbers = [policy.decide(seen(15.0 * n, 5, ready=0, in_flight=5)).desired_workers for n in range(21)]
    assert numbers[-1] == 0


def test_polls_and_syncs_have_a_phase_that_nothing_in_the_traffic_knows() -> None:
    def first(seed: int) -> int:
        policy = KedaPolicy(1, over_http=False, rng=Random(seed))
        return next(at for at in range(100) if policy.decide(seen(float(at), 0, ready=9)).desired_workers)

    found = [first(seed) for seed in range(40)]
    assert len(set(found)) > 15
    assert all(0 <= at <= 30 for at in found)


def test_after_the_first_worker_the_next_sync_comes_at_once_or_fifteen_seconds_later() -> None:
    def reached(seed: int) -> int:
        policy = KedaPolicy(1, over_http=False, rng=Random(seed))
        return max(policy.decide(seen(float(at), 0, ready=9)).desired_workers for at in range(31))

    assert {reached(seed) for seed in range(40)} == {1, 4}


def test_the_first_worker_starts_at_a_poll_and_the_last_ends_after_the_cooldown() -> None:
    policy = KedaPolicy(20)
    assert policy.decide(seen(0.0, 0)).desired_workers == 0
    assert policy.decide(seen(15.0, 0, ready=5)).desired_workers == 0
    assert policy.decide(seen(30.0, 0, ready=5)).desired_workers == 1
    assert policy.decide(seen(45.0, 1)).desired_workers == 1
    for at in range(60, 330, 15):
        assert policy.decide(seen(float(at), 1)).desired_workers == 1
    assert policy.decide(seen(330.0, 1)).desired_workers == 0


def test_what_comes_and_goes_between_two_polls_does_not_begin_the_cooldown_anew() -> None:
    policy = KedaPolicy(20, over_http=False)
    wanted = [policy.decide(seen(15.0 * n, 1, ready=n % 2)).desired_workers for n in range(21)]
    assert wanted == [1] * 20 + [0]


def test_over_amqp_unacknowledged_messages_do_not_count() -> None:
    assert KedaPolicy(1, over_http=False).decide(seen(0.0, 4, ready=4, in_flight=4)).desired_workers == 4
    assert KedaPolicy(1).decide(seen(0.0, 4, ready=4, in_flight=4)).desired_workers == 8


def test_an_unknown_depth_holds() -> None:
    assert KedaPolicy().decide(seen(0.0, 3, ready=None)).held
