from __future__ import annotations

from support.peer_snapshots import seen
from upswell.policies.peers.knative import KnativePolicy


def calm(policy: KnativePolicy, *, until: float, workers: int, depth: int) -> None:
    for tick in range(int(until // 2)):
        policy.decide(seen(2.0 * tick, workers, in_flight=depth))


def test_concurrency_over_seventy_percent_of_the_target_is_wanted() -> None:
    """Knative's documents: a target of 100 and 70 % utilisation scale at 70 requests at once."""
    assert KnativePolicy(100).decide(seen(0.0, 3, in_flight=210)).desired_workers == 3
    assert KnativePolicy(100).decide(seen(0.0, 3, in_flight=211)).desired_workers == 4


def test_over_a_fleet_it_begins_in_panic_and_lets_nobody_go_for_a_stable_window() -> None:
    """autoscaler.go, newAutoscaler: "momentarily scale down ... is not a desired behaviour"."""
    policy = KnativePolicy(10)
    assert policy.decide(seen(0.0, 9, in_flight=7)).desired_workers == 9
    assert policy.decide(seen(60.0, 9, in_flight=7)).desired_workers == 9
    assert policy.decide(seen(62.0, 9, in_flight=7)).desired_workers == 4


def test_twice_the_ready_capacity_in_six_seconds_is_panic_and_never_scales_in() -> None:
    policy = KnativePolicy(10)
    calm(policy, until=60, workers=2, depth=14)
    for tick in range(3):
        wanted = policy.decide(seen(60.0 + 2 * tick, 2, ready=56)).desired_workers
    assert wanted == 8
    assert policy.decide(seen(66.0, 8, in_flight=0)).desired_workers == 8


def test_panic_ends_a_stable_window_after_its_last_cause() -> None:
    policy = KnativePolicy(10)
    policy.decide(seen(0.0, 1, ready=70))
    assert policy.decide(seen(50.0, 10)).desired_workers == 10
    assert policy.decide(seen(62.0, 10)).desired_workers == 5


def test_one_tick_halves_at_most() -> None:
    policy = KnativePolicy(10)
    calm(policy, until=62, workers=1, depth=7)
    assert policy.decide(seen(62.0, 40, in_flight=7)).desired_workers == 20


def test_the_last_worker_goes_after_the_grace_period() -> None:
    policy = KnativePolicy(10)
    assert policy.decide(seen(0.0, 1)).desired_workers == 1
    assert policy.decide(seen(28.0, 1)).desired_workers == 1
    assert policy.decide(seen(30.0, 1)).desired_workers == 0
