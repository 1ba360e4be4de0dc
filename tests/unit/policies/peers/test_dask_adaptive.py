from __future__ import annotations

from support.peer_snapshots import seen
from upswell.policies.peers.dask_adaptive import DaskAdaptivePolicy
from upswell.testing.snapshots import ordinary


def test_enough_workers_to_finish_the_work_within_the_target_duration() -> None:
    """Dask's documents: 100 s of work and a target of 5 s ask for 20 workers."""
    assert DaskAdaptivePolicy(5.0, 1.0).decide(seen(0.0, 1, ready=100)).desired_workers == 20


def test_never_more_workers_than_tasks() -> None:
    assert DaskAdaptivePolicy(5.0, 60.0).decide(seen(0.0, 1, ready=3)).desired_workers == 3


def test_workers_close_after_three_proposals_and_only_idle_ones() -> None:
    policy = DaskAdaptivePolicy(5.0, 1.0)
    wanted = [policy.decide(seen(at, 10, in_flight=4, busy=4)).desired_workers for at in (0.0, 1.0, 2.0)]
    assert wanted == [10, 10, 4]


def test_a_proposal_of_more_starts_the_count_again() -> None:
    policy = DaskAdaptivePolicy(5.0, 1.0)
    for at, depth in enumerate((0, 0, 100, 0, 0)):
        wanted = policy.decide(seen(float(at), 10, ready=depth)).desired_workers
    assert wanted == 10


def test_an_idle_application_is_not_said_to_have_uploads_of_no_duration() -> None:
    idle = ordinary(current=1, messages_ready=0, messages_unacknowledged=0, service_time=None)
    decision = DaskAdaptivePolicy().decide(idle)
    assert decision.reason.startswith("hold 1: no uploads in the system; ")
