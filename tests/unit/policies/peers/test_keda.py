from __future__ import annotations

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


def test_one_sync_adds_four_or_doubles_whichever_is_more() -> None:
    assert KedaPolicy(1).decide(seen(0.0, 2, ready=100)).desired_workers == 6
    assert KedaPolicy(1).decide(seen(0.0, 10, ready=100)).desired_workers == 20


def test_scale_in_takes_the_largest_recommendation_of_five_minutes() -> None:
    policy = KedaPolicy(1)
    assert policy.decide(seen(0.0, 10, ready=10)).desired_workers == 10
    assert policy.decide(seen(15.0, 10, ready=8)).desired_workers == 10
    assert policy.decide(seen(30.0, 10, ready=2)).desired_workers == 10
    assert policy.decide(seen(301.0, 10, ready=2)).desired_workers == 8
    assert policy.decide(seen(316.0, 8, ready=2)).desired_workers == 2


def test_the_number_found_at_the_start_is_a_recommendation() -> None:
    """horizontal.go, recordInitialRecommendation: a controller that starts anew does not scale in at once."""
    policy = KedaPolicy(1)
    assert policy.decide(seen(0.0, 10, ready=2)).desired_workers == 10
    assert policy.decide(seen(301.0, 10, ready=2)).desired_workers == 2


def test_the_autoscaler_syncs_every_fifteen_seconds_only() -> None:
    policy = KedaPolicy(1)
    policy.decide(seen(0.0, 1, ready=1))
    assert policy.decide(seen(10.0, 1, ready=50)).held
    assert policy.decide(seen(15.0, 1, ready=50)).desired_workers == 5


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
    policy = KedaPolicy(20)
    wanted = [policy.decide(seen(15.0 * n, 1, ready=n % 2)).desired_workers for n in range(21)]
    assert wanted == [1] * 20 + [0]


def test_over_amqp_unacknowledged_messages_do_not_count() -> None:
    assert KedaPolicy(1, over_http=False).decide(seen(0.0, 4, ready=4, in_flight=4)).desired_workers == 4
    assert KedaPolicy(1).decide(seen(0.0, 4, ready=4, in_flight=4)).desired_workers == 8


def test_an_unknown_depth_holds() -> None:
    assert KedaPolicy().decide(seen(0.0, 3, ready=None)).held
