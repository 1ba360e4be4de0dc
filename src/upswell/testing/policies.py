"""What every scaling policy promises, bare and behind its guards; see the package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from upswell.analysis.snapshot import Snapshot, Workers
from upswell.policies.registry import bare_policy, policy_for
from upswell.settings import Settings
from upswell.testing.snapshots import later, ordinary, snapshots

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upswell.policies import ScalingPolicy

MIN, MAX = 1, 50
with_room = snapshots().map(lambda snapshot: replace(snapshot, platform=None))
"""All that can be seen where the platform has room: what it refuses is above every other rule."""
few = settings(max_examples=25, deadline=None)
"""Examples of each property and policy: a dozen policies make hundreds of each property."""


class PolicyContract:
    """Derive a class from this one and parametrize it with `policy`, names as the setting takes them."""

    NEEDING_NO_DATA: ClassVar[frozenset[str]] = frozenset()
    """Policies that decide without any signal."""
    OWN_SETTINGS: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Settings that a policy cannot be without."""
    SECONDS_BETWEEN_DECISIONS: ClassVar[Mapping[str, float]] = {}
    """Where not 2: for policies whose own rules change something only every few minutes."""

    def settings_of(self, policy: str, **values: Any) -> Settings:
        """Return the settings of an application that has the policy."""
        own: dict[str, Any] = {"min_workers": MIN, "max_workers": MAX, **self.OWN_SETTINGS.get(policy, {})}
        return Settings(policy=policy, **{**own, **values})

    def guarded(self, policy: str, **values: Any) -> ScalingPolicy:
        """Return the policy as the monitor runs it."""
        return policy_for(self.settings_of(policy, **values))

    def bare(self, policy: str) -> ScalingPolicy:
        """Return the policy without its guards."""
        return bare_policy(self.settings_of(policy))

    @few
    @given(seen=st.lists(with_room, min_size=1, max_size=5))
    def test_policy_stays_within_its_bounds_whatever_it_sees(self, policy: str, seen: list[Snapshot]) -> None:
        made = self.guarded(policy)
        for snapshot in later(seen):
            assert MIN <= made.decide(snapshot).desired_workers <= MAX

    @pytest.mark.parametrize("form", ["bare", "guarded"])
    @few
    @given(snapshot=with_room, ready=st.integers(0, 100_000), more=st.integers(1, 10_000))
    def test_more_backlog_never_means_fewer_workers(
        self, policy: str, form: str, snapshot: Snapshot, ready: int, more: int
    ) -> None:
        make = getattr(self, form)
        fewer = make(policy).decide(replace(snapshot, messages_ready=ready)).desired_workers
        busier = replace(snapshot, messages_ready=ready + more)
        assert make(policy).decide(busier).desired_workers >= fewer

    @few
    @given(snapshot=snapshots())
    def test_policy_holds_when_the_depth_of_the_queue_is_missing(
        self, policy: str, snapshot: Snapshot
    ) -> None:
        """No data is not zero: an outage of the broker's answers must not read as an empty queue."""
        if policy in self.NEEDING_NO_DATA:
            return
        blind = replace(snapshot, messages_ready=None, recent_response_times=())
        decision = self.bare(policy).decide(blind)
        assert decision.held
        assert decision.desired_workers == blind.workers.desired
        inside = min(MAX, max(MIN, blind.workers.desired))
        assert self.guarded(policy).decide(blind).desired_workers == inside

    @few
    @given(snapshot=snapshots())
    def test_policy_never_scales_in_when_the_uploads_in_flight_are_not_known(
        self, policy: str, snapshot: Snapshot
    ) -> None:
        if policy in self.NEEDING_NO_DATA:
            return
        blind = replace(snapshot, messages_unacknowledged=None)
        assert self.bare(policy).decide(blind).desired_workers >= blind.workers.desired

    def test_policy_without_any_signal_keeps_the_workers_that_run(self, policy: str) -> None:
        if policy in self.NEEDING_NO_DATA:
            return
        snapshot = Snapshot(
            app_id="e123456",
            at=1000.0,
            slo=ordinary().slo,
            window=60.0,
            slots_per_worker=4,
            workers=Workers(desired=7),
        )
        assert self.guarded(policy).decide(snapshot).desired_workers == 7

    @few
    @given(snapshot=with_room)
    def test_whatever_waits_gets_a_worker_though_none_may_be_the_minimum(
        self, policy: str, snapshot: Snapshot
    ) -> None:
        """With no worker nothing is reported: a policy that holds then would hold for ever."""
        made = self.guarded(policy, min_workers=0)
        waiting = replace(snapshot, messages_ready=1, workers=Workers(desired=0))
        assert made.decide(waiting).desired_workers >= 1

    @few
    @given(snapshot=snapshots())
    def test_constant_load_settles(self, policy: str, snapshot: Snapshot) -> None:
        """The same signals in 450 decisions, workers come as decided: in the last 60 nothing changes."""
        made = self.guarded(policy)
        wanted: list[int] = []
        current = snapshot.workers.desired
        for number in range(450):
            workers = Workers(desired=current, ready=current)
            at = 1000.0 + self.SECONDS_BETWEEN_DECISIONS.get(policy, 2.0) * number
            seen = replace(snapshot, at=at, workers=workers, warming_up=False)
            current = made.decide(seen).desired_workers
            wanted.append(current)
        assert len(set(wanted[-60:])) == 1

    @few
    @given(seen=st.lists(snapshots(), min_size=1, max_size=8))
    def test_the_same_snapshots_give_the_same_decisions(self, policy: str, seen: list[Snapshot]) -> None:
        """The simulator and a replay run these very objects and must come to the same."""
        one, other = self.guarded(policy), self.guarded(policy)
        assert [one.decide(s) for s in later(seen)] == [other.decide(s) for s in later(seen)]

    @few
    @given(snapshot=with_room)
    def test_nobody_is_drained_while_the_monitor_has_not_seen_one_full_window(
        self, policy: str, snapshot: Snapshot
    ) -> None:
        current = min(MAX, max(MIN, snapshot.workers.desired))
        new = replace(snapshot, workers=Workers(desired=current), warming_up=True)
        made = self.guarded(policy, stabilization_window=0.0)
        assert made.decide(new).desired_workers >= current
