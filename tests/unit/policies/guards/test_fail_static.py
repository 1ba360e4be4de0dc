"""Fail-static: what is lost changes nothing, and what comes back makes no jump."""

from __future__ import annotations

from msgspec.structs import replace

from support.virtual_plant import VirtualPlant
from upswell.analysis.snapshot import Workers
from upswell.policies.constant import ConstantPolicy
from upswell.policies.guarded import Guarded
from upswell.policies.guards.fail_static import FailStatic, lost_after
from upswell.policies.registry import policy_for
from upswell.settings import Settings
from upswell.testing.snapshots import ordinary


def test_a_depth_that_grew_old_is_lost_long_before_the_window_is_over() -> None:
    """Half a window without reports reads as half the load: holding once it is empty would be too late."""
    policy = Guarded(ConstantPolicy(1), FailStatic(15.0))
    assert policy.decide(ordinary(current=8, at=0.0, depth_age=0.0)).desired_workers == 1
    decision = policy.decide(ordinary(current=8, at=16.0, depth_age=16.0))
    assert decision.held
    assert decision.desired_workers == 8
    assert decision.alarms == ("signals_lost",)
    assert decision.reason == "hold 8: signals lost: the queue's depth is 16 s old"


def test_a_depth_that_was_never_known_is_not_lost() -> None:
    """A worker written by others may have a queue of its own; its policy lives from the reports alone."""
    policy = Guarded(ConstantPolicy(3), FailStatic(15.0))
    assert policy.decide(ordinary(messages_ready=None)).desired_workers == 3
    policy.decide(ordinary())
    assert policy.decide(ordinary(messages_ready=None)).held


def test_every_worker_silent_is_a_lost_signal_and_some_silent_are_not() -> None:
    policy = Guarded(ConstantPolicy(3), FailStatic(15.0))
    some = ordinary(current=8, stale=("workers",))
    assert policy.decide(some).desired_workers == 3
    silent = policy.decide(replace(some, workers=Workers(desired=8)))
    assert silent.held
    assert "none of 8 workers is heard" in silent.reason


def test_after_an_outage_more_workers_come_at_once_but_none_goes_for_one_window() -> None:
    policy = Guarded(ConstantPolicy(5), FailStatic(15.0))
    policy.decide(ordinary(current=5, at=0.0))
    policy.decide(ordinary(current=5, at=20.0, depth_age=20.0))
    assert policy.decide(ordinary(current=2, at=120.0)).desired_workers == 5
    kept = policy.decide(ordinary(current=8, at=150.0))
    assert kept.desired_workers == 8
    assert kept.reason.endswith(
        "signals came back 30 s ago after 100 s without; no scale-in before one full window of 60 s is seen"
    )
    assert policy.decide(ordinary(current=8, at=180.0)).desired_workers == 5


def test_a_depth_counts_as_lost_after_a_quarter_of_the_window_or_five_rounds() -> None:
    assert lost_after(60.0, 2.0) == 15.0
    assert lost_after(60.0, 5.0) == 25.0
    assert lost_after(10.0, 5.0) == 10.0


def test_an_outage_of_signals_changes_no_worker_and_its_end_makes_no_jump() -> None:
    """The story: steady load, five minutes without any answer of the broker, then signals again."""
    settings = Settings(min_workers=1, max_workers=50, bottleneck_check=False)
    world = VirtualPlant(
        policy_for(settings),
        arrivals=lambda at: 10.0,
        draw=lambda rng: rng.expovariate(1 / 2.0),
    ).run(400)
    before = world.desired
    world.blind = True
    world.run(300)
    blind = world.history[-142:]  # from 16 s after the last answer on
    assert set(blind) == {blind[0]}
    assert world.decision is not None
    assert world.decision.alarms == ("signals_lost",)
    world.blind = False
    world.run(58)
    back = world.history[-29:]
    assert min(back) >= blind[0]
    assert max(back) <= 2 * before
    world.run(300)
    assert world.decision.alarms == ()
    assert abs(world.desired - before) <= 1 + before // 4
