"""No more is decided than the platform gives, and nobody is sent away for it."""

from __future__ import annotations

from upswell.analysis.decision import Decision
from upswell.analysis.snapshot import Workers
from upswell.messages import PlatformLimit
from upswell.policies.guards.platform import within_platform
from upswell.policies.registry import guarded
from upswell.settings import Settings
from upswell.testing.snapshots import ordinary

QUOTA = PlatformLimit(app_id="e123456", reason="exceeded quota: {pods: 12}", ceiling=12)


def decided(after: int, *, ready: int = 12, limit: PlatformLimit | None = QUOTA) -> Decision:
    snapshot = ordinary(workers=Workers(desired=12, ready=ready), platform=limit)
    return within_platform(snapshot, Decision.of("backlog", 12, after, "much waits"))


def test_what_the_platform_refuses_is_not_decided_and_the_sentence_says_why() -> None:
    decision = decided(20)
    assert (decision.desired_workers, decision.refused_workers) == (12, 8)
    assert decision.alarms == ("fleet_full",)
    assert decision.wanted == 20
    assert decision.reason == (
        "hold 12: much waits; limited to 12: the platform refuses more (exceeded quota: {pods: 12})"
    )


def test_what_the_platform_takes_passes_as_it_is() -> None:
    for decision in (decided(12), decided(3), decided(20, limit=None)):
        assert not decision.refused_workers
        assert not decision.alarms
        assert len(decision.steps) == 1


def test_a_ceiling_below_what_runs_sends_nobody_away() -> None:
    forged = PlatformLimit(app_id="e123456", reason="a lie", ceiling=0)
    assert decided(20, limit=forged).desired_workers == 12
    assert decided(9, limit=forged).desired_workers == 9
    held = Decision.hold("fail_static", 12, "signals lost")
    assert within_platform(ordinary(workers=Workers(desired=12), platform=forged), held) == held


def test_workers_that_wait_for_a_node_are_told_and_stay_wanted() -> None:
    limit = PlatformLimit(app_id="e123456", reason="Unschedulable: 0/3 nodes", pending=8)
    decision = decided(20, limit=limit)
    assert (decision.desired_workers, decision.refused_workers) == (20, 0)
    assert decision.reason.endswith("; 8 workers of these wait for the platform (Unschedulable: 0/3 nodes)")


def test_another_guard_that_gives_less_takes_the_refusal_back() -> None:
    cut = decided(20).then("global_limit", 7, "others need them more")
    assert (cut.desired_workers, cut.refused_workers) == (7, 0)


def test_it_stands_behind_every_policy_and_above_min_workers() -> None:
    class Wants:
        def decide(self, snapshot: object) -> Decision:
            return Decision.of("wants", 12, 20, "much waits")

    policy = guarded(Wants(), Settings(min_workers=15, max_workers=40))
    assert (
        policy.decide(ordinary(workers=Workers(desired=12, ready=12), platform=QUOTA)).desired_workers == 12
    )
